"""queue.json: what the stage hands to the embed worker. Written whole or not at all, by the stage only.

    {"schema": 1, "user": "peter", "server": "https://photos.example.org", "owner": "<his Immich user id>",
     "entries": [ENTRY, ...], "known": [...]}

ENTRY   one photo on disk, `sha256` is unique in the file
          asset_id    Immich's id of the asset that was downloaded    name    its file name in Immich, a label
          path        as WSL sees it (POSIX)          win_path   as Windows sees it, "" where there is no such path
          sha256, bytes                               source     "original" | "preview" (Immich's upright JPEG)
          taken_at    ISO 8601 or ""                  width, height   of the upright original as Immich says, 0 unknown
          aliases     [{"asset_id", "path"}]: byte-equal assets; path is the server's, a label and never opened
          faces       [{"box": [x1, y1, x2, y2], "person_id", "person_name"}]: Immich's visible faces, box in fractions
                      of the upright picture, "" for a face that nobody named
known   [{"asset_id", "path", "sha256", "faces"}]: assets not staged because some cache has their bytes already
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..common import files
from ..common.files import texts

SCHEMA = 1
MADE_BY = "immich_stage.py"
# What a staged photo may be: formats that are decoded, by Pillow's names, with their suffixes. EPS would run a program.
PICTURES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "HEIF": ".heic", "AVIF": ".avif",
            "TIFF": ".tif", "BMP": ".bmp", "JPEG2000": ".jp2"}


@dataclass(frozen=True)
class ImmichFace:
    box: tuple[float, float, float, float]
    person_id: str = ""
    person_name: str = ""


@dataclass(frozen=True)
class Alias:
    asset_id: str
    path: str


@dataclass(frozen=True)
class Known:
    asset_id: str
    path: str
    sha256: str
    faces: tuple[ImmichFace, ...] = field(default=(), repr=False)       # in no cache of ours, so not in `digest`


@dataclass(frozen=True)
class Entry:
    asset_id: str
    path: str
    win_path: str
    sha256: str
    bytes: int
    source: str = "original"
    taken_at: str = ""
    width: int = 0
    height: int = 0
    aliases: tuple[Alias, ...] = ()
    faces: tuple[ImmichFace, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Queue:
    user: str
    server: str
    entries: tuple[Entry, ...] = ()
    known: tuple[Known, ...] = field(default=())
    owner: str = field(default="", repr=False)

    @property
    def called(self) -> dict[str, set[str]]:
        """File names of all photos that this user has in Immich, by their SHA-256; copies have names of their own."""
        names = [(one.sha256, one.name) for one in self.entries]
        names += [(one.sha256, PurePosixPath(copy.path).name) for one in self.entries for copy in one.aliases]
        names += [(one.sha256, PurePosixPath(one.path).name) for one in self.known]
        found: dict[str, set[str]] = {}
        for sha256, name in names:
            found.setdefault(sha256, set()).add(name)
        return found

    @property
    def faces(self) -> dict[str, tuple[ImmichFace, ...]]:
        """Immich's faces of every photo, by its SHA-256, those of known ones as well."""
        return {one.sha256: one.faces for one in self.known} | {one.sha256: one.faces for one in self.entries}


def write(path: Path, queue: Queue, entries: Iterable[Entry] = (), known: Iterable[Known] = ()) -> None:
    """The queue; with any number of `entries` and `known` instead of its own, of which one at a time is in memory."""
    with files.replacing(path) as file:
        head = json.dumps({"schema": SCHEMA, "user": queue.user, "server": queue.server, "owner": queue.owner},
                          ensure_ascii=False, indent=1)
        file.write(_utf8(head[:-2]))
        for name, items in (("entries", entries or queue.entries), ("known", known or queue.known)):
            file.write(_utf8(f',\n "{name}": ['))
            before = "\n"
            for item in items:
                text = json.dumps(asdict(item), ensure_ascii=False, indent=1)
                file.write(_utf8(before + "  " + text.replace("\n", "\n  ")))
                before = ",\n"
            file.write(b"]" if before == "\n" else b"\n ]")
        file.write(b"\n}\n")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def digest(queue: Queue) -> str:
    """Stands for all that the queue says: the same queue, the same text."""
    return hashlib.sha256(_utf8(repr(queue))).hexdigest()


def read(path: Path) -> Queue:
    """The queue in `path`; anything that is not one raises Failure, whatever it holds."""
    value = files.read_json(path, SCHEMA, MADE_BY)
    with files.understood(path, "a queue", f"; run {MADE_BY} again"):
        return Queue(**texts({"owner": "", **value}, "user", "server", "owner"),
                     entries=tuple(_entry(item) for item in value["entries"]), known=tuple(
                         Known(**texts(item, "asset_id", "path", "sha256"), faces=_faces(item.get("faces", ())))
                         for item in value["known"]))


def _entry(item: dict[str, Any]) -> Entry:
    if item["source"] not in ("original", "preview"):
        raise ValueError("source is neither original nor preview")
    if len(item["sha256"]) != 64 or not set(item["sha256"]) <= set("0123456789abcdef"):
        raise ValueError("sha256 is no SHA-256")
    return Entry(**texts(item, "asset_id", "path", "win_path", "sha256", "source", "taken_at"),
                 bytes=int(item["bytes"]), width=int(item["width"]), height=int(item["height"]),
                 aliases=tuple(Alias(**texts(alias, "asset_id", "path")) for alias in item["aliases"]),
                 faces=_faces(item["faces"]), **texts({"name": "", **item}, "name"))


def _faces(items: Iterable[dict[str, Any]]) -> tuple[ImmichFace, ...]:
    return tuple(map(_face, items))


def _face(item: dict[str, Any]) -> ImmichFace:
    x1, y1, x2, y2 = (float(side) for side in item["box"])
    return ImmichFace(box=(x1, y1, x2, y2), **texts(item, "person_id", "person_name"))
