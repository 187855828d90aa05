"""A laboratory for the stage: a small hard library on a local server, runs of the script, and what they left behind."""

import contextlib
import functools
import io
import json
import os
import random
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from busy import LIMIT, wait_until
from immich_lab.server import LabServer
from PIL import Image

import immich_stage
from facesets.fake_immich.library_model import Asset, User

CHECKOUT = Path(__file__).resolve().parents[2]
NEEDED = ("asset.read", "asset.download", "asset.view", "user.read", "face.read")
FAST = {"FACESETS_RETRY_PAUSE": "0.005", "FACESETS_WORKERS": "4"}


@functools.cache
def photo(number: int, side: int = 100) -> bytes:
    """A JPEG of noise, `side` pixels wide and high, another for every number."""
    image = Image.frombytes("RGB", (side, side), random.Random(number).randbytes(3 * side * side))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


@dataclass
class Run:
    """How one run of immich_stage.py ended."""

    status: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


class Lab:
    """One server with one user's library, and a folder for the runs."""

    def __init__(self, folder: Path, version: tuple[int, int, int] = (2, 7, 2), **options: Any) -> None:
        self.folder = folder
        self.root = folder / "work"
        self.server = LabServer(version, **options)
        self.user = self.server.add_user("Peter")
        self.key = self.server.add_key(self.user, NEEDED)
        self.numbers = iter(range(1, 10_000))
        self.extra: dict[str, str] = {}         # environment of the runs

    def add(self, count: int = 1, **options: Any) -> list[Asset]:
        """Add photos with a face that is big enough, each of its own bytes."""
        return [self.one(**options) for _ in range(count)]

    def one(self, *, number: int | None = None, faces: int = 1, face_px: int = 95, user: User | None = None,
            side: int = 100, **options: Any) -> Asset:
        number = next(self.numbers) if number is None else number
        options.setdefault("name", f"IMG_{number:04}.jpg")
        options.setdefault("taken", f"2021-{number % 12 + 1:02}-{number % 27 + 1:02}T10:00:{number % 60:02}")
        content = options.pop("content", None) or photo(number, side)
        asset = self.server.add_asset(user or self.user, content, **options)
        for _ in range(faces):
            self.server.library.add_face(asset, self.server.face((2, 2, 2 + face_px, 2 + face_px), side, side))
        return asset

    def environment(self) -> dict[str, str]:
        return {**FAST, "IMMICH_URL": self.server.url, "IMMICH_API_KEY": self.key, "FACESETS_DATA_ROOT": str(self.root),
                **self.extra}

    def stage(self, *flags: str, user: str = "peter") -> Run:
        """Run main() here."""
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, self.environment()), contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(err):
            status = immich_stage.main(["--user", user, "--json", *flags])
        return Run(status, out.getvalue(), err.getvalue())

    def start(self, *flags: str, limit: int | None = None) -> "subprocess.Popen[str]":
        """Run it as the operator does; `limit`: bytes a file may have, as a disk that is full."""
        environment = {**os.environ, **self.environment()}
        if limit is not None:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"    # half a file of a module would be read by every process
        return subprocess.Popen(
            [sys.executable, str(CHECKOUT / "immich_stage.py"), "--user", "peter", "--json", *flags], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))

    def finish(self, process: "subprocess.Popen[str]") -> Run:
        out, err = process.communicate(timeout=LIMIT)
        return Run(process.returncode, out, err)

    @property
    def user_dir(self) -> Path:
        return self.root / "immich" / "peter"

    @property
    def photos(self) -> list[Path]:
        """Staged files, without parts."""
        return sorted(path for path in (self.user_dir / "photos").glob("??/*") if path.is_file())

    @property
    def parts(self) -> list[Path]:
        return sorted((self.user_dir / "photos" / ".part").glob("*"))

    def queue(self) -> bytes:
        """queue.json without what differs between two roots and servers."""
        text = (self.user_dir / "queue.json").read_bytes()
        return text.replace(str(self.root).encode(), b"ROOT").replace(self.server.url.encode(), b"URL")

    def entries(self) -> list[dict[str, Any]]:
        value: list[dict[str, Any]] = json.loads((self.user_dir / "queue.json").read_bytes())["entries"]
        return value

    def undisturbed(self) -> bytes:
        """The queue of a run in a root of its own that nothing disturbs. The request log is clear afterwards."""
        root, extra = self.root, self.extra
        self.root, self.extra = self.folder / "calm", {name: extra[name] for name in extra if "CA_FILE" in name}
        try:
            run = self.stage()
            assert run.status == 0, run.err
            return self.queue()
        finally:
            self.root, self.extra = root, extra
            self.server.log.clear()

    def asked(self) -> Counter[str]:
        """Requests by what they were for."""
        names = {"metadata": "search", "original": "original", "thumbnail": "preview", "faces": "faces"}
        return Counter(names.get(request.path.rsplit("/", 1)[-1], "other") for request in self.server.log)

    def wait_for(self, path: str, count: int) -> None:
        """Until the server was asked `count` times for `path` (a glob)."""
        wait_until(lambda: len(self.server.log.find(path)) >= count, f"{count} requests for {path}")


@contextlib.contextmanager
def laboratory(folder: Path, version: tuple[int, int, int] = (2, 7, 2), fill: Callable[[Lab], object] | None = None,
               **options: Any) -> Iterator[Lab]:
    lab = Lab(folder, version, **options)
    (fill or small_library)(lab)
    with lab.server:
        yield lab


def small_library(lab: Lab) -> None:
    """40 assets: most with a face, some without or too small, duplicates in an external library, a preview."""
    lab.add(18)
    lab.add(4, faces=0)
    lab.add(4, face_px=30)
    lab.add(6, external=True)
    lab.one(number=7001, external=True, name="first.jpg", taken="2020-02-02T00:00:00")
    lab.one(number=7001, external=True, name="again.jpg", path="/mnt/other/again.jpg", taken="2020-03-03T00:00:00")
    lab.one(number=7002, name="developed.dng")
    lab.one(number=7003, visibility="archive")
    lab.one(number=7004, path="/data/thumbs/x.jpg")
    lab.one(number=7005, visibility="hidden")
