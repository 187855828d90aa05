"""Where an exact search takes too long: rows look only into the cells nearest to them, so some links are not seen.

The links that are seen are exact, so nobody is linked who should not be; what is missed is found again, for the most
part, when the clusters made so far are searched exactly (see linkage.average_linkage). benchmarks/cluster.py measures
the loss. Cells are those of spherical k-means: about CELL rows each, so that the work grows with n, not with n².
The same rows give the same cells, on any number of cores: all products are made by one core each.
"""

import numpy as np

from . import tiles
from .neighbours import Forest, Search, share_out
from .tiles import PANEL, TILE

CELL = 600      # rows of a cell on average: with fewer, finding the cells takes longer than looking into them
PROBES = 16     # cells that a row looks into
ROUNDS = 6      # of k-means, on
SAMPLE = 40     # rows a cell: a cell need not be optimal


def components(rows: np.ndarray, least: float, kind: str = "auto") -> np.ndarray:
    """As `neighbours.components`, but a link is missed where neither row looks into the other's cell."""
    n = len(rows)
    forest = Forest(n)
    centres = _centres(rows, max(1, n // CELL))
    near = _nearest(rows, centres, min(PROBES, len(centres)))       # (n, probes)
    order = np.argsort(near[:, 0], kind="stable")
    ends = np.searchsorted(near[order, 0], np.arange(len(centres) + 1))
    asking = np.argsort(near.ravel(), kind="stable") // near.shape[1]
    cuts = np.searchsorted(np.sort(near.ravel()), np.arange(len(centres) + 1))
    search = Search(forest, rows, order, least, tiles.tiles(rows, order, least, kind))

    def look_into(cell: int) -> None:
        for a in range(cuts[cell], cuts[cell + 1], PANEL):
            search.panel(asking[a:min(a + PANEL, cuts[cell + 1])], int(ends[cell]), int(ends[cell + 1]))

    share_out(look_into, range(len(centres)))
    return forest.roots(np.arange(n))


def _centres(rows: np.ndarray, cells: int) -> np.ndarray:
    """(cells, d) unit rows: spherical k-means on an even sample."""
    sample = rows[:: max(1, len(rows) // (SAMPLE * cells))]
    centres = sample[:: max(1, len(sample) // cells)][:cells]
    for _ in range(ROUNDS):
        nearest = _nearest(sample, centres, 1)[:, 0]
        found = np.unique(nearest)
        sums = np.add.reduceat(sample[np.argsort(nearest, kind="stable")].astype(np.float64),
                               np.searchsorted(np.sort(nearest), found))
        centres = centres.copy()
        centres[found] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return centres


def _nearest(rows: np.ndarray, centres: np.ndarray, few: int) -> np.ndarray:
    """(n, few) int32: the nearest centres of each row, the very nearest first."""
    found = np.empty((len(rows), few), np.int32)
    product = tiles.Product("float32")

    def ask(a: int) -> None:
        part = rows[a:a + PANEL]
        similar = np.concatenate([product(part, centres[c:c + TILE]).reshape(len(part), -1).copy()
                                  for c in range(0, len(centres), TILE)], axis=1)
        best = np.argpartition(-similar, few - 1, axis=1)[:, :few]
        rank = np.lexsort((best, -np.take_along_axis(similar, best, axis=1)), axis=1)
        found[a:a + PANEL] = np.take_along_axis(best, rank, axis=1)

    share_out(ask, range(0, len(rows), PANEL))
    return found
