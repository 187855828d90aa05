"""An engine on this machine, as an operator starts it: a scheduler and workers, each a process of its own."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
from busy import LIMIT, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
# Read by every Python that is started with this folder on PYTHONPATH: what a machine may do to the photos it is given.
HOOKS = """
import os, signal, sys, time
blind, fatal, hangs = (os.environ.get(name, "nowhere") for name in ("BLIND", "FATAL", "HANGS"))
slow = float(os.environ.get("SLOW", "0"))     # seconds a photo
def hook(event, args):
    if event == "open" and str(args[0]).endswith(".jpg"):
        time.sleep(slow)
    if event == "open" and str(args[0]).startswith(blind):
        raise PermissionError(13, "no such share here")
    if event == "open" and args[0] in fatal.split(":"):
        os.kill(os.getpid(), signal.SIGKILL)
    if event == "open" and args[0] == hangs:
        try:
            os.rename(hangs + ".once", hangs + ".hung")
        except OSError:
            return
        time.sleep(3600)
sys.addaudithook(hook)
"""


def documented(certificates: Path | None) -> tuple[list[str], list[str], dict[str, str]]:
    """What docs/cluster.md tells scheduler and workers: over TLS, or on this machine alone; and their environment."""
    text = (CHECKOUT / "docs/cluster.md").read_text()
    known = {"T": str(certificates)}
    for name in ("HERE", "TLS"):
        (value,) = re.findall(f'^    {name}="(.+)"$', text, re.M)
        known[name] = re.sub(r"\$(\w+)", lambda found: known[found[1]], value)
    mark, words = ("nas|gamer", "TLS") if certificates else ("here", "HERE")
    lines = re.findall(rf"^    (?:{mark})\$ +\S+ -m dask (scheduler|worker) (.+) \${words}$", text, re.M)
    flags = {what: [*shlex.split(rest.replace("--port 8786", "--port 0")), *shlex.split(known[words])]
             for what, rest in lines}
    environment = dict(re.findall(r"^    export (\w+)=(\w+)", text, re.M))
    return flags["scheduler"], flags["worker"][1:], environment     # without the address


def in_the_clear(processes: list[psutil.Process]) -> list[str]:
    """What others on the network may read: the addresses at which these answer HTTP to whoever asks."""
    found = []
    for process in processes:
        for at in (one.laddr for one in process.net_connections() if one.status == psutil.CONN_LISTEN):
            if at.ip not in ("127.0.0.1", "::1"):
                with suppress(OSError), socket.create_connection(("127.0.0.1", at.port), LIMIT) as asking:
                    asking.settimeout(LIMIT)
                    asking.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                    if asking.recv(5) == b"HTTP/":
                        found.append(f"{at.ip}:{at.port}")
    return found


class Engine:
    """Over TLS with `certificates`, else on this machine alone; `flags` go to the scheduler."""

    def __init__(self, folder: Path, models_dir: Path, certificates: Path | None = None,
                 flags: tuple[str, ...] = (), home: Path = CHECKOUT) -> None:
        self.folder, self.home = folder, home
        its, self.worker_flags, told = documented(certificates)
        self.flags = [*its, *flags]
        self.environment = {**os.environ, **told, "FACESETS_MODELS_DIR": str(models_dir), "FACESETS_PROVIDER": "cpu",
                            "PYTHONPATH": str(folder / "hooks"), "DASK_TEMPORARY_DIRECTORY": str(folder)}
        (folder / "hooks").mkdir(parents=True)
        (folder / "hooks/sitecustomize.py").write_text(HOOKS)
        self.processes: list[subprocess.Popen] = []
        self.address = ""
        self.scheduler = self.start_scheduler()

    def start_scheduler(self) -> subprocess.Popen:
        told = self.folder / "scheduler.json"
        told.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", *self.flags, "--scheduler-file", str(told))

        def listens() -> bool:
            assert self.scheduler.poll() is None, "the scheduler ended"
            with suppress(OSError, ValueError, KeyError):
                self.address = json.loads(told.read_text())["address"]
                return True
            return False

        wait_until(listens, "the scheduler listens")
        return self.scheduler

    def worker(self, *flags: str, threads: int = 1, alone: bool = False, **environment: str) -> subprocess.Popen:
        """`alone`: without the nanny that starts it again."""
        flags = (*flags, *["--no-nanny"] * alone)
        return self._start("worker", self.address, *self.worker_flags, "--nthreads", str(threads), "--death-timeout",
                           str(LIMIT), *flags, **environment)

    def _start(self, *words: str, **environment: str) -> subprocess.Popen:
        with open(self.folder / "engine.log", "ab") as log:
            command = [sys.executable, "-m", "dask", *words]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.home,
                                       env={**self.environment, **environment})
        self.processes.append(process)
        return process

    def at_work(self) -> list[psutil.Process]:
        """The processes that nannies have started."""
        found = []
        for process in self.processes:
            if process is not self.scheduler and process.poll() is None:
                with suppress(psutil.Error):
                    found += [child for child in psutil.Process(process.pid).children()
                              if any("spawn_main" in word for word in child.cmdline())]
        return found

    def close(self) -> None:
        for process in self.processes:
            with suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()
