"""Facesets that look alike: what a person should look at. Pure: facesets in, pairs out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    near, distance = nearest(np.array([item.centroid for item in sets], np.float32))
    found: dict[tuple[int, int], Pair] = {}
    for at, place in zip(*np.nonzero(distance <= alike), strict=True):
        one, other = sorted((int(at), int(near[at, place])))
        if not manifest.are_two(sets[one].folder, sets[other].folder):
            names = {(sets[index].name or sets[index].proposed).casefold() for index in (one, other)}
            found[one, other] = Pair(one, other, float(distance[at, place]), len(names) == 1 and names != {""},
                                     bool(distance[at, place] <= known))
    return sorted(found.values(), key=lambda pair: (pair.distance, pair.one, pair.other))


def nearest(centroids: np.ndarray, count: int = NEAREST, block: int = 1024) -> tuple[np.ndarray, np.ndarray]:
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
