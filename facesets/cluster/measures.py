"""How right a clustering is, against the truth.

Words: N faces; labels and truth (N,) int. Pairwise counts pairs of faces, so large identities rule it; BCubed counts
faces (Amigo et al. 2009, "A comparison of extrinsic clustering evaluation metrics"), so each face weighs the same.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    precision: float
    recall: float

    @property
    def f(self) -> float:
        """Harmonic mean; 0 where both are."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def pairwise(labels: np.ndarray, truth: np.ndarray) -> Score:
    """Of all pairs in one cluster, how many are one person; of all pairs of one person, how many share a cluster.

    No pair to judge counts as 1: nothing was got wrong.
    """
    together, found, wanted = (_pairs(counts) for counts in _table(labels, truth))
    return Score(_share(together, found), _share(together, wanted))


def bcubed(labels: np.ndarray, truth: np.ndarray) -> Score:
    """Mean over faces of the share of its cluster that is the same person, and of its person that is in its cluster."""
    if not len(labels):
        return Score(1.0, 1.0)
    cells, clusters, persons, of_cluster, of_person = _cells(labels, truth)
    squared = cells.astype(np.float64) ** 2
    n = len(labels)
    return Score(float((squared / clusters[of_cluster]).sum() / n), float((squared / persons[of_person]).sum() / n))


@dataclass(frozen=True)
class Served:
    """What an operator gets: facesets, each of which stands for the person most of its faces show."""

    right: float    # share of the faces that should be in a faceset and are in one of their own person
    pure: float     # share of the facesets that hold one person only
    facesets: int
    people: int     # different persons that have a faceset
    expected: int   # persons with enough faces for one


def served(labels: np.ndarray, truth: np.ndarray, least: int) -> Served:
    """labels (N,): the faceset of each face, -1 for none; truth (N,); `least` faces make a person worth a faceset."""
    _, number, faces = np.unique(truth, return_inverse=True, return_counts=True)
    wanted = faces[number] >= least
    inside = labels >= 0
    if not inside.any():
        return Served(0.0, 1.0, 0, 0, int((faces >= least).sum()))
    cells, clusters, _, of_cluster, of_person = _cells(labels[inside], number[inside])
    order = np.lexsort((-cells, of_cluster))
    first = order[np.unique(of_cluster[order], return_index=True)[1]]      # the largest cell of each faceset
    stands_for = np.unique(number[inside])[of_person[first]]
    own = stands_for[np.unique(labels[inside], return_inverse=True)[1]] == number[inside]
    return Served(_share(float((own & wanted[inside]).sum()), float(wanted.sum())),
                  float((cells[first] == clusters[of_cluster[first]]).mean()), len(first),
                  len(np.unique(stands_for)), int((faces >= least).sum()))


def _cells(labels: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, ...]:
    """Faces of each (cluster, person) that occurs, of each cluster, of each person, and the two of each cell."""
    _, cluster, clusters = np.unique(labels, return_inverse=True, return_counts=True)
    _, person, persons = np.unique(truth, return_inverse=True, return_counts=True)
    cell, cells = np.unique(cluster.astype(np.int64) * len(persons) + person, return_counts=True)
    return (cells, clusters, persons, *np.divmod(cell, len(persons)))


def _table(labels: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cells, clusters, persons, _, _ = _cells(labels, truth) if len(labels) else (np.zeros(0, np.int64),) * 5
    return cells, clusters, persons


def _pairs(counts: np.ndarray) -> float:
    return float((counts.astype(np.float64) * (counts - 1) / 2).sum())


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0
