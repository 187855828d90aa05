"""All faces of some caches as one table, in an order that the caches' own order does not change."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..common.errors import Failure
from ..formats.cache import Cache, Model, Person, face_keys, same_model


@dataclass(frozen=True)
class Pool:
    """N faces, ordered by key; every face once, however many caches hold it."""

    model: Model
    keys: list[str]
    rows: np.ndarray            # (N, D) float32 unit rows
    meta: np.ndarray            # (N,) cache.FACE; its photo index means nothing here
    photo: np.ndarray           # (N,) int64, the same for faces of one photo
    photo_sha256: list[str]     # N
    year: np.ndarray            # (N,) int64 in which it was taken, 0 unknown
    persons: list[Person]       # N
    clarity: np.ndarray         # (N,) float32, norm of the raw embedding over the median of all: how much it tells

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def row_of(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}


def pool(caches: Sequence[Cache]) -> Pool:
    """Raises Failure where there is no cache or the recognisers differ."""
    if not caches:
        raise Failure("no cache to cluster; run embed_worker.py first")
    for other in caches[1:]:
        same_model(caches[0].model, other.model, "the caches")
    keys = [key for cache in caches for key in face_keys(cache)]
    rows = {key: row for row, key in reversed(list(enumerate(keys)))}
    unique = sorted(rows)
    first = np.array([rows[key] for key in unique], np.int64)
    photos = [cache.photos[index] for cache in caches for index in cache.faces["photo"]]
    persons = [person for cache in caches for person in cache.persons]
    named = _named(keys, persons)
    sha256 = [photos[row].sha256 for row in first]
    return Pool(
        model=caches[0].model, keys=unique,
        rows=np.concatenate([cache.embeddings for cache in caches])[first],
        meta=np.concatenate([cache.faces for cache in caches])[first],
        photo=np.unique(sha256, return_inverse=True)[1] if sha256 else np.zeros(0, np.int64),
        photo_sha256=sha256, year=np.array([photos[row].year for row in first], np.int64),
        persons=[named[key] for key in unique],
        clarity=clarity_of(np.concatenate([cache.norms for cache in caches])[first]))


def clarity_of(norms: np.ndarray) -> np.ndarray:
    """(N,) norms of raw embeddings, by their median: what blurs, hides or turns a face makes its norm small.

    A norm of 0, of a face that is nothing, does not count.
    """
    some = norms[norms > 0]
    return np.asarray(norms / np.median(some) if len(some) else norms, np.float32)


def _named(keys: list[str], persons: list[Person]) -> dict[str, Person]:
    """The person of each face: of two caches that both have it, the one where Immich names it."""
    named: dict[str, Person] = {}
    for key, person in zip(keys, persons, strict=True):
        if key not in named or (bool(person.name), person.id, person.name) > (
                bool(named[key].name), named[key].id, named[key].name):
            named[key] = person
    return named
