"""An identity that exists on disk, and the faces.npz that lies in its folder: what makes a faceset complete by itself.

faces.npz   a cache of schema v2 (`cache`) of the faceset's own faces, best first, and two members more:
                rank        (N,)    int32, the number of its picture (1 is 0001.png), 0 for a face without one
                centroid    (D,)    float32, unit mean of the unit embeddings of the faces with a picture
            so any reader of caches reads it.

Words: N faces, n of them with a picture, D dimensions.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..common import files
from ..common.errors import Failure
from . import cache

FACES = "faces.npz"
MADE_BY = "sort_faces.py export-swap"


@dataclass
class Faceset:
    """One identity, as faces are compared with it; more of it is read from disk when it is asked for."""

    folder: str                         # "faceset_003"
    centroid: np.ndarray                # (D,) float32 unit
    number: int = 0
    name: str = ""
    path: Path = Path()
    not_this: frozenset[str] = frozenset()      # keys of faces that a person said are somebody else
    merged: tuple[np.ndarray, ...] = ()         # (D,) the centroids of those that a person merged into it

    @property
    def dropped(self) -> bool:
        """Whether a person set it aside, so that it does not come back."""
        return self.folder.startswith("_dropped/")

    @property
    def embeddings(self) -> np.ndarray:
        """(n, D) unit rows of the faces with a picture, best first."""
        rows: np.ndarray = read_member(self.path / FACES, "embeddings")
        return rows[read_member(self.path / FACES, "rank") > 0]

    @cached_property
    def face_keys(self) -> frozenset[str]:
        """Keys of all its faces, with a picture or without: never proposed again."""
        return frozenset(read_keys(self.path / FACES))


@dataclass
class Contents:
    """What faces.npz holds."""

    faces: cache.Cache
    rank: np.ndarray        # (N,) int32
    centroid: np.ndarray    # (D,) float32 unit

    @property
    def keys(self) -> list[str]:
        return cache.face_keys(self.faces)


def write_faces(path: Path, contents: Contents) -> None:
    with files.replacing(path) as file:
        cache.dump(file, contents.faces)
        cache.write_members(file, {"rank": contents.rank.astype(np.int32),
                                   "centroid": contents.centroid.astype(np.float32)}, "a")


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
        shas = cache.shas_of(members)
        return [cache.face_key(shas[face["photo"]], face["box"]) for face in members["meta"]]


def _opened(path: Path) -> AbstractContextManager[Mapping[str, np.ndarray]]:
    return cache.opened(path, "the faces.npz of a faceset", MADE_BY)
