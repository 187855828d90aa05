"""The cache, schema v2: faces and their embeddings, one `.npz`, numpy only, never a pickle.

Words: N faces, D dimensions, M photos; `box` = (x1, y1, x2, y2) in pixels of the upright photo.

    schema        ()            int64, 2
    embeddings    (N, D)        float32 unit rows
    norms         (N,)          float32, of the raw embeddings: raw = embeddings * norms[:, None]
    meta          (N,)          FACE below
    processed     (M,)          S64, SHA-256 of every photo that reached an outcome, in the order of `photos`
    photos, immich, path_aliases, model, queue      uint8: UTF-8 JSON, see `dump`

The SHA-256 of the bytes is the identity of a photo, and `face_keys` that of a face: both survive any reordering and
merging. Paths are stored as WSL sees them. The same faces and photos give the same bytes.

Everything of a face is in the frame of the photo as its EXIF turns it, which is how Immich shows it, and `width` and
`height` are its sides. A photo that lies on its side without saying so has a `turn`: the quarter turns clockwise that
make it upright (`boxes.turned`). Its boxes and landmarks stay in the photo's own frame, so that they can be cut out and
compared with Immich's like all others; the landmarks still begin with the left eye of the upright face, and yaw, pitch
and roll are those of the upright face.
"""

import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from ..common import files
from ..common.errors import Failure
from . import distances

SCHEMA = 2

FACE = np.dtype([
    ("photo", "<i4"),               # index into photos
    ("box", "<f4", (4,)),           # pixels of the upright photo
    ("landmarks", "<f4", (5, 2)),   # left eye, right eye, nose, left and right mouth corner as one sees a face upright
    ("det_score", "<f4"),           # 0..1
    ("face_short", "<f4"),          # shorter side of the box, pixels of the upright original
    ("blur", "<f4"),                # variance of the Laplacian of the aligned 112² grey crop; larger is sharper
    ("yaw", "<f4"), ("pitch", "<f4"), ("roll", "<f4"),      # degrees, from the landmarks
    ("quality", "<f4"),             # 0..1, facesets.formats.quality
])

FACE_KEY = re.compile(r"[0-9a-f]{64}@-?\d+,-?\d+,-?\d+,-?\d+", re.ASCII)     # what `face_key` makes
STATUSES = ("faces", "noface", "error")


@dataclass(frozen=True)
class Model:
    """The pack that made the embeddings. Those of different recognisers never mix."""

    name: str
    sha256: str                 # of the recogniser's file: what decides whether two caches go together
    detector_sha256: str
    dimension: int
    known_distance: float       # cos-dist to a centroid that counts as the same person
    cluster_distance: float     # cos-dist where average linkage stops


@dataclass(frozen=True)
class Photo:
    """One photo and what became of it."""

    path: str
    sha256: str
    status: str = "noface"      # one of STATUSES
    reason: str = ""            # why, when the status is "error"
    taken_at: str = ""          # ISO 8601 or ""
    width: int = 0              # of the upright photo
    height: int = 0
    source: str = "original"    # "preview": Immich's JPEG stands for a file that no decoder here reads
    asset_id: str = ""          # Immich's, "" for the operator's own folders
    user: str = ""              # the label whose library it came from
    turn: int = 0               # 0..3 quarter turns clockwise that make it upright

    @property
    def year(self) -> int:
        """In which it was taken, 0 unknown."""
        return int(self.taken_at[:4]) if self.taken_at[:4].isdecimal() else 0

    @property
    def called(self) -> set[str]:
        """What a person may name it by: its path, file name, SHA-256 or asset id."""
        return {self.path, os.path.basename(self.path), self.sha256, self.asset_id} - {""}


PHOTO_COLUMNS = tuple(item.name for item in fields(Photo))


@dataclass(frozen=True)
class Person:
    """Who Immich says that a face is; empty where it says nothing."""

    id: str = ""
    name: str = ""


@dataclass
class Cache:
    model: Model
    photos: list[Photo] = field(default_factory=list)
    faces: np.ndarray = field(default_factory=lambda: np.zeros(0, FACE))        # (N,) FACE
    embeddings: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))    # (N, D)
    norms: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))  # (N,)
    persons: list[Person] = field(default_factory=list)                         # N
    path_aliases: dict[str, str] = field(default_factory=dict)                  # another path -> SHA-256
    queue: str = ""             # `queue.digest` of the queue that its paths, dates and names come from, if it is one

    def __post_init__(self) -> None:
        if self.embeddings.size == 0:
            self.embeddings = np.zeros((len(self.faces), self.model.dimension), np.float32)
        if not self.persons:
            self.persons = [Person()] * len(self.faces)

    @property
    def raw(self) -> np.ndarray:
        """(N, D) embeddings as the recogniser gave them, which is what swap tools average."""
        return self.embeddings * self.norms[:, None]


