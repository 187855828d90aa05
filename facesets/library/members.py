"""Rows of caches: some of one, or those of several together. What a faceset is made of, and what `merge` does.

The SHA-256 of a photo decides that two photos are one; the paths of the later copies become aliases.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..common import terminal
from ..common.errors import Failure
from ..formats import cache


def beside(paths: Iterable[Path], recogniser: str) -> dict[Path, cache.Cache]:
    """The caches of a recogniser, "" for any; one that cannot be read, somebody else's perhaps, stops nobody."""
    of_it = terminal.legible(cache.model_of, paths)
    return terminal.legible(cache.read, [path for path, model in of_it.items() if recogniser in ("", model.sha256)])


class Index:
    """Where each face of some caches of one model lies: face key -> cache and row. The first of equal keys counts."""

    def __init__(self, caches: Sequence[cache.Cache]) -> None:
        for other in caches[1:]:
            cache.same_model(caches[0].model, other.model, "these caches")
        self.caches = caches
        self._places: dict[str, tuple[int, int]] = {}
        self._of_photo: dict[str, list[str]] = {}       # SHA-256 -> keys of its faces
        for number, item in enumerate(caches):
            for row, key in enumerate(cache.face_keys(item)):
                if key not in self._places:
                    self._places[key] = (number, row)
                    self._of_photo.setdefault(key[:64], []).append(key)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def faces_of(self, text: str) -> list[str]:
        """Keys of the faces of the photos that are called so."""
        return [key for key, (number, row) in self._places.items()
                if text in self.caches[number].photos[self.caches[number].faces["photo"][row]].called]

    def boxes(self, sha256: str) -> tuple[tuple[float, ...], ...]:
        """The boxes of all faces of a photo."""
        places = [self._places[key] for key in self._of_photo.get(sha256, ())]
        return tuple(tuple(float(side) for side in self.caches[number].faces["box"][row]) for number, row in places)

    def pick(self, keys: Iterable[str]) -> cache.Cache:
        """A cache of the faces `keys`, in that order, and of their photos. Raises Failure for an unknown key."""
        places = []
        for key in keys:
            if key not in self._places:
                raise Failure(f"face {key[:8]}…{key[64:]} is in none of the caches; cluster again")
            places.append(self._places[key])
        source, row = np.array(places, np.int64).reshape(-1, 2).T
        order = np.argsort(source, kind="stable")
        stacked = stack([(item, row[source == number]) for number, item in enumerate(self.caches)])
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pick(stacked, back)


def pick(source: cache.Cache, rows: Sequence[int] | np.ndarray) -> cache.Cache:
    """The faces at `rows`, in that order, with their photos only."""
    return stack([(source, np.asarray(rows, np.int64))])


def stack(parts: Sequence[tuple[cache.Cache, np.ndarray]]) -> cache.Cache:
    """The faces at the given rows of caches of one model, one after the other, with their photos, each once."""
    model = parts[0][0].model
    photos: list[cache.Photo] = []
    place: dict[str, int] = {}
    faces = []
    for source, rows in parts:
        chosen = source.faces[rows].copy()
        for position, number in enumerate(chosen["photo"]):
            photo = source.photos[number]
            if photo.sha256 not in place:
                place[photo.sha256] = len(photos)
                photos.append(photo)
            chosen["photo"][position] = place[photo.sha256]
        faces.append(chosen)
    return cache.Cache(model, photos, np.concatenate(faces),
                       np.concatenate([source.embeddings[rows] for source, rows in parts]),
                       np.concatenate([source.norms[rows] for source, rows in parts]),
                       [source.persons[row] for source, rows in parts for row in rows])


def without_twins(a: cache.Cache, b: cache.Cache) -> cache.Cache:
    """The faces of `a`, then those of `b` that `a` has not; both of one faceset or person."""
    known = set(cache.face_keys(a))
    rows = [row for row, key in enumerate(cache.face_keys(b)) if key not in known]
    return stack([(a, np.arange(len(a.faces))), (b, np.array(rows, np.int64))])


def merge(into: cache.Cache, other: cache.Cache) -> cache.Cache:
    """`into` with the photos of `other` that it has not, by SHA-256, and their faces.

    A photo that both have keeps the faces of `into`, gains what only `other` knows of it (date, asset, user, the
    persons of equal faces), and the other path becomes an alias, or the path where the old one is dead. One that only
    `other` could read, or found to be turned, comes with its faces. Of the same asset `other` has the newer names.
    """
    cache.same_model(into.model, other.model, "merge")
    photos = list(into.photos)
    place = {photo.sha256: number for number, photo in enumerate(photos)}
    aliases = dict(into.path_aliases)
    taken = np.zeros(len(other.photos), bool)       # photos whose faces come from `other`
    moved = np.zeros(len(other.photos), np.int32)
    for number, photo in enumerate(other.photos):
        if photo.sha256 not in place:
            place[photo.sha256] = len(photos)
            photos.append(photo)
            taken[number] = True
        else:
            mine = photos[place[photo.sha256]]
            taken[number] = photo.status != "error" and (mine.status == "error" or photo.turn != mine.turn == 0)
            first, second = (photo, mine) if taken[number] else (mine, photo)
            moved_away = not os.path.exists(first.path) and os.path.exists(second.path)
            photos[place[photo.sha256]] = replace(
                first, path=(second if moved_away else first).path, taken_at=first.taken_at or second.taken_at,
                asset_id=first.asset_id or second.asset_id, user=first.user or second.user)
            if second.path != first.path and not moved_away:
                aliases[second.path] = photo.sha256
        moved[number] = place[photo.sha256]
    for path, sha256 in other.path_aliases.items():
        aliases.setdefault(path, sha256)
    rows = np.flatnonzero(taken[other.faces["photo"]])
    faces = other.faces[rows].copy()
    faces["photo"] = moved[faces["photo"]]
    stay = np.flatnonzero(~np.isin(into.faces["photo"], moved[taken]))
    named = _named(into, other)
    return cache.Cache(into.model, photos, np.concatenate([into.faces[stay], faces]),
                       np.concatenate([into.embeddings[stay], other.embeddings[rows]]),
                       np.concatenate([into.norms[stay], other.norms[rows]]),
                       [named[row] for row in stay] + [other.persons[row] for row in rows], aliases)


def _named(into: cache.Cache, other: cache.Cache) -> list[cache.Person]:
    known = {key: (person, other.photos[number]) for key, person, number
             in zip(cache.face_keys(other), other.persons, other.faces["photo"], strict=True) if person.id}
    named = []
    for key, person, number in zip(cache.face_keys(into), into.persons, into.faces["photo"], strict=True):
        newer, photo = known.get(key, (person, into.photos[number]))
        same_asset = (photo.asset_id, photo.user) == (into.photos[number].asset_id, into.photos[number].user)
        named.append(newer if same_asset or not person.id else person)
    return named
