"""What a worker of an engine does for clustering, as machines.py hands it out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..common import workers
from . import neighbours, tiles
from .known import Match, match
from .tiles import PANEL, TILE


@dataclass(frozen=True)
class Broken:
    """An answer that is none, since the work failed."""

    address: str    # of the worker
    why: str


def tried(work: Callable[..., Any], *data: Any) -> Any:
    """What `work(*data)` gives, or who failed at it: Dask does not tell who."""
    try:
        return work(*data)
    except Exception as error:
        from distributed import get_worker
        return Broken(get_worker().address, f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class Block:
    rows: np.ndarray        # (B, d) float32
    sets: np.ndarray        # (B,) int64, the set that each row was known to be in
    largest: float          # of all rows of all blocks

    @cached_property
    def rounded(self) -> tiles.Rounded:
        """Once on each worker that holds it, for all its tasks."""
        return tiles.rounded(self.rows, np.arange(len(self.rows)), self.largest)

    def __reduce__(self) -> tuple[Any, ...]:
        return Block, (self.rows, self.sets, self.largest)      # rounding again is faster than sending that too

    def __sizeof__(self) -> int:
        return self.rows.nbytes + self.sets.nbytes      # by which Dask gives a task to who has most of its blocks


def links(least: float, kind: str, left: Block, right: Block | None = None) -> np.ndarray:
    """(k, 2) int64: sets of the blocks that are one, since a pair of their rows reaches `least`. Without `right`, of
    the block with itself."""
    both = [left] if right is None else [left, right]
    rows, sets = (np.concatenate(parts) for parts in zip(*((block.rows, block.sets) for block in both), strict=True))
    first, number = np.unique(sets, return_index=True, return_inverse=True)[1:]
    forest, order = neighbours.Forest(len(rows)), np.arange(len(rows))
    forest.parent[:] = first[number]
    quick = tiles.tiles(rows, order, least, kind, (block.rounded for block in both))
    search = neighbours.Search(forest, rows, order, least, quick)
    for a in range(0, len(left.rows), PANEL):
        start = a // TILE * TILE if right is None else len(left.rows)
        search.panel(order[a:min(a + PANEL, len(left.rows))], start, len(rows))
    roots = forest.roots(first)
    new = roots != first
    return np.stack([sets[first[new]], sets[roots[new]]], axis=1)


@dataclass(frozen=True)
class Asked:
    rows: np.ndarray                    # (n, d) faces, or the centroids
    forbidden: dict[int, list[int]]     # face -> who it is not


def matched(centroids: Asked, faces: Asked) -> Match:
    return match(faces.rows, centroids.rows, faces.forbidden)


MODULES = ("dense", "known", "linkage", "neighbours", "tasks", "tiles")     # of a task
VERSION = workers.version(Path(__file__).parent, MODULES)   # as this process loads them, whatever lies there later
# What a worker is asked first, which every Python understands: one that cannot read a task of ours says nothing at all.
FIRST = f"__import__('{__package__}.linkage') and __import__({__name__!r}, fromlist=['VERSION']).VERSION"
