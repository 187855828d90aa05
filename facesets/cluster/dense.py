"""Average linkage of a few thousand clusters: the nearest-neighbour chain on a matrix of summed similarities.

Words: m clusters with summed rows S and face counts n. The similarity of two clusters is
S_a · S_b / (n_a n_b) - penalty * conflicts(a, b) / min(n_a, n_b), conflicts being their pairs of faces of one photo.
It is reducible: a merged cluster is never closer to a third than the closer of its halves was. So reciprocal nearest
neighbours may be merged in any order, and a cluster with nobody at `stop` or above is final.
The chain and its rule for ties (the previous element, else the lowest) are those of scipy.cluster.hierarchy.
"""

import numpy as np


class Matrix:
    """Sums of similarities between clusters, and of conflicts, rows of merged clusters added up in place."""

    def __init__(self, gram: np.ndarray, count: np.ndarray, conflicts: np.ndarray | None, penalty: float) -> None:
        self.gram, self.conflicts, self.penalty = gram, conflicts, penalty
        self.inverse = 1.0 / count
        self.count = count.astype(np.float64)
        self.out = np.zeros(len(count))        # -inf for clusters that are merged away or final

    def similarities(self, x: int) -> np.ndarray:
        """(m,) of cluster x to every cluster that is still in play, -inf to itself."""
        row = self.inverse * self.inverse[x]    # first, so that x to y and y to x round alike
        row *= self.gram[x]
        if self.conflicts is not None:
            row -= self.penalty * self.conflicts[x] / np.minimum(self.count, self.count[x])
        row += self.out
        row[x] = -np.inf
        return row

    def merge(self, x: int, y: int) -> None:
        """Make y the union of both; x is out."""
        for sums in (self.gram, self.conflicts):
            if sums is not None:
                sums[y] += sums[x]
                sums[:, y] = sums[y]
        self.inverse[y] = 1.0 / (1.0 / self.inverse[x] + 1.0 / self.inverse[y])
        self.count[y] += self.count[x]
        self.out[x] = -np.inf


def chain(matrix: Matrix, stop: float) -> np.ndarray:
    """Merge every pair of clusters that average linkage merges above `stop`; the matrix is used up.

    Returns (m,) int64: the highest cluster of each one's set.
    """
    parent = np.arange(len(matrix.out))
    path: list[int] = []
    start = 0
    while True:
        if not path:
            while start < len(parent) and matrix.out[start] < 0:
                start += 1
            if start == len(parent):
                break
            path = [start]
        x = path[-1]
        row = matrix.similarities(x)
        y = int(row.argmax())
        if len(path) > 1 and row[path[-2]] == row[y]:
            y = path[-2]
        if row[y] <= stop:
            matrix.out[x] = -np.inf         # final: nobody can come nearer
            path.pop()
        elif len(path) > 1 and y == path[-2]:
            low, high = min(x, y), max(x, y)
            matrix.merge(low, high)
            parent[low] = high
            del path[-2:]
        else:
            path.append(y)
    while not np.array_equal(up := parent[parent], parent):
        parent = up
    return parent
