"""The whole chain over a few real photos, run as the operator runs it, and what it leaves behind, byte for byte.

One server and one root: every round starts with an empty root of the same path, so that files which hold paths are
equal to those of the undisturbed round, times aside.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from busy import LIMIT, steady
from immich_lab.server import LabServer

from facesets.embed.parts import Parts

CHECKOUT = Path(__file__).resolve().parents[2]
USER = "peter"
WORKERS = 4
SAVE_PHOTOS = 5         # photos a part of the cache, so that a round has several parts
KEY = "TRUSTkeyMARKED0123456789abcdefghijklmnopqrs"     # looks like one of Immich's, and is easy to search for
ROUNDS = int(os.environ.get("TRUST_ROUNDS", "0"))       # 0: the short version, for every change
SEED = int(os.environ.get("TRUST_SEED", "0"))           # another one for every part of a long run
TIMES = re.compile(rb"\d{8}-\d{6}-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
STRAY = re.compile(r"\.tmp$|\.part$|\.parts$|\.holder$|^\.pending|-journal$|^\..*-\w{8}$")


class Chain:
    """A server with the photos of a few people, and one data root."""

    def __init__(self, folder: Path, photos: Iterable[tuple[Path, dict[str, Any]]], model: Path) -> None:
        self.folder, self.root, self.library = folder, folder / "work", folder / "library"
        self.server = LabServer()
        user = self.server.add_user("Peter")
        self.server.library.keys[KEY] = self.server.library.keys.pop(self.server.add_key(user))
        people: dict[str, Any] = {}
        for day, (path, label) in enumerate(photos):
            faces = []
            for face in label["faces"]:
                name = face.get("identity")
                if name and name not in people:
                    people[name] = self.server.add_person(user, name.replace("_", " "))
                x, y, w, h = face["box"]
                faces.append(self.server.face((x, y, x + w, y + h), label["width"], label["height"], people.get(name)))
            for copy in range(2 if day % 9 == 4 else 1):    # some lie there twice
                self.server.add_asset(user, path, name=path.name, faces=faces, external=bool(copy),
                                      taken=1_262_304_000_000 + (day + copy * 400) * 86_400_000)
        self.environment = {
            **os.environ, "IMMICH_API_KEY": KEY, "FACESETS_DATA_ROOT": str(self.root),
            "FACESETS_LIBRARY": str(self.library), "FACESETS_MODEL": str(model), "FACESETS_PROVIDER": "cpu",
            "FACESETS_WORKERS": str(WORKERS), "FACESETS_SAVE_PHOTOS": str(SAVE_PHOTOS), "FACESETS_RETRY_PAUSE": "0.01",
            "FACESETS_MIN_FACE_PX": "40", "OMP_NUM_THREADS": "1"}

    @property
    def queue(self) -> Path:
        return self.root / "immich" / USER / "queue.json"

    @property
    def cache(self) -> Path:
        return self.root / "cache" / f"immich_{USER}.npz"

    def commands(self, driver: bool = True) -> dict[str, list[str]]:
        """The command lines by name, in order; with the driver or with the two scripts that it runs."""
        stage = {"stage": [sys.executable, str(CHECKOUT / "immich_stage.py"), "--user", USER]}
        if driver:
            return {**stage, "driver": ["bash", str(CHECKOUT / "finalize_immich.sh"), USER, "--local"]}
        return {**stage,
                "embed": [sys.executable, str(CHECKOUT / "embed_worker.py"), "--queue", str(self.queue), "--out",
                          str(self.cache)],
                "cluster": [sys.executable, str(CHECKOUT / "cluster_immich.py"), "--user", USER]}

    def start(self, command: list[str], **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(command, env={**self.environment, "IMMICH_URL": self.server.url, **environment},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                errors="replace", cwd=self.folder, start_new_session=True)

    def run(self, command: list[str], **environment: str) -> tuple[int, str]:
        """Status and all output."""
        process = self.start(command, **environment)
        out = process.communicate(timeout=LIMIT)[0]
        return process.returncode, out

    def clear(self) -> None:
        for folder in (self.root, self.library):
            shutil.rmtree(folder, ignore_errors=True)
        self.server.log.clear()

    def left(self) -> dict[str, str]:
        """What is kept: path -> digest of queue, cache, memory of the clustering and library, times aside."""
        found = {}
        kept = [self.queue, self.cache, self.queue.with_name("clustered.json"), *sorted(self.library.rglob("*"))]
        for path in kept:
            if (path.is_file() and ".undo" not in path.parts
                    and not path.name.endswith((".lock", ".holder", "index.html"))):    # the page tells of the last run
                data = path.read_bytes()
                data = TIMES.sub(b"TIME", data) if path.suffix == ".json" else data
                found[path.relative_to(self.folder).as_posix()] = hashlib.sha256(data).hexdigest()
        return found

    def stray(self) -> list[str]:
        """Files and folders that a finished chain must not leave."""
        return sorted(path.relative_to(self.folder).as_posix() for folder in (self.root, self.library)
                      for path in folder.rglob("*") if STRAY.search(path.name)
                      and not (path.name == ".part" and path.is_dir() and not any(path.iterdir())))

    def downloads(self) -> Counter[str]:
        """Asset -> how often its whole file went out."""
        return Counter(request.path for request in self.server.log.find("*/original")
                       if request.status == 200 and request.sent)

    def embedded(self) -> int:
        """Photos whose outcome is saved."""
        return len(steady(lambda: Parts(self.cache).processed()))


def alive() -> Iterator[tuple[int, int, int]]:
    """(process, its parent, its session) of everything that runs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                yield int(entry.name), int(fields[1]), int(fields[3])


def descendants(process: int) -> list[int]:
    """`process` and all that it started, as far as they are alive."""
    children: dict[int, list[int]] = {}
    for number, parent, _ in alive():
        children.setdefault(parent, []).append(number)
    found, todo = [], [process]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def session_members(session: int) -> list[int]:
    """Processes of the session that `start` made, orphans included."""
    return [number for number, _, its in alive() if its == session]


def kill(process: int) -> bool:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(session: int) -> list[int]:
    """Wait for the orphans of a killed command; those that outlive the wait."""
    end = time.monotonic() + LIMIT
    while (left := session_members(session)) and time.monotonic() < end:
        time.sleep(0.05)
    return left
