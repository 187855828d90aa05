"""One faceset folder: its faces.npz and its manifest.json, read and written here.

faces.npz   a cache of schema v2 (`formats.cache`) of the faceset's own faces, best first, and two members more:
                rank        (N,)    int32, the number of its picture (1 is 0001.png), 0 for a face without one
                centroid    (D,)    float32, unit mean of the unit embeddings of the faces with a picture
            so a faceset is complete by itself, and any reader of caches reads it.

manifest.json
    schema, folder, number, name, proposed_name, names {what Immich says: faces}, run, created, made_by, reason,
    model {...}, centroid [D], spread (mean cos-dist of the pictured faces to the centroid),
    eras {year: faces}, users {label: faces}, top [file names chosen for _top8.fsz],
    faces     [{rank, file, face, photo, sha256, asset_id, user, taken_at, box, quality, parts {...}, distance,
                isolation "alone" | "moved" | "cleaned", light [brightness, side light]}]
    left_out  [{face, photo, sha256, quality, distance, reason}]      faces of this person without a picture
    files     {name: SHA-256 of every file that we wrote here, but this one}

NAME.txt    its first line is the name that a person gave; there is none as long as nobody gave one
"""

import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..common import files, terminal
from ..common.errors import Failure
from ..formats import cache

SCHEMA = 1
FACES, MANIFEST, NAME = "faces.npz", "manifest.json", "NAME.txt"
MADE_BY = "sort_faces.py export-swap"
FOLDER = re.compile(r"(_[a-z]+/)?[a-z0-9][a-z0-9_]*")       # of a faceset, below the library
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")            # in a faceset


@dataclass
class Contents:
    """What faces.npz holds."""

    faces: cache.Cache
    rank: np.ndarray        # (N,) int32
    centroid: np.ndarray    # (D,) float32 unit

    @property
    def keys(self) -> list[str]:
        return cache.face_keys(self.faces)


@dataclass
class Record:
    """What manifest.json holds."""

    folder: str
    number: int = 0
    name: str = ""
    proposed_name: str = ""
    names: dict[str, int] = field(default_factory=dict)
    run: str = ""
    created: str = ""
    made_by: str = ""
    reason: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    centroid: list[float] = field(default_factory=list)
    spread: float = 0.0
    eras: dict[str, int] = field(default_factory=dict)
    users: dict[str, int] = field(default_factory=dict)
    top: list[str] = field(default_factory=list)
    faces: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


def write_faces(path: Path, contents: Contents) -> None:
    with files.replacing(path) as file:
        cache.dump(file, contents.faces)
        with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
            for name, array in (("rank", contents.rank.astype(np.int32)),
                                ("centroid", contents.centroid.astype(np.float32))):
                with archive.open(zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0)), "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)


def read_faces(path: Path) -> Contents:
    faces = cache.read(path)
    rank, centroid = read_member(path, "rank"), read_member(path, "centroid")
    if rank.shape != (len(faces.faces),) or centroid.shape != (faces.model.dimension,):
        raise Failure(f"{path} is not the faces.npz of a faceset; take it from a backup, or remove the folder")
    return Contents(faces, rank, centroid)


def read_member(path: Path, name: str) -> np.ndarray:
    """One array of a faces.npz, without reading the others."""
    with _opened(path) as members:
        array = members[name]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fi" or not np.isfinite(array).all():
        raise Failure(f"{path}: {name} is not made of finite numbers")
    return array


def read_keys(path: Path) -> list[str]:
    """The keys of all faces of a faces.npz, reading no more of it than that takes."""
    with _opened(path) as members:
        shas = [item.decode("ascii") for item in members["processed"].tolist()]
        return [cache.face_key(shas[face["photo"]], face["box"]) for face in members["meta"]]


def _opened(path: Path) -> AbstractContextManager[Mapping[str, np.ndarray]]:
    return cache.opened(path, "the faces.npz of a faceset", MADE_BY)


def write_record(path: Path, record: Record) -> None:
    files.write_json(path, {"schema": SCHEMA, **asdict(record)})


def read_record(path: Path) -> Record:
    value = files.read_json(path, SCHEMA, MADE_BY)
    try:
        record = Record(**{name: value[name] for name in Record.__dataclass_fields__})
        for item in record.faces:
            texts(item, "face", "photo", "sha256", "taken_at", "isolation")
            int(item["rank"]), float(item["quality"]), float(item["distance"]), [float(side) for side in item["box"]]
            float(item["light"][0]), float(item["light"][1])
        for item in record.left_out:
            texts(item, "face", "photo", "sha256", "reason")
        texts(value, "name", "proposed_name", "reason", "run", "created", "made_by")
        if not FOLDER.fullmatch(record.folder):
            raise ValueError("folder is no folder of a library")
        for name in (*record.files, *record.top, *(item["file"] for item in record.faces)):
            if not FILE.fullmatch(name):
                raise ValueError(f"{name!r:.60} is no file of a faceset")
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise Failure(f"{path} is not the manifest of a faceset ({type(error).__name__}: {error!s:.200})") from None
    return record


def texts(item: dict[str, Any], *names: str) -> None:
    """Raise TypeError unless all of these are texts."""
    for name in names:
        if not isinstance(item[name], str):
            raise TypeError(f"{name} is no text")


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
