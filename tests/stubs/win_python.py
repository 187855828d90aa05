"""python.exe of the Windows venv, run by this Linux interpreter: what differs on the other side, as far as we know.

- nothing of the Linux environment arrives but what WSLENV names; none of its open files either
- paths are Windows paths: a Linux path as an argument is refused; without \\\\?\\ they end at 259 characters
- text written to a pipe is cp1252 with CRLF, or UTF-8 with CRLF under -X utf8
- nobody replaces or removes a file that somebody has open
- only what requirements-win.txt installed can be imported; `-m pip` keeps a list of it
- what starts it is a relay: a killed program is status 1, and killing the relay does not end the program
Not as there: os.name and sys.platform stay Linux's but in the modules that read photos, so script arguments arrive
translated, for pathlib's sake.
"""

import builtins
import contextlib
import importlib
import importlib.metadata
import io
import json
import ntpath
import os
import re
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import windows

VENV = Path(os.environ["FAKE_VENV"])
INSTALLED = VENV / "Lib" / "installed.json"


def installed() -> list[str]:
    return json.loads(INSTALLED.read_text()) if INSTALLED.exists() else []


def relay() -> None:
    """Go on in a child that has what Windows would give it; end with its status modulo 256."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.closerange(3, 4096)
        return
    signal.signal(signal.SIGINT, lambda *_: os.kill(child, signal.SIGINT))
    _, status = os.waitpid(child, 0)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def forget_linux() -> None:
    names = [name.split("/")[0] for name in os.environ.get("WSLENV", "").split(":")]
    kept = {name: os.environ[name] for name in [*names, "FAKE_WINDOWS", "FAKE_VENV"] if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, OS="Windows_NT", USERPROFILE="C:\\Users\\me", PATH="/usr/bin:/bin",
                      HOME=str(windows.MOUNTS / "c" / "Users" / "me"))


def held_open(path: str) -> bool:
    """Whether any process has the file open."""
    try:
        wanted = os.stat(path)
    except OSError:
        return False
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            found = link.stat()
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def windows_files() -> None:
    """Let every file function take Windows paths, and refuse to move what is open."""
    shares = tuple(str(drive.resolve()) + "/" for drive in windows.MOUNTS.iterdir() if drive.is_symlink())

    def translated(path: Any) -> Any:
        text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
        if text.startswith(shares):
            raise FileNotFoundError(2, "Windows knows that file by another name", text)
        return windows.to_linux(text) if windows.is_windows(text) else path

    def wrap(module: Any, name: str, paths: int, moves: bool = False) -> None:
        original: Callable[..., Any] = getattr(module, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            args = (*map(translated, args[:paths]), *args[paths:])
            if moves:
                for path in args[:paths]:
                    if held_open(path):
                        raise PermissionError(13, "The process cannot access the file because it is being used by "
                                                  "another process", str(path))
            return original(*args, **options)

        setattr(module, name, wrapped)

    for name in ("open", "stat", "lstat", "mkdir", "rmdir", "listdir", "scandir", "access"):
        wrap(os, name, 1)
    for name in ("replace", "rename"):
        wrap(os, name, 2, moves=True)
    for name in ("unlink", "remove"):
        wrap(os, name, 1, moves=True)
    wrap(io, "open", 1)
    builtins.open = io.open


class WindowsOs:
    """`os` for the modules that ask which system they are on."""

    name, path = "nt", ntpath

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def behave_as_nt(*modules: str) -> None:
    for name in modules:
        with contextlib.suppress(ModuleNotFoundError):      # the stub worker has none of them
            importlib.import_module(name).os = WindowsOs()  # type: ignore[attr-defined]


class OnlyInstalled:
    """A finder that hides what the lock did not install."""

    def __init__(self) -> None:
        lock = set(installed())
        owners = importlib.metadata.packages_distributions()
        self.hidden = {name for name, dists in owners.items()
                       if not any(re.sub(r"[-_.]+", "-", dist).lower() in lock for dist in dists)}
        if "onnxruntime-directml" in lock:
            self.hidden.discard("onnxruntime")      # the same module, of another build

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def pip(arguments: list[str]) -> int:
    if (windows.MOUNTS / "offline").exists() and arguments[0] == "install":
        print("ERROR: Could not find a version that satisfies the requirement numpy", file=sys.stderr)
        return 1
    packages = set(installed())
    if arguments[0] == "uninstall":
        packages -= set(arguments)
    else:
        lock = Path(windows.to_linux(arguments[arguments.index("-r") + 1])).read_text()
        packages |= {name.lower() for name in re.findall(r"^([\w.-]+)==", lock, re.M)}
        print("Successfully installed", len(packages), "packages")
    INSTALLED.write_text(json.dumps(sorted(packages)))
    return 0


def main() -> int:
    windows.record("python.exe")
    relay()
    forget_linux()
    arguments, utf8 = sys.argv[1:], False
    while arguments and arguments[0] in ("-X", "-u"):
        utf8 = utf8 or arguments[1] == "utf8"
        arguments = arguments[2 if arguments[0] == "-X" else 1:]
    windows.speak_windows("utf-8" if utf8 else "cp1252")
    option, *rest = arguments
    refused = [word for word in rest if word.startswith("/")]
    if refused:
        print(f"FileNotFoundError: [Errno 2] No such file or directory: 'C:{refused[0]}'", file=sys.stderr)
        return 1
    if option == "-m":
        assert rest[0] == "pip", rest
        return pip(rest[1:])
    windows_files()
    if option == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(rest[0], {"__name__": "__main__"})
        return 0
    script = windows.to_linux(option)
    sys.meta_path.insert(0, OnlyInstalled())        # type: ignore[arg-type]
    sys.path[0] = str(Path(script).parent)
    if Path(script).name == "embed_worker.py":
        behave_as_nt("facesets.embed.decode", "facesets.embed.lanes")
    sys.argv = [script, *(windows.to_linux(word) if windows.is_windows(word) else word for word in rest)]
    runpy.run_path(script, run_name="__main__")
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.exit(status)
