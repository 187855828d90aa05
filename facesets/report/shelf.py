"""Every faceset as the report shows it: read once from its folder, kept small, so that thousands fit in memory.

Words: P facesets, n faces with a picture, D dimensions; `cos-dist` = 1 - cosine similarity.
"""

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..common import terminal
from ..common.errors import Failure
from ..formats import cache
from ..formats.decisions import short_key
from ..formats.faceset import FACES, read_member
from ..library import folder as folders
from ..library.folder import Record
from ..library.store import Library, Manifest
from .runs import OWN

FEWEST_HALF = 3     # faces; fewer do not speak for a second person
EXAMPLES = 2        # faces kept of each reason for leaving one out
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:\.png)?")
PLAIN = {"from the centroid": "too far from the middle of the faceset",
         "near-duplicate": "nearly the same as a better one",
         "same photo": "another face of the same photo is nearer to the middle", "faces, ": "too few faces",
         "photos, ": "from too few photos"}
ROUNDS = 8          # of 2-means; it settles in three or four


@dataclass(frozen=True)
class Halves:
    """A faceset cut in two where it comes apart best; no faces in either where a half would be too small."""

    distance: float = 0.0           # cos-dist between the centroids of the halves
    larger: tuple[int, ...] = ()    # indices of its faces
    smaller: tuple[int, ...] = ()


@dataclass(frozen=True)
class Face:
    """One face with a picture."""

    key: str            # `decisions.short_key`
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
    left_keys: dict[str, list[str]] # the same reasons -> face keys of a few examples
    centroid: np.ndarray            # (D,) float32 unit
    halves: "Halves"
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
    rank = read_member(path / FACES, "rank")
    by_rank = {int(number): row for row, number in enumerate(rank) if number > 0}
    pictured = [by_rank[face.rank] for face in faces if face.rank in by_rank]
    rows = read_member(path / FACES, "embeddings")[pictured]
    cut = halves(rows) if len(pictured) == len(faces) else Halves()
    left: dict[str, list[str]] = defaultdict(list)
    for item in record.left_out:
        left[without_numbers(str(item["reason"]))].append(str(item["face"]))
    return Set(folder, number, name, record.proposed_name, record.names, entry.run if entry else record.run,
               _number(record.spread), _years(record.eras),
               {user or OWN: count for user, count in record.users.items()}, faces,
               Counter({words: len(keys) for words, keys in left.items()}),
               {words: keys[:EXAMPLES] for words, keys in left.items()},
               read_member(path / FACES, "centroid").astype(np.float32), cut,
               {face.file: record.files.get(face.file, "") for face in faces})


def _face(item: dict[str, Any]) -> Face:
    file = str(item["file"])
    if "/" in file or "\\" in file or not file.endswith(".png") or file.startswith("."):
        raise ValueError(f"{file!r:.80} is no picture of a faceset")
    taken = str(item["taken_at"])[:4]
    return Face(short_key(str(item["face"])), file, int(item["rank"]), _number(item["quality"]),
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


def halves(rows: np.ndarray) -> Halves:
    """Cut a faceset in two where it comes apart best.

    rows (n, D) unit. Spherical 2-means from both ends of the main direction: one person gives two near centroids, two
    people give two as far apart as strangers. Halves too small to speak for a person give none.
    """
    if len(rows) < 2 * FEWEST_HALF:
        return Halves()
    centred = rows - rows.mean(axis=0)
    direction = centred[np.argmax(np.einsum("nd,nd->n", centred, centred))]
    for _ in range(ROUNDS):                                     # power iteration on centredᵀ centred
        direction = centred.T @ (centred @ direction)
        direction = direction / max(float(np.linalg.norm(direction)), 1e-12)
    side = centred @ direction > 0                              # (n,)
    for _ in range(ROUNDS):
        if min(side.sum(), (~side).sum()) < FEWEST_HALF:
            return Halves()
        one, other = cache.unit_mean(rows[side]), cache.unit_mean(rows[~side])
        moved = rows @ one > rows @ other
        if (moved == side).all():
            break
        side = moved
    larger, smaller = sorted((np.flatnonzero(side), np.flatnonzero(~side)), key=len, reverse=True)
    if len(smaller) < FEWEST_HALF:
        return Halves()
    apart = 1 - cache.unit_mean(rows[larger]) @ cache.unit_mean(rows[smaller])
    return Halves(float(apart), tuple(larger.tolist()), tuple(smaller.tolist()))


def nearest(centroids: np.ndarray, count: int, block: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest other facesets of each: index (P, k) and cos-dist (P, k), k = min(count, P - 1)."""
    p = len(centroids)
    k = max(min(count, p - 1), 0)
    index, distance = np.zeros((p, k), np.int64), np.zeros((p, k), np.float32)
    for start in range(0, p if k else 0, block):
        apart = 1 - centroids[start:start + block] @ centroids.T        # (B, P)
        rows = np.arange(len(apart))
        apart[rows, start + rows] = np.inf
        near = np.argsort(apart, axis=1, kind="stable")[:, :k]
        index[start:start + block], distance[start:start + block] = near, np.take_along_axis(apart, near, axis=1)
    return index, distance

