"""Exact average linkage at a threshold, without an n × n matrix.

The labels are those of sklearn.cluster.AgglomerativeClustering(metric="cosine", linkage="average",
distance_threshold=t, n_clusters=None). Why that needs no matrix:

1. Sums. The mean similarity of two clusters is S_a · S_b / (n_a n_b): a vector and a number stand for a cluster. Less
   the product of their mean strictness, it is still a mean over pairs of faces.
2. Locality. A mean of numbers below s is below s, so clusters that merge at s or above lie in one connected component
   of the graph {similarity >= s}. That holds for clusters (by their means) as for single rows.
3. Levels. Because linkage is reducible (see `dense`), what it merges at s or above is first what it merges at any
   higher level, then the rest. So a component that is too large for a matrix is first merged at a level where its graph
   falls into small pieces, then, with fewer clusters, at a lower one, until `stop`.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.cluster import hierarchy
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist

from . import cells, dense
from .neighbours import components
from .tiles import float_slack

DENSE = 3000            # clusters in one matrix: 72 MB of float64
SCIPY = 4096            # rows up to which an ambiguous input is given to scipy whole: 67 MB of distances, twice
NEAR_COPIES = 1 - 1e-6  # no level separates rows that are closer than float32 can tell
UNIT = 1e-3             # how far from 1 the length of a unit row may be
NEIGHBOURS = 2.0        # that many neighbours on average: where a graph of faces begins to fall apart
SAMPLE = 256            # clusters whose similarities to all others show where a graph falls apart


@dataclass
class Clusters:
    """m clusters: summed rows (m, d) and strictness (m,), number of faces (m,), all float64; faces per photo (m, P)."""

    sums: np.ndarray
    strict: np.ndarray
    count: np.ndarray
    photos: csr_array | None = None

    def __len__(self) -> int:
        return len(self.count)

    def part(self, which: np.ndarray) -> "Clusters":
        return Clusters(self.sums[which], self.strict[which], self.count[which],
                        None if self.photos is None else self.photos[which])

    def merged(self, labels: np.ndarray) -> tuple["Clusters", np.ndarray]:
        """One cluster for each distinct label, and the (m,) number of it for each of ours."""
        _, number = np.unique(labels, return_inverse=True)
        m = len(labels)
        fold = csr_array((np.ones(m), (number, np.arange(m))))
        return Clusters(fold @ self.sums, fold @ self.strict, fold @ self.count,
                        None if self.photos is None else csr_array(fold @ self.photos)), number

    @property
    def means(self) -> np.ndarray:
        """(m, d) float32; their dot products are the clusters' similarities."""
        means = np.empty(self.sums.shape, np.float32)
        return np.divide(self.sums, self.count[:, None], out=means, casting="same_kind")


@dataclass(frozen=True)
class Linkage:
    """How to merge: above the similarity `stop`, less `penalty` * conflicts / min(n_a, n_b)."""

    stop: float
    penalty: float = 0.0
    dense: int = DENSE
    kind: str = "auto"      # see tiles.tiles


def average_linkage(rows: np.ndarray, threshold: float, *, photos: np.ndarray | None = None, penalty: float = 0.0,
                    strict: np.ndarray | None = None, approximate_from: int | None = None, most_dense: int = DENSE,
                    kind: str = "auto") -> np.ndarray:
    """Clusters of unit rows: (n,) int64 labels, numbered from 0 in the order of their first rows.

    rows (n, d) float32 unit rows; threshold: cos-dist at which merging stops (merges are below it, strictly).
    photos (n,) int: photo of each row; with a penalty, two faces of one photo count as strangers (see `dense`).
    strict (n,) >= 0: a pair of rows counts as less alike by the product of theirs. Without it and without penalty,
    exactly sklearn's labels, below `approximate_from` rows; from there on the first search may miss links (see
    `cells`), and the second, of the clusters that came of it, does not.
    Raises ValueError for rows that are not unit rows.
    """
    n = len(rows)
    lengths = _lengths(rows)
    if n < 2:
        return np.zeros(n, np.int64)
    how = Linkage(1.0 - threshold, penalty if photos is not None else 0.0, most_dense, kind)
    slack = 3 * float(np.abs(lengths - 1).max()) + float_slack(rows.shape[1])
    approximate = approximate_from is not None and n >= approximate_from
    labels = np.arange(n)
    tied = threshold < dense.COPY

    def link(found: np.ndarray) -> None:
        """Merge what lies in one component."""
        nonlocal tied
        for members in _groups(found):
            number = np.unique(labels[members], return_inverse=True)[1]
            if number.any():        # more than one cluster
                result = _reduce(_united(rows, lengths, members, number, photos if how.penalty else None, strict), how,
                                 how.stop)
                labels[members] = members[_first_of(result.labels[number])]
                tied |= result.tied

    link((cells.components if approximate else components)(rows, how.stop - slack, kind))
    if approximate:
        number = np.unique(labels, return_inverse=True)[1]
        link(components(_means(rows, number), how.stop - 2 * slack, kind)[number])
    elif tied and how.penalty == 0 and strict is None and n <= SCIPY:
        return numbered(_as_scipy(rows, threshold))
    return numbered(labels)


def _lengths(rows: np.ndarray) -> np.ndarray:
    """(n,) float64; refuses anything but finite rows of length 1."""
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64)) if rows.size else np.zeros(len(rows))
    if not (np.abs(lengths - 1) <= UNIT).all():     # false for nan as well
        raise ValueError("a row is not of length 1: average linkage takes unit rows")
    return lengths


