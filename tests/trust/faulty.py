"""A script of the project that dies, or finds the disk full, at the n-th thing that it does to a file.

Run     python tests/trust/faulty.py FOLDER...      then one JSON line a run on stdin: {"script", "argv", "mode", "at",
        "out"}; answers with one JSON line: {"status"} or {"killed": true}, and what was done to files below FOLDERs
        where the mode is "list"
Every run is a fork of this process, which has imported everything, so a run costs what its work costs. What counts is
what Python announces to its audit hooks: opening to write, renaming, removing, linking, making and removing folders.
"""

import errno
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "gone": errno.EIO, "refused": errno.EACCES}


class Hook:
    """Counts what is done to files below `folders`, and does harm at number `at`."""

    def __init__(self, folders: list[str], mode: str, at: int) -> None:
        self.folders, self.mode, self.at = tuple(folders), mode, at
        self.seen: list[str] = []

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
                return
        elif event not in CHANGES:
            return
        try:
            path = os.fspath(args[0]) if not isinstance(args[0], int) else ""
        except TypeError:
            return
        path = os.fsdecode(path)
        if not path.startswith(self.folders):
            return
        self.seen.append(f"{event} {path}")
        if self.mode == "kill" and len(self.seen) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode in ERRORS and len(self.seen) >= self.at and event not in ("os.remove", "os.rmdir"):
            number = ERRORS[self.mode]
            raise OSError(number, os.strerror(number), path)


def run(folders: list[str], order: dict[str, Any], answer: int) -> None:
    """In the child: run the script and write what happened to `answer`."""
    out = os.open(order["out"], os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.update(order.get("environment", {}))
    script = importlib.import_module(order["script"])
    hook = Hook(folders, order["mode"], order["at"])
    sys.addaudithook(hook)
    status = script.main(order["argv"])
    sys.stdout.flush()
    os.write(answer, json.dumps({"status": status, "seen": hook.seen if order["mode"] == "list" else len(hook.seen)})
             .encode())
    os._exit(0)


def main(folders: list[str]) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    for name in ("immich_stage", "embed_worker", "cluster_immich", "facesets.embed.analyser", "facesets.embed.lanes",
                 "insightface.utils.face_align", "PIL.Image", "pillow_heif", "requests"):
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(reading)
                run(folders, json.loads(line), writing)
            finally:
                os._exit(70)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        print(said.decode() or json.dumps({"killed": os.WIFSIGNALED(status), "status": status}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
