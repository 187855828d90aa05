"""One faceset folder: its manifest.json and its NAME.txt, read and written here; its faces are in `formats.faceset`.

manifest.json
    schema, folder, number, name, proposed_name, names {what Immich says: faces}, run, created, made_by, reason,
    model {...}, centroid [D], spread (mean cos-dist of the pictured faces to the centroid),
    eras {year: faces}, users {label: faces}, top [file names chosen for _top8.fsz],
    faces     [{rank, file, face, photo, sha256, asset_id, user, taken_at, box, turn, quality, parts {...}, distance,
                isolation "alone" | "moved" | "cleaned", light [brightness, side light], look, rules}]
    left_out  [{face, photo, sha256, quality, distance, reason}]      faces of this person without a picture
    files     {name: SHA-256 of every file that we wrote here, but this one}
    in_immich {user: what `immich-names` wrote there}, see facesets.operations.immich_names

NAME.txt    its first line is the name that a person gave; there is none as long as nobody gave one
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common import files, terminal
from ..common.errors import Failure
from ..formats import cache

SCHEMA = 1
MANIFEST, NAME = "manifest.json", "NAME.txt"
NOT_THIS = "not this person"        # why a face was left out, as a person said
FOLDER = re.compile(r"(_[a-z]+/)?[a-z0-9][a-z0-9_]*")       # of a faceset, below the library
LINE = ("folder", "number", "name", "proposed_name", "members", "pictures", "spread", "years", "users", "run", "reason",
        "into")     # of a Record, in the order in which they are written; "members" is called "faces" there
OWN = ("folder", "number", "name", "proposed_name", "names", "run", "created", "made_by", "reason", "model", "centroid",
       "spread", "eras", "users", "top", "faces", "left_out", "files", "in_immich")
FILE = re.compile(r'[^\W_][^/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]*')      # in a faceset; may be called as a person


@dataclass
class Record:
    """What is written of a faceset: a line in the library's manifest, all the rest in the one of its folder."""

    folder: str
    number: int = 0
    name: str = ""
    proposed_name: str = ""
    run: str = ""
    reason: str = ""
    spread: float = 0.0
    users: dict[str, int] = field(default_factory=dict)
    # in the line only
    members: int = 0        # faces, with a picture or without
    pictures: int = 0
    years: list[int] = field(default_factory=list)      # first and last
    into: str = ""          # of a merged one: the faceset that holds its faces now
    # in the folder only
    names: dict[str, int] = field(default_factory=dict)
    created: str = ""
    made_by: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    centroid: list[float] = field(default_factory=list)
    eras: dict[str, int] = field(default_factory=dict)
    top: list[str] = field(default_factory=list)
    faces: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    in_immich: dict[str, Any] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        return {"faces" if name == "members" else name: getattr(self, name) for name in LINE}

    def count(self) -> None:
        """Fill in what the line says of the faces."""
        years = sorted(int(year) for year in self.eras if year.isdecimal())
        self.members, self.pictures = len(self.faces) + len(self.left_out), len(self.faces)
        self.years = [years[0], years[-1]] if years else []


def read_line(item: dict[str, Any]) -> Record:
    """A line of the library's manifest; its folder stays inside the library, whoever wrote it."""
    record = Record(**{name: item["faces" if name == "members" else name] for name in LINE})
    files.texts(item, "folder", "name", "proposed_name", "run", "reason", "into")
    if not FOLDER.fullmatch(record.folder):
        raise ValueError(f"{record.folder!r:.80} is no folder of a library")
    record.number, record.members, record.pictures = int(record.number), int(record.members), int(record.pictures)
    record.years = [int(year) for year in record.years]
    record.users = {str(user): int(count) for user, count in record.users.items()}
    return record


def write_record(path: Path, record: Record) -> None:
    files.write_json(path, {"schema": SCHEMA, **{name: getattr(record, name) for name in OWN}})


def read_record(path: Path) -> Record:
    if not path.parent.is_dir():
        raise Failure(f"{path.parent} is not there any more: if it was renamed, give it that name again; if it was "
                      f"removed: sort_faces.py drop {path.parent.name}")
    out = f"; put it back, or move {path.parent} out of the library, then: sort_faces.py drop {path.parent.name}"
    try:
        value = files.read_json(path, SCHEMA)
    except Failure as error:
        raise Failure(f"{error}{out}") from None
    with files.understood(path, "the manifest of a faceset", out):
        value.setdefault("in_immich", {})       # in none of earlier versions
        record = Record(**{name: value[name] for name in OWN})
        for mine in record.in_immich.values():
            files.texts({"album": "", "sign": "", **mine}, "album", "sign")
            if not all(isinstance(name, str) for old, new in mine.get("people", {}).values() for name in (old, new)):
                raise TypeError("in_immich holds more than text")
            mine |= {name: [str(one) for one in mine.get(name, ())] for name in ("assets", "out")}
        for item in record.faces:
            files.texts(item, "face", "photo", "sha256", "taken_at", "isolation")
            item["turn"] = int(item.get("turn", 0))
            int(item["rank"]), bytes.fromhex(item.get("look", "")), int(item.get("rules", 1))
            bright, side = item["light"]
            for number in (record.spread, item["quality"], item["distance"], *item["box"], bright, side):
                if not math.isfinite(number):
                    raise ValueError(f"{number} is no number")
        for item in record.left_out:
            files.texts(item, "face", "photo", "sha256", "reason")
        files.texts(value, "name", "proposed_name", "reason", "run", "created", "made_by")
        if not FOLDER.fullmatch(record.folder):
            raise ValueError("folder is no folder of a library")
        for name in (*record.files, *record.top, *(item["file"] for item in record.faces)):
            if not FILE.fullmatch(name):
                raise ValueError(f"{name!r:.60} is no file of a faceset")
        record.count()
    return record


def years_of(photos: Iterable[cache.Photo]) -> dict[str, int]:
    """How many photos of each year, "" for those without a date."""
    return dict(sorted(Counter(photo.taken_at[:4] for photo in photos).items()))


def write_name(path: Path, name: str) -> None:
    files.write_bytes(path, f"{name}\n".encode("utf-8", "replace"))


def name_on_disk(path: Path) -> str:
    """The name in the NAME.txt at `path`, which a person may have written; "" where there is none."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            return terminal.name(file.read(400).strip().partition("\n")[0])
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None
