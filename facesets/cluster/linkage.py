"""Exact average linkage at a threshold, without an n × n matrix.

The labels are those of sklearn.cluster.AgglomerativeClustering(metric="cosine", linkage="average",
distance_threshold=t, n_clusters=None), but where two merges are equally near. Why that needs no matrix:

1. Sums. The mean similarity of two clusters is S_a · S_b / (n_a n_b): a vector and a number stand for a cluster. Less
   the product of their mean strictness, it is still a mean over pairs of faces.
2. Locality. A mean of numbers below s is below s, so clusters that merge at s or above lie in one connected component
   of the graph {similarity >= s}. That holds for clusters (by their means) as for single rows.
3. Levels. Because linkage is reducible (see `dense`), what it merges at s or above is first what it merges at any
   higher level, then the rest. So a component that is too large for a matrix is first merged at a level where its graph
   falls into small pieces, then, with fewer clusters, at a lower one, until `stop`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from . import dense
from .machines import FEW, Machines, fits
from .neighbours import components
from .tiles import float_slack

DENSE = 3000            # clusters in one matrix: 72 MB of float64
NEAR_COPIES = 1 - 1e-6  # no level separates rows that are closer than float32 can tell
UNIT = 1e-3             # how far from 1 the length of a unit row may be
NEIGHBOURS = 2.0        # that many neighbours on average: where a graph of faces begins to fall apart
SAMPLE = 256            # clusters whose similarities to all others show where a graph falls apart
SMALL = 64              # rows of a component that is done here, a millisecond's work, however many machines there are
BUNDLE = 4096           # rows that go to a machine at once, of several components or of a larger one


@dataclass
class Clusters:
    """m clusters: summed rows (m, d) and strictness (m,), number of faces (m,), all float64; faces per photo (m, P)."""

    sums: np.ndarray
    strict: np.ndarray
    count: np.ndarray
    photos: csr_array | None
    penalty: float          # of conflicts, see `dense`

    def __len__(self) -> int:
        return len(self.count)

    def part(self, which: np.ndarray) -> "Clusters":
        return Clusters(self.sums[which], self.strict[which], self.count[which],
                        None if self.photos is None else self.photos[which], self.penalty)

    def merged(self, labels: np.ndarray) -> tuple["Clusters", np.ndarray]:
        """One cluster for each distinct label, and the (m,) number of it for each of ours."""
        _, number = np.unique(labels, return_inverse=True)
        m = len(labels)
        fold = csr_array((np.ones(m), (number, np.arange(m))))
        return Clusters(fold @ self.sums, fold @ self.strict, fold @ self.count,
                        None if self.photos is None else csr_array(fold @ self.photos), self.penalty), number

    @property
    def means(self) -> np.ndarray:
        """(m, d) float32; their dot products are the clusters' similarities."""
        means = np.empty(self.sums.shape, np.float32)
        return np.divide(self.sums, self.count[:, None], out=means, casting="same_kind")

    def matrix(self) -> dense.Matrix:
        conflicts = None
        if self.photos is not None:
            conflicts = (self.photos @ self.photos.T).toarray()
            np.fill_diagonal(conflicts, 0)
        gram = self.sums @ self.sums.T
        if self.strict.any():
            gram -= np.outer(self.strict, self.strict)
        return dense.Matrix(gram, self.count, conflicts, self.penalty)


def average_linkage(rows: np.ndarray, threshold: float, *, photos: np.ndarray | None = None, penalty: float = 0.0,
                    strict: np.ndarray | None = None, most_dense: int = DENSE,
                    machines: Machines | None = None) -> np.ndarray:
    """Clusters of unit rows: (n,) int64 labels, numbered from 0 in the order of their first rows.

    rows (n, d) float32 unit rows; threshold: cos-dist at which merging stops (merges are below it, strictly).
    photos (n,) int: photo of each row; with a penalty, two faces of one photo count as strangers (see `dense`).
    strict (n,) >= 0: a pair of rows counts as less alike by the product of theirs.
    machines: share the work; the labels are the same. Raises ValueError for rows that are not unit rows.
    """
    lengths = _lengths(rows)
    labels = np.arange(len(rows))
    stop = 1.0 - threshold
    slack = 3 * float(np.abs(lengths - 1).max(initial=0)) + float_slack(rows.shape[1])
    groups = members_of((machines.components if machines else components)(rows, stop - slack), 2)
    here, bundles = _bundles(groups) if machines and len(rows) > FEW else (groups, [])

    def component(members: np.ndarray) -> Component:
        return Component(rows[members], photos[members] if photos is not None and penalty else None,
                         None if strict is None else strict[members], penalty, stop, most_dense)

    if machines and bundles:
        for (number,), merged in machines.each(
                _merged, [(number,) for number in range(len(bundles))],
                lambda number: [component(members) for members in bundles[number]],
                lambda job, merged: _are_labels(merged, bundles[job[0]])):
            for members, sets in zip(bundles[number], merged, strict=True):
                labels[members] = members[sets]
    for members in here:
        labels[members] = members[component(members).merged()]
    return numbered(labels)


