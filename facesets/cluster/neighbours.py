"""Which rows hang together: connected components of the graph {x_i · x_j >= least}, without an edge list.

One blocked pass over the upper triangle; hits go straight into a union-find. Rows that are found to hang together early
(by a few pivots) are sorted side by side, and a tile inside one component is not multiplied at all.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from . import tiles

PANEL, TILE = 2048, 2048    # a tile's int32 result fits a third-level cache; larger gained nothing
MANY = 1 << 19              # hits listed at once: 8 MB; a tile with more goes strip by strip
STRIP = MANY // TILE        # rows of a strip
PIVOTS = 1024


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

    def unite(self, nodes: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """Make one set of the sets of the roots nodes[a[k]] and nodes[b[k]], for every k; `nodes` ascend."""
        links = coo_array((np.ones(len(a), bool), (a, b)), shape=(len(nodes), len(nodes)))
        count, part = connected_components(links, directed=False)
        lowest = np.empty(count, np.int64)
        lowest[part[::-1]] = nodes[::-1]        # the first of a part is written last
        self.parent[nodes] = lowest[part]


@dataclass
class Search:
    """One pass: `rows[order]` against themselves, in tiles that `quick` multiplies."""

    forest: Forest
    rows: np.ndarray
    order: np.ndarray
    least: float
    quick: tiles.Tiles

    def tile(self, a: int, b: int, c: int, d: int) -> None:
        """Unite what rows a:b and c:d of `order` link."""
        left, right = self.order[a:b], self.order[c:d]
        if _one_set(self.forest.roots(left), self.forest.roots(right)):
            return
        reached = self.quick.reach(a, b, c, d)
        step = STRIP if np.count_nonzero(reached) > MANY else len(left)
        for start in range(0, len(left), step):
            hits = np.flatnonzero(reached[start:start + step].ravel())
            if len(hits):
                i, j = np.divmod(hits, len(right))
                self._unite(left, right, i + start, j)

    def _unite(self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> None:
        """Unite the sets of left[i[k]] and right[j[k]], for every k."""
        roots = self.forest.roots(np.concatenate([left, right]))
        nodes, node = np.unique(roots, return_inverse=True)
        one, other = node[i], node[len(left) + j]
        news = one != other
        if news.any() and not self.quick.exact:
            news[news] = self._look_again(left, right, i[news], j[news])
        if news.any():
            self.forest.unite(nodes, one[news], other[news])

    def _look_again(self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Which of the pairs (left[i], right[j]) reach `least` in float32."""
        some_i, at_i = np.unique(i, return_inverse=True)
        some_j, at_j = np.unique(j, return_inverse=True)
        product = self.rows[left[some_i]] @ self.rows[right[some_j]].T
        return product[at_i, at_j] >= self.least - tiles.float_slack(self.rows.shape[1])


def components(rows: np.ndarray, least: float, kind: str = "auto") -> np.ndarray:
    """Component of each row, named by its lowest row.

    rows (n, d) float32 of length <= 1; `least` any similarity; returns (n,) int64.
    Pairs within float32's rounding of `least` count as linked. `kind`: see `tiles.tiles`.
    """
    n = len(rows)
    forest = Forest(n)
    everyone = np.arange(n)
    if n > 4 * PIVOTS:
        pivots = everyone[::n // PIVOTS][:PIVOTS]
        order = np.concatenate([pivots, np.delete(everyone, pivots)])
        early = Search(forest, rows, order, least, tiles.Float32Tiles(rows, order, least))
        for start in range(PIVOTS, n, TILE):
            early.tile(0, PIVOTS, start, min(start + TILE, n))
    order = np.argsort(forest.roots(everyone), kind="stable")
    search = Search(forest, rows, order, least, tiles.tiles(rows, order, least, kind))
    for a in range(0, n, PANEL):
        for c in range(a, n, TILE):
            search.tile(a, min(a + PANEL, n), c, min(c + TILE, n))
    return forest.roots(everyone)


def _one_set(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(a.min() == a.max() == b.min() == b.max())
