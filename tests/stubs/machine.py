"""A WSL machine in a folder: a checkout with stub scripts, a data root, Windows drives, and its programs on PATH."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from busy import LIMIT

from facesets.formats import cache
from facesets.formats import queue as queues

CHECKOUT = Path(__file__).resolve().parent.parent.parent
STUBS = Path(__file__).resolve().parent
PROGRAMS = {"wslpath": "wslpath.py", "cmd.exe": "cmd.py", "powershell.exe": "powershell.py"}


class Machine:
    def __init__(self, folder: Path, wsl: bool = True, real_worker: bool = False) -> None:
        self.folder, self.home = folder, folder / "home"
        self.checkout, self.data, self.mounts = folder / "face sets", folder / "work", folder / "mnt"
        self.photos, self.bin = folder / "share", folder / "bin"
        for made in (self.home, self.checkout, self.bin, self.mounts / "c" / "Users" / "me", self.photos):
            made.mkdir(parents=True)
        self._check_out(real_worker)
        (self.mounts / "x").symlink_to(self.photos)     # the share, as Windows sees it
        (self.mounts / "pythons").write_text("py -3.12\n")
        for name, stub in PROGRAMS.items() if wsl else ():
            program = self.bin / name
            program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -S '{STUBS / stub}' \"$@\"\n")
            program.chmod(0o755)
        self.environment = {
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home),
            "FAKE_WINDOWS": str(self.mounts), "FACESETS_DATA_ROOT": str(self.data), "LANG": "C.UTF-8",
            "FACESETS_LIBRARY": str(folder / "library"), "WIN_VENV": str(self.win_venv),
            "FACESETS_WINDOWS_SHARES": f"{self.photos}=X:"}

    def _check_out(self, real_worker: bool) -> None:
        shutil.copy((CHECKOUT if real_worker else STUBS) / "embed_worker.py", self.checkout)
        shutil.copy(STUBS / "cluster_immich.py", self.checkout)
        locks = (f"requirements-{name}.txt" for name in ("wsl", "win", "cluster"))
        for name in ("finalize_immich.sh", "config.py", *locks):
            shutil.copy(CHECKOUT / name, self.checkout / name)
        shutil.copytree(CHECKOUT / "facesets", self.checkout / "facesets")      # compiled, as far as it is
        (self.checkout / ".venv" / "bin").mkdir(parents=True)
        python = self.checkout / ".venv" / "bin" / "python"
        python.write_text(f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")
        python.chmod(0o755)
        shutil.copy(CHECKOUT / "requirements-wsl.txt", self.checkout / ".venv" / "requirements-wsl.txt")

    @property
    def win_venv(self) -> Path:
        return self.mounts / "c" / "face_embed_venv"

    @property
    def there(self) -> Path:
        """The folder of the user on the Windows side."""
        return self.win_venv / "face-sets" / "peter"

    @property
    def queue(self) -> Path:
        return self.data / "immich" / "peter" / "queue.json"

    @property
    def cache_path(self) -> Path:
        return self.data / "cache" / "immich_peter.npz"

    def stage(self, *photos: str, win_path: bool = True) -> None:
        """Queue photos of that content."""
        entries = []
        for number, content in enumerate(photos):
            path = self.photos / f"{number:03} größe & 'ü' 😀.jpg"
            path.write_text(f"{content} {number}")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            entries.append(queues.Entry(f"asset-{number}", str(path), f"X:\\{path.name}" if win_path else "", digest,
                                         path.stat().st_size))
        queues.write(self.queue, queues.Queue("peter", "http://immich", tuple(entries)))

    def command(self, *arguments: str) -> list[str]:
        return ["bash", str(self.checkout / "finalize_immich.sh"), *arguments]

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """The driver as the operator runs it."""
        return subprocess.run(self.command(*arguments), env={**self.environment, **environment}, capture_output=True,
                              text=True, timeout=LIMIT, cwd=self.home, stdin=subprocess.DEVNULL)

    def run_to_the_end(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """The same command until it is not paused, as the operator is told: a worker of a killed run may be ending."""
        deadline = time.monotonic() + LIMIT
        while (run := self.run(*arguments)).returncode == 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        return run

    @contextmanager
    def started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """A run that is under way: its worker has finished one photo. It leads a process group of its own."""
        with subprocess.Popen(self.command(*arguments), env=self.environment, stderr=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True, cwd=self.home,
                              start_new_session=True) as run:
            assert run.stderr is not None
            for line in run.stderr:
                if "worked on" in line:
                    break
            else:
                raise AssertionError("the worker never began")
            yield run

    def set_up_windows(self) -> None:
        """What --setup-windows leaves, without its minutes."""
        subprocess.run([self.bin / "cmd.exe", "/c", "py", "-3.12", "-m", "venv", "C:\\face_embed_venv"],
                       env=self.environment, check=True, cwd=self.mounts / "c")
        shutil.copy(self.checkout / "requirements-win.txt", self.win_venv / "requirements-win.txt")
        lock = (self.checkout / "requirements-win.txt").read_text().splitlines()
        names = [line.partition("==")[0] for line in lock if "==" in line and not line.startswith("#")]
        (self.win_venv / "Lib" / "installed.json").write_text(json.dumps(names))
        (self.mounts / "calls.jsonl").unlink()

    def calls(self) -> list[list[str]]:
        """Command lines of the Windows programs, in order."""
        log = self.mounts / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def log(self) -> str:
        """What the workers said: of those that are done, and of one on the Windows side that is not."""
        paths = self.queue.with_name("embed.log"), self.there / "embed.log"
        return "".join(path.read_text() for path in paths if path.exists())

    def worked_on(self) -> int:
        """How many times a worker worked on a photo, over all runs."""
        return self.log().count("worked on ")

    def result(self) -> cache.Cache:
        return cache.read(self.cache_path)