@dataclass(frozen=True)
class Component:
    """Some of the rows, photos (with a penalty only) and strictness that `average_linkage` was given."""

    rows: np.ndarray
    photos: np.ndarray | None
    strict: np.ndarray | None
    penalty: float
    stop: float
    most_dense: int

    def merged(self) -> np.ndarray:
        """(m,) int64 the label, < m, of each row."""
        rows = np.divide(self.rows, _lengths(self.rows)[:, None])   # float64, without a copy on the way
        return _reduce(_singles(rows, self.photos, self.penalty, self.strict), self.stop, self.most_dense)


def _bundles(groups: list[np.ndarray]) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """The small groups; and the others in bundles, those of the largest first."""
    large = sorted((members for members in groups if len(members) > SMALL), key=len, reverse=True)
    bundle = np.cumsum([len(members) for members in large]) // BUNDLE
    return ([members for members in groups if len(members) <= SMALL],
            [[large[at] for at in which] for which in members_of(bundle)])


def _merged(components: list[Component]) -> list[np.ndarray]:
    return [component.merged() for component in components]


def _are_labels(merged: Any, bundle: list[np.ndarray]) -> bool:
    """Whether that can be the answer of `_merged` about them."""
    return isinstance(merged, list) and len(merged) == len(bundle) and all(
        fits(sets, np.int64, members.shape, 0, len(members) - 1)
        for sets, members in zip(merged, bundle, strict=True))


def _lengths(rows: np.ndarray) -> np.ndarray:
    """(n,) float64; refuses anything but finite rows of length 1."""
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64)) if rows.size else np.zeros(len(rows))
    if not (np.abs(lengths - 1) <= UNIT).all():     # false for nan as well
        raise ValueError("a row is not of length 1: average linkage takes unit rows")
    return lengths


def _singles(rows: np.ndarray, photos: np.ndarray | None, penalty: float, strict: np.ndarray | None) -> Clusters:
    """Each of the rows (m, d) as a cluster of its own."""
    ones = np.ones(len(rows))
    by_photo = None
    if photos is not None:
        shared, column, times = np.unique(photos, return_inverse=True, return_counts=True)
        if times.max() > 1:
            by_photo = csr_array((ones, (np.arange(len(rows)), column)), shape=(len(rows), len(shared)))
    return Clusters(rows, 0 * ones if strict is None else strict.astype(np.float64), ones, by_photo, penalty)


def _reduce(clusters: Clusters, stop: float, most: int) -> np.ndarray:
    """What average linkage merges above `stop`, with matrices of `most` clusters: (m,) the label, < m, of each set."""
    labels = np.arange(len(clusters))       # of the clusters we were given, among those that are left
    neighbours = NEIGHBOURS
    while len(clusters) > most:
        level, pieces, apart = _pieces(clusters, stop, neighbours, most)
        merged = np.arange(len(clusters))
        for members in members_of(pieces, 2):
            merged[members] = members[_reduce(clusters.part(members), level, most)]
        before = len(clusters)
        clusters, number = clusters.merged(merged)
        labels = number[labels]
        if apart and level == stop:
            return labels
        if len(clusters) == before:         # conflicts hold them apart, or copies lie far apart in order: look at more
            most *= 2
        if len(clusters) > 0.9 * before:
            neighbours = min(2 * neighbours, len(clusters))
    return dense.chain(clusters.matrix(), stop)[labels]


def _pieces(clusters: Clusters, stop: float, neighbours: float, most: int) -> tuple[float, np.ndarray, bool]:
    """A level, `stop` or higher, the piece of each cluster in the graph at it, and whether the graph falls apart.

    Where no level takes it apart, all are equally near, copies above all: then any few of them are a piece.
    """
    means = clusters.means
    slack = float_slack(means.shape[1])
    while True:
        level = max(stop, min(_level(means, neighbours) - slack, NEAR_COPIES))      # no nearer than float64 will see it
        pieces = components(means, level - slack)
        if pieces.any():        # some piece does not hold the first
            return level, pieces, True
        if level >= NEAR_COPIES or neighbours * SAMPLE < 1:
            near_first = np.argsort(means @ means[0], kind="stable")
            pieces[near_first] = np.arange(len(pieces)) // most
            return level, pieces, False
        neighbours /= 4


def _level(means: np.ndarray, neighbours: float) -> float:
    """The similarity that a cluster has, on average over a sample, to `neighbours` others."""
    sample = np.arange(0, len(means), -(-len(means) // SAMPLE))
    similar = means[sample] @ means.T
    similar[np.arange(len(sample)), sample] = -np.inf
    rank = min(max(1, round(neighbours * len(sample))), similar.size - len(sample))
    return float(np.partition(similar.ravel(), similar.size - rank)[similar.size - rank])


def members_of(labels: np.ndarray, least: int = 1) -> list[np.ndarray]:
    """Rows of each label that at least so many rows have, ascending, in the order of the labels (n,) >= 0."""
    order = np.argsort(labels, kind="stable")
    if least > 1:       # most labels are of one row
        order = order[np.bincount(labels)[labels[order]] >= least]
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []


def numbered(labels: np.ndarray) -> np.ndarray:
    """Labels as 0, 1, ... in the order of their first rows."""
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]
