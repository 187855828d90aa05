"""Embeddings as unit rows: their centroid, whom they are nearer to, who is nearest, and which show one moment.

Clustering counts the moments of a group, the export shows each once.
"""

import numpy as np

BLOCK = 256     # rows compared at once: with 20,000 others that is 20 MB
NONE = -2.0     # likeness to a face that shows no moment of its own, below any cosine


def unit_mean(rows: np.ndarray) -> np.ndarray:
    """rows (n, D) unit, n > 0 -> (D,) float32 unit: the centroid. Opposite rows, which no person has, give row 0."""
    mean = rows.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    return (mean / length if length > 1e-9 else rows[0]).astype(np.float32)


def nearer(rows: np.ndarray, these: np.ndarray, others: np.ndarray, apart: float = 0.0) -> np.ndarray:
    """(n,) bool: which rows (n, D) are nearer to the centroid of `these` than to that of `others`; none without both.

    All unit. None either where the two centroids are not `apart` (cos-dist).
    """
    if not (len(rows) and len(these) and len(others)):
        return np.zeros(len(rows), bool)
    here, there = unit_mean(these), unit_mean(others)
    return np.asarray(rows @ here > rows @ there) & bool(1 - here @ there >= apart)


def nearest(rows: np.ndarray, which: np.ndarray, among: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of the first `among` rows to each of the rows `which` (n,): index and cos-dist, both (n, k), where
    k is `count` if there are so many; inf for a row itself, which comes last.

    rows (Q, D) unit
    """
    k = min(count, among)
    index, distance = np.zeros((len(which), k), np.int64), np.zeros((len(which), k), np.float32)
    for start in range(0, len(which) if k else 0, BLOCK):
        part = which[start:start + BLOCK]
        apart = 1 - rows[part] @ rows[:among].T                         # (B, among)
        own = np.flatnonzero(part < among)
        apart[own, part[own]] = np.inf
        near = np.argpartition(apart, k - 1, axis=1)[:, :k]
        order = np.lexsort((near, np.take_along_axis(apart, near, axis=1)), axis=1)
        index[start:start + BLOCK] = near = np.take_along_axis(near, order, axis=1)
        distance[start:start + BLOCK] = np.take_along_axis(apart, near, axis=1)
    return index, distance


def again(rows: np.ndarray, similarity: float) -> dict[int, tuple[int, float]]:
    """Those of faces, best first, that nearly equal an earlier one: index -> index of the one most like it, cosine.

    rows (n, D) unit; an earlier one is one that shows a moment of its own. Empty input gives nothing.
    """
    found: dict[int, tuple[int, float]] = {}
    for start in range(0, len(rows), BLOCK):
        likeness = rows[start:start + BLOCK] @ rows[:start + BLOCK].T       # (b, start + b)
        likeness[:, list(found)] = NONE
        for index, row in enumerate(likeness, start):
            if index and (best := row[:index].max()) >= similarity:
                found[index] = int(row[:index].argmax()), float(best)
                likeness[:, index] = NONE
    return found
