"""Every faceset as the report shows it: read once from its folder, kept small, so that thousands fit in memory.

Words: P facesets, n faces with a picture, D dimensions; `cos-dist` = 1 - cosine similarity.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..common import terminal
from ..common.errors import Failure
from ..formats.faceset import FACES, read_member
from ..library import folder as folders
from ..library.folder import Record
from ..library.store import CANONICAL, Manifest
from .runs import OWN

NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:\.png)?")
PLAIN = {"from the centroid": "too far from the middle of the faceset",
         "near-duplicate": "nearly the same as a better one", "same moment": "of the same moment as a better one",
         "same photo": "another face of the same photo is nearer to the middle", "faces, ": "too few faces",
         "photos, ": "from too few photos"}


@dataclass(frozen=True)
class Face:
    """One face with a picture."""

    file: str           # "0001.png"
    quality: float      # 0..1
    distance: float     # cos-dist to the centroid
    year: int           # 0 unknown
    user: str
    digest: str = ""    # SHA-256 of the picture


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

    @property
    def title(self) -> str:
        """What a person calls it."""
        return self.name or self.proposed or self.folder


def read(root: Path, manifest: Manifest) -> tuple[list[Set], list[str]]:
    """All canonical facesets, by number; and a line for each folder that cannot be read, which stops no other."""
    lines = [line for line in manifest.facesets
             if CANONICAL.fullmatch(line.folder) and (root / line.folder / FACES).exists()]
    sets: list[Set] = []
    unreadable: list[str] = []
    with terminal.progress(len(lines), "facesets", "facesets") as bar:
        for line in lines:
            try:
                sets.append(_set(root / line.folder, line))
            except (Failure, AttributeError, KeyError, TypeError, ValueError) as error:
                unreadable.append(f"{line.folder}: {error}")
            bar.update()
    return sets, unreadable


def _set(path: Path, line: Record) -> Set:
    record = folders.read_record(path / folders.MANIFEST)
    faces = [_face(item, record.files.get(item["file"], "")) for item in record.faces
             if (path / item["file"]).is_file()]
    return Set(line.folder, line.number, line.name, record.proposed_name, record.names, line.run,
               float(record.spread), {int(year): int(count) for year, count in record.eras.items() if year.isdecimal()},
               {user or OWN: count for user, count in record.users.items()}, faces,
               Counter(without_numbers(item["reason"]) for item in record.left_out),
               read_member(path / FACES, "centroid"))


def _face(item: dict[str, Any], digest: str) -> Face:
    year = item["taken_at"][:4]
    return Face(item["file"], float(item["quality"]), float(item["distance"]),
                int(year) if year.isdecimal() else 0, str(item["user"]) or OWN, digest)


def without_numbers(reason: str) -> str:
    """A reason as one of few: "0.52 from the centroid, more than 0.45" and its like are one."""
    for part, words in PLAIN.items():
        if part in reason:
            return words
    return NUMBER.sub("…", reason)
