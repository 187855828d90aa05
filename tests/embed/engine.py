"""An engine on this machine, as an operator starts it: a scheduler and workers, each a process of its own."""

import json
import os
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
def hook(event, args):
    if event == "open" and str(args[0]).startswith(blind):
        raise PermissionError(13, "no such share here")
    if event == "open" and args[0] == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    if event == "open" and args[0] == hangs:
        try:
            os.rename(hangs + ".once", hangs + ".hung")
        except OSError:
            return
        time.sleep(3600)
sys.addaudithook(hook)
"""


class Engine:
    """`flags` go to scheduler and workers, as those for TLS do."""

    def __init__(self, folder: Path, models_dir: Path, protocol: str = "tcp", flags: tuple[str, ...] = ()) -> None:
        self.folder, self.flags = folder, flags
        self.environment = {**os.environ, "FACESETS_MODELS_DIR": str(models_dir), "FACESETS_PROVIDER": "cpu",
                            "PYTHONPATH": str(folder / "hooks"), "DASK_TEMPORARY_DIRECTORY": str(folder)}
        (folder / "hooks").mkdir(parents=True)
        (folder / "hooks/sitecustomize.py").write_text(HOOKS)
        self.processes: list[subprocess.Popen] = []
        self.protocol, self.address = protocol, ""
        self.scheduler = self.start_scheduler()

    def start_scheduler(self) -> subprocess.Popen:
        told = self.folder / "scheduler.json"
        told.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", "--protocol", self.protocol, "--host", "127.0.0.1", "--port", "0",
                                     "--scheduler-file", str(told))

        def listens() -> bool:
            assert self.scheduler.poll() is None, "the scheduler ended"
            with suppress(OSError, ValueError, KeyError):
                self.address = json.loads(told.read_text())["address"]
                return True
            return False

        wait_until(listens, "the scheduler listens")
        return self.scheduler

    def worker(self, *flags: str, threads: int = 1, **environment: str) -> subprocess.Popen:
        return self._start("worker", self.address, "--nthreads", str(threads), "--memory-limit", "0",
                           "--death-timeout", str(LIMIT), *flags, **environment)

    def _start(self, *words: str, **environment: str) -> subprocess.Popen:
        with open(self.folder / "engine.log", "ab") as log:
            command = [sys.executable, "-m", "dask", *words, "--no-dashboard", *self.flags]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=CHECKOUT,
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
