"""Facesets that look alike: what a person should look at. Pure: facesets in, pairs out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..formats.vectors import nearest
from ..library.store import Manifest
from .shelf import Set

NEAREST = 6         # look-alikes that are looked for of each faceset


@dataclass(frozen=True)
class Pair:
    one: int            # index into the shelf's sets
    other: int
    distance: float     # cos-dist of the centroids
    same_name: bool
    near: bool          # near enough to be taken for one person


def pairs(sets: Sequence[Set], known: float, alike: float, manifest: Manifest) -> list[Pair]:
    """Facesets within `alike` (cos-dist) of each other of whom nobody said that they are two, nearest first.

    Within `known` they are probably one person.
    """
    near, distance = nearest(np.array([item.centroid for item in sets], np.float32), np.arange(len(sets)), len(sets),
                             NEAREST)
    found: dict[tuple[int, int], Pair] = {}
    for at, place in zip(*np.nonzero(distance <= alike), strict=True):
        one, other = sorted((int(at), int(near[at, place])))
        if not manifest.are_two(sets[one].folder, sets[other].folder):
            names = {(sets[index].name or sets[index].proposed).casefold() for index in (one, other)}
            found[one, other] = Pair(one, other, float(distance[at, place]), len(names) == 1 and names != {""},
                                     bool(distance[at, place] <= known))
    return sorted(found.values(), key=lambda pair: (pair.distance, pair.one, pair.other))