def face_key(sha256: str, box: np.ndarray) -> str:
    """`<sha256>@x1,y1,x2,y2`, whole pixels: names a face whatever row it is in."""
    return sha256 + "@" + ",".join(str(round(float(side))) for side in box)


def boxes_of(keys: Iterable[str]) -> dict[str, np.ndarray]:
    """SHA-256 of a photo -> the boxes (n, 4) of the faces `keys` in it."""
    found: dict[str, list[list[float]]] = {}
    for key in keys:
        sha256, _, box = key.partition("@")
        found.setdefault(sha256, []).append([float(side) for side in box.split(",")])
    return {sha256: np.array(boxes) for sha256, boxes in found.items()}


def short_key(key: str) -> str:
    """12 hex digits that name a face within its faceset: face keys are long, and a page holds thousands."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def face_keys(cache: Cache) -> list[str]:
    return [face_key(cache.photos[face["photo"]].sha256, face["box"]) for face in cache.faces]


def rows_of(cache: Cache) -> dict[str, list[int]]:
    """SHA-256 of a photo -> rows of its faces."""
    found: dict[str, list[int]] = {}
    for row, number in enumerate(cache.faces["photo"].tolist()):
        found.setdefault(cache.photos[number].sha256, []).append(row)
    return found


def lock_of(path: Path) -> Path:
    """What whoever writes the cache `path` holds, from reading it on."""
    return path.with_name(path.name + ".lock")


def write(path: Path, cache: Cache) -> None:
    """Replace `path` by `cache`, whole or not at all."""
    with files.replacing(path) as file:
        dump(file, cache)


def dump(file: IO[bytes], cache: Cache) -> None:
    check(cache)
    texts = {   # long lists as columns, which parse several times faster than rows of objects
        "photos": {name: [getattr(photo, name) for photo in cache.photos] for name in PHOTO_COLUMNS},
        "immich": {"person_id": [person.id for person in cache.persons],
                   "person_name": [person.name for person in cache.persons]},
        "path_aliases": dict(sorted(cache.path_aliases.items())), "model": asdict(cache.model), "queue": cache.queue}
    write_members(file, {
        "schema": np.int64(SCHEMA),
        "embeddings": np.ascontiguousarray(cache.embeddings, np.float32),
        "norms": np.ascontiguousarray(cache.norms, np.float32),
        "meta": np.ascontiguousarray(cache.faces, FACE),
        "processed": np.array([photo.sha256 for photo in cache.photos], "S64"),
        **{name: np.frombuffer(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"), np.uint8)
           for name, value in texts.items()}}, "w")


def write_members(file: IO[bytes], members: Mapping[str, Any], mode: Literal["w", "a"]) -> None:
    """An `.npz`, or more of one; np.savez would stamp the time of day into it."""
    with zipfile.ZipFile(file, mode, zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            with archive.open(zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


@contextmanager
def opened(path: Path, what: str = "a cache", made_by: str = "embed_worker.py") -> Iterator[Mapping[str, np.ndarray]]:
    """The members of an `.npz` of ours by name, each read when it is asked for. Whatever is wrong becomes a Failure.

    Ours are stored as they are; one that is packed, or larger than its file, could fill any memory. Nothing is run.
    """
    try:
        with open(path, "rb") as file:      # opened once: another run may replace it meanwhile
            with zipfile.ZipFile(file) as archive:
                listed = archive.infolist()
            if any(item.compress_type != zipfile.ZIP_STORED for item in listed) \
                    or sum(item.file_size for item in listed) > os.fstat(file.fileno()).st_size:
                raise ValueError("its members are packed")
            file.seek(0)
            with np.load(file, allow_pickle=False) as members:
                yield members
    except Failure:
        raise
    except FileNotFoundError:
        raise Failure(f"{path} does not exist; run {made_by}") from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # zipfile, zlib, struct, numpy and the tokenizer each raise their own
        raise Failure(f"{path} is not {what} ({type(error).__name__}: {error!s:.200}); move it to "
                      f"another folder, then run {made_by}") from None


def read(path: Path) -> Cache:
    """The cache in `path`. Anything else raises Failure."""
    with opened(path) as archive:
        members = dict(archive)
        if int(members["schema"]) != SCHEMA:
            raise Failure(f"{path} has schema {int(members['schema'])}, this version reads {SCHEMA}; embed again")
        cache = _from_members(members)
        check(cache)
    return cache


def processed(path: Path) -> frozenset[str]:
    """SHA-256 of every photo in the cache `path`, without reading the rest of it; empty where there is no cache."""
    if not path.exists():
        return frozenset()
    with opened(path) as archive:
        return frozenset(shas_of(archive))


def shas_of(members: Mapping[str, np.ndarray]) -> list[str]:
    """SHA-256 of every photo of a cache that is `opened`. A text of no bytes could stand there any number of times."""
    if members["processed"].dtype != "S64":
        raise ValueError("processed holds no SHA-256s")
    return [item.decode("ascii") for item in members["processed"].tolist()]


def columns(path: Path, *names: str) -> list[tuple[Any, ...]]:
    """These fields of every photo of the cache `path`, without reading its faces; none where there is no cache."""
    if not path.exists():
        return []
    with opened(path) as archive:
        photos = _photos(archive)
        return list(zip(*(photos[name] for name in names), strict=True))


def model_of(path: Path) -> Model:
    """The model of the cache `path`, without reading the rest of it."""
    with opened(path) as archive:
        return _model(_of_json(archive["model"]))


def queue_of(path: Path) -> str:
    """What `queue.digest` said of the queue that was folded into the cache `path` last; "" if nothing is known."""
    with opened(path) as archive:
        return str(_of_json(archive["queue"])) if "queue" in archive else ""


def same_model(a: Model, b: Model, where: str) -> None:
    """Raise Failure unless embeddings of the two may be compared."""
    if a.sha256 != b.sha256:
        raise Failure(f"{where}: faces of {a.name} ({a.sha256[:8]}, {a.dimension}-d) and of {b.name} ({b.sha256[:8]}, "
                      f"{b.dimension}-d) cannot be compared; embed both with the same --model")


def check(cache: Cache) -> None:
    """Raise ValueError where shapes, indices, numbers or statuses contradict each other."""
    n, d = len(cache.faces), cache.model.dimension
    if cache.faces.dtype != FACE or cache.faces.shape != (n,):
        raise ValueError("meta has another layout")
    if cache.embeddings.shape != (n, d) or cache.norms.shape != (n,) or len(cache.persons) != n:
        raise ValueError(f"{n} faces, but embeddings {cache.embeddings.shape}, norms {cache.norms.shape}, "
                         f"{len(cache.persons)} persons")
    if n and not (0 <= cache.faces["photo"].min() and cache.faces["photo"].max() < len(cache.photos)):
        raise ValueError("a face belongs to no photo")
    if not (np.isfinite(cache.embeddings).all() and np.isfinite(cache.norms).all()
            and np.isfinite(cache.faces["box"]).all() and np.isfinite(cache.faces["quality"]).all()):
        raise ValueError("an embedding, box or quality is not finite")
    if n and np.abs(np.einsum("nd,nd->n", cache.embeddings, cache.embeddings) - 1).max() > 1e-3:
        raise ValueError("an embedding is no unit row")
    if any(photo.status not in STATUSES for photo in cache.photos):
        raise ValueError("a photo has no outcome")
    if not all(0 <= photo.turn <= 3 for photo in cache.photos):
        raise ValueError("a photo is turned by more than it can be")


def _of_json(array: np.ndarray) -> Any:
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError("a text member is not bytes")
    return json.load(io.BytesIO(array.tobytes()))


def _photos(members: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    photos: dict[str, list[Any]] = _of_json(members["photos"])
    photos.setdefault("turn", [0] * len(photos["sha256"]))      # in no cache before it was asked
    return photos


def _model(item: dict[str, Any]) -> Model:
    """With the distances that were measured of the recogniser by now, whatever was known when the cache was made."""
    known, apart = distances.measured(item["sha256"]) or (item["known_distance"], item["cluster_distance"])
    return Model(str(item["name"]), str(item["sha256"]), str(item["detector_sha256"]), int(item["dimension"]),
                 float(known), float(apart))


def _from_members(members: dict[str, np.ndarray]) -> Cache:
    model, immich, photos = _of_json(members["model"]), _of_json(members["immich"]), _photos(members)
    aliases = _of_json(members["path_aliases"])
    if not all(isinstance(text, str) for pair in aliases.items() for text in pair):
        raise ValueError("path_aliases holds more than text")
    columns = [photos[name] for name in PHOTO_COLUMNS]
    for item, column in zip(fields(Photo), columns, strict=True):
        if not all(type(value) is item.type for value in column):
            raise ValueError(f"photos: {item.name} is not all {item.type}")
    if members["embeddings"].dtype != np.float32 or members["norms"].dtype != np.float32:
        raise ValueError("embeddings are not float32")
    return Cache(
        model=_model(model),
        photos=[Photo(*row) for row in zip(*columns, strict=True)],
        faces=members["meta"], embeddings=members["embeddings"], norms=members["norms"],
        persons=[Person(str(number), str(name)) for number, name
                 in zip(immich["person_id"], immich["person_name"], strict=True)],
        path_aliases=aliases, queue=str(_of_json(members["queue"])) if "queue" in members else "")
