"""Every faceset as the report shows it: read once from its folder, kept small, so that thousands fit in memory.

Words: P facesets, n faces with a picture, D dimensions; `cos-dist` = 1 - cosine similarity.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..common import terminal
from ..common.errors import Failure
from ..formats.faceset import FACES, read_member
from ..library import folder as folders
from ..library.folder import Record
from ..library.store import Library, Manifest
from .runs import OWN

NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:\.png)?")
PLAIN = {"from the centroid": "too far from the middle of the faceset",
         "near-duplicate": "nearly the same as a better one",
         "same photo": "another face of the same photo is nearer to the middle", "faces, ": "too few faces",
         "photos, ": "from too few photos"}


@dataclass(frozen=True)
class Face:
    """One face with a picture."""

    file: str           # "0001.png"
    rank: int           # the number of its picture
    quality: float      # 0..1
    distance: float     # cos-dist to the centroid
    year: int           # 0 unknown
    user: str


@dataclass
class Set:
    """One faceset."""

    folder: str
    number: int
    name: str
    proposed: str
    names: dict[str, int]           # what Immich calls its faces, and how many of them
    run: str
    spread: float
    years: dict[int, int]           # year -> faces
    users: dict[str, int]
    faces: list[Face]
    left_out: Counter[str]          # reason without its numbers -> faces
    centroid: np.ndarray            # (D,) float32 unit
    digests: dict[str, str] = field(default_factory=dict, repr=False)   # file -> SHA-256

    @property
    def title(self) -> str:
        """What a person calls it."""
        return self.name or self.proposed or self.folder


@dataclass
class Shelf:
    root: Path
    manifest: Manifest
    sets: list[Set]
    unreadable: list[str] = field(default_factory=list)     # one line a folder that could not be read

    @property
    def centroids(self) -> np.ndarray:
        """(P, D) float32 unit rows in the order of `sets`."""
        return np.array([item.centroid for item in self.sets], np.float32)


def read(library: Library) -> Shelf:
    """All canonical facesets, by number. A folder that cannot be read is named, and does not stop the others."""
    shelf = Shelf(library.root, library.manifest(), [])
    entries = {entry.folder: entry for entry in shelf.manifest.facesets}
    facesets = library.canonical()
    with terminal.progress(len(facesets), "facesets", "facesets") as bar:
        for item in facesets:
            try:
                shelf.sets.append(_set(item.path, item.folder, item.number, item.name, entries.get(item.folder)))
            except (Failure, KeyError, TypeError, ValueError) as error:
                shelf.unreadable.append(f"{item.folder}: {error}")
            bar.update()
    return shelf


def _set(path: Path, folder: str, number: int, name: str, entry: Record | None) -> Set:
    record = folders.read_record(path / folders.MANIFEST)
    faces = [_face(item) for item in record.faces if (path / str(item["file"])).is_file()]
    return Set(folder, number, name, record.proposed_name, record.names, entry.run if entry else record.run,
               _number(record.spread), _years(record.eras),
               {user or OWN: count for user, count in record.users.items()}, faces,
               Counter(without_numbers(item["reason"]) for item in record.left_out),
               read_member(path / FACES, "centroid").astype(np.float32),
               {face.file: record.files.get(face.file, "") for face in faces})


def _face(item: dict[str, Any]) -> Face:
    file = str(item["file"])
    if "/" in file or "\\" in file or not file.endswith(".png") or file.startswith("."):
        raise ValueError(f"{file!r:.80} is no picture of a faceset")
    taken = str(item["taken_at"])[:4]
    return Face(file, int(item["rank"]), _number(item["quality"]),
                _number(item["distance"]), int(taken) if taken.isdecimal() else 0, str(item["user"]) or OWN)


def _number(value: Any) -> float:
    """`value` as a number that a chart can place and JSON can hold."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number of a face or faceset")
    return number


def _years(eras: dict[str, int]) -> dict[int, int]:
    return {int(year): int(count) for year, count in eras.items() if str(year).isdecimal()}


def without_numbers(reason: str) -> str:
    """A reason as one of few: "0.52 from the centroid, more than 0.45" and its like are one."""
    for part, words in PLAIN.items():
        if part in reason:
            return words
    return NUMBER.sub("…", reason)
