"""Which rows hang together: connected components of the graph {x_i · x_j >= least}, without an edge list.

One blocked pass over the upper triangle, its tiles shared out among the cores; hits go straight into a union-find. Rows
that are found to hang together early (by a few pivots) are sorted side by side, and a tile inside one component is not
multiplied at all.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ..common.threads import cores
from . import tiles
from .tiles import PANEL, TILE

PIVOTS = 1024
PAIRS = 2048    # looked at again at once: 8 MB of rows


class Forest:
    """Union-find over n rows, all in arrays. The root of a set is its lowest row."""

    def __init__(self, n: int) -> None:
        self.parent = np.arange(n)

    def roots(self, rows: np.ndarray) -> np.ndarray:
        found = self.parent[rows]
        while not np.array_equal(up := self.parent[found], found):
            found = up
        self.parent[rows] = found
        return found

    def unite(self, one: np.ndarray, other: np.ndarray) -> None:
        """Make one set of the sets of the rows one[k] and other[k], for every k."""
        while len(one):
            a, b = self.roots(one), self.roots(other)
            apart = np.flatnonzero(a != b)
            low, high = np.minimum(a[apart], b[apart]), np.maximum(a[apart], b[apart])
            self.parent[high] = low         # of several pairs with one `high` one counts, the others come again
            one, other = low, high


@dataclass
class Search:
    """One pass: panels of `rows` against `rows[order]`, in tiles that `quick` multiplies."""

    forest: Forest
    rows: np.ndarray
    order: np.ndarray
    least: float
    quick: tiles.Float32Tiles | tiles.Int8Tiles
    alone: threading.Lock = field(default_factory=threading.Lock)      # the forest is one thread's at a time

    def panel(self, ids: np.ndarray, start: int, stop: int) -> None:
        """Unite what the rows `ids` and order[start:stop] link; `start` is a multiple of TILE."""
        panel = self.quick.panel(ids)
        for c in range(start, stop, TILE):
            self.tile(ids, panel, c, min(c + TILE, stop))

    def tile(self, ids: np.ndarray, panel: np.ndarray, c: int, d: int) -> None:
        right = self.order[c:d]
        with self.alone:
            roots = self.forest.roots(np.concatenate([ids, right]))
        if roots.min() == roots.max():
            return
        hits = self.quick.hits(panel, c, d)
        news = roots[hits.left] != roots[len(ids) + hits.right]
        one, other, sure = ids[hits.left[news]], right[hits.right[news]], hits.sure[news]
        self._unite(one[sure], other[sure])
        if not sure.all():
            self._unite(*self._reaching(one[~sure], other[~sure]))

    def _unite(self, one: np.ndarray, other: np.ndarray) -> None:
        if len(one):
            with self.alone:
                self.forest.unite(one, other)

    def _reaching(self, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pairs (one[k], other[k]) that are still apart and reach `least` in float32."""
        with self.alone:
            apart = self.forest.roots(one) != self.forest.roots(other)
        one, other = one[apart], other[apart]
        similar = np.empty(len(one), np.float32)
        for start in range(0, len(one), PAIRS):
            part = slice(start, start + PAIRS)
            np.einsum("pd,pd->p", self.rows[one[part]], self.rows[other[part]], out=similar[part])
        reached = similar >= self.least - tiles.float_slack(self.rows.shape[1])
        return one[reached], other[reached]


def components(rows: np.ndarray, least: float, kind: str = "auto") -> np.ndarray:
    """Component of each row, named by its lowest row.

    rows (n, d) float32 of length <= 1; `least` any similarity; returns (n,) int64.
    Pairs within float32's rounding of `least` count as linked. `kind`: see `tiles.tiles`.
    """
    forest, order = begun(rows, least)
    n = len(rows)
    search = Search(forest, rows, order, least, tiles.tiles(rows, order, least, kind))
    share_out(lambda a: search.panel(order[a:a + PANEL], a // TILE * TILE, n), range(0, n, PANEL))
    return forest.roots(np.arange(n))


def begun(rows: np.ndarray, least: float) -> tuple[Forest, np.ndarray]:
    """What a few pivots link already, and an order (n,) of the rows in which that lies side by side."""
    n = len(rows)
    forest = Forest(n)
    everyone = np.arange(n)
    if n > 4 * PIVOTS:
        early = Search(forest, rows, everyone, least, tiles.Float32Tiles(rows, everyone, least))
        pivots = everyone[::n // PIVOTS][:PIVOTS]
        share_out(lambda c: early.panel(pivots, c, min(c + TILE, n)), range(0, n, TILE))
    return forest, np.argsort(forest.roots(everyone), kind="stable")


def share_out(work: Callable[[int], None], parts: Iterable[int]) -> None:
    """Do every part of the work, on all cores that we may use."""
    parts = list(parts)
    lanes = min(len(parts), cores())
    if lanes < 2:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(lanes) as pool:
        for _ in pool.map(work, parts):     # raises what the work raised
            pass
