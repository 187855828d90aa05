"""Whom do we know: faces against the centroids of the facesets that exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

BLOCK = 1 << 24     # similarities at once: 64 MB


@dataclass(frozen=True)
class Match:
    """For each of N faces, the nearest identities."""

    nearest: np.ndarray     # (N,) int64 index of an identity, -1 where nobody may be
    distance: np.ndarray    # (N,) float32 cos-dist to it, inf for nobody
    second: np.ndarray      # (N,) int64 the next nearest, -1 for none
    runner_up: np.ndarray   # (N,) float32 cos-dist to the next nearest, inf for none

    def certain(self, distance: float | np.ndarray, margin: float) -> np.ndarray:
        """(N,) bool: near enough to one, and nearer to it than to anybody else by the margin."""
        return (self.distance <= distance) & ~self.torn(distance, margin)

    def torn(self, distance: float | np.ndarray, margin: float) -> np.ndarray:
        """(N,) bool: near enough to one, and nearly as near to another."""
        return (self.distance <= distance) & (self.runner_up < self.distance + margin)


NOBODY: Mapping[int, list[int]] = MappingProxyType({})


def match(faces: np.ndarray, centroids: np.ndarray, forbidden: Mapping[int, list[int]] = NOBODY) -> Match:
    """The two nearest centroids of each face.

    faces (N, D), centroids (P, D): float32 unit rows; forbidden: face -> identities that it is known not to be.
    """
    n, p = len(faces), len(centroids)
    nearest, second = np.full(n, -1), np.full(n, -1)
    distance, runner_up = np.full(n, np.inf, np.float32), np.full(n, np.inf, np.float32)
    step = max(1, BLOCK // max(p, 1))
    for start in range(0, n if p else 0, step):
        part = slice(start, min(start + step, n))
        apart = 1 - faces[part] @ centroids.T                   # (B, P) cos-dist
        for face in range(part.start, part.stop) if forbidden else ():
            apart[face - start, forbidden.get(face, [])] = np.inf
        rows = np.arange(len(apart))
        for index, value in ((nearest, distance), (second, runner_up)):
            best = apart.argmin(axis=1)                         # ties: the lowest number, the older faceset
            value[part] = apart[rows, best]
            index[part] = np.where(np.isfinite(value[part]), best, -1)
            apart[rows, best] = np.inf
    return Match(nearest, distance, second, runner_up)