def _united(rows: np.ndarray, lengths: np.ndarray, members: np.ndarray, number: np.ndarray, photos: np.ndarray | None,
            strict: np.ndarray | None) -> Clusters:
    """The rows `members` as clusters; `number` (m,) says which is whose."""
    sums = np.divide(rows[members], lengths[members, None])     # float64, without a copy on the way
    ones = np.ones(len(members))
    by_photo = None
    if photos is not None:
        shared, column, times = np.unique(photos[members], return_inverse=True, return_counts=True)
        if times.max() > 1:
            by_photo = csr_array((ones, (np.arange(len(members)), column)), shape=(len(members), len(shared)))
    singles = Clusters(sums, 0 * ones if strict is None else strict[members].astype(np.float64), ones, by_photo)
    return singles if number.max() == len(members) - 1 else singles.merged(number)[0]


def _means(rows: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(m, d) float32 mean of the rows of cluster 0, 1, ..."""
    fold = csr_array((np.ones(len(rows), np.float32), (number, np.arange(len(rows)))))
    return np.asarray((fold @ rows) / np.bincount(number).astype(np.float32)[:, None])


def _reduce(clusters: Clusters, how: Linkage, stop: float) -> dense.Chained:
    """What average linkage merges above `stop`: for each of `clusters` the label of its set."""
    labels = np.arange(len(clusters))       # of the clusters we were given, among those that are left
    neighbours, tied = NEIGHBOURS, False
    while len(clusters) > how.dense:
        level, pieces, apart = _pieces(clusters, how, stop, neighbours)
        merged = np.arange(len(clusters))
        for members in _groups(pieces):
            result = _reduce(clusters.part(members), how, level)
            merged[members] = members[_first_of(result.labels)]
            tied |= result.tied
        before = len(clusters)
        clusters, number = clusters.merged(merged)
        labels = number[labels]
        if apart and level == stop:
            return dense.Chained(labels, tied)
        if len(clusters) == before:         # conflicts hold them apart, or copies lie far apart in order: look at more
            how = replace(how, dense=2 * how.dense)
        if len(clusters) > 0.9 * before:
            neighbours = min(2 * neighbours, len(clusters))
        tied |= not apart
    result = dense.chain(_matrix(clusters, how), stop, how.stop)
    return dense.Chained(result.labels[labels], tied or result.tied)


def _pieces(clusters: Clusters, how: Linkage, stop: float, neighbours: float) -> tuple[float, np.ndarray, bool]:
    """A level, `stop` or higher, the piece of each cluster in the graph at it, and whether the graph falls apart.

    Where no level takes it apart, all are equally near, copies above all: then any few of them are a piece.
    """
    means = clusters.means
    slack = float_slack(means.shape[1])
    while True:
        level = max(stop, min(_level(means, neighbours) - slack, NEAR_COPIES))      # no nearer than float64 will see it
        pieces = components(means, level - slack, how.kind)
        if pieces.any():        # some piece does not hold the first
            return level, pieces, True
        if level >= NEAR_COPIES or neighbours * SAMPLE < 1:
            near_first = np.argsort(means @ means[0], kind="stable")
            pieces[near_first] = np.arange(len(pieces)) // how.dense
            return level, pieces, False
        neighbours /= 4


def _level(means: np.ndarray, neighbours: float) -> float:
    """The similarity that a cluster has, on average over a sample, to `neighbours` others."""
    sample = np.arange(0, len(means), -(-len(means) // SAMPLE))
    similar = means[sample] @ means.T
    similar[np.arange(len(sample)), sample] = -np.inf
    rank = min(max(1, round(neighbours * len(sample))), similar.size - len(sample))
    return float(np.partition(similar.ravel(), similar.size - rank)[similar.size - rank])


def _matrix(clusters: Clusters, how: Linkage) -> dense.Matrix:
    conflicts = None
    if clusters.photos is not None:
        conflicts = (clusters.photos @ clusters.photos.T).toarray()
        np.fill_diagonal(conflicts, 0)
    gram = clusters.sums @ clusters.sums.T
    if clusters.strict.any():
        gram -= np.outer(clusters.strict, clusters.strict)
    return dense.Matrix(gram, clusters.count, conflicts, how.penalty)


def members_of(labels: np.ndarray) -> list[np.ndarray]:
    """Rows of each label, ascending, in the order of the labels."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _groups(labels: np.ndarray) -> list[np.ndarray]:
    """Rows of each label that more than one row has."""
    return [group for group in members_of(labels) if len(group) > 1]


def _first_of(labels: np.ndarray) -> np.ndarray:
    """For each element the first index that has its label."""
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    return first[number]


def numbered(labels: np.ndarray) -> np.ndarray:
    """Labels as 0, 1, ... in the order of their first rows."""
    first = _first_of(labels)
    return np.unique(first, return_inverse=True)[1]


def _as_scipy(rows: np.ndarray, threshold: float) -> np.ndarray:
    """The choice that scipy, and so sklearn, makes where two merges are equally near or rounding decides."""
    tree = hierarchy.linkage(pdist(rows.astype(np.float64), "cosine"), method="average")
    labels = np.arange(len(rows) + len(tree))
    for step, (a, b, distance, _) in enumerate(tree):
        if distance < threshold:
            labels[labels == labels[int(a)]] = len(rows) + step
            labels[labels == labels[int(b)]] = len(rows) + step
            labels[len(rows) + step] = len(rows) + step
    return labels[:len(rows)]
