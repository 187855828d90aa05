"""How right a clustering is, against the truth.

Words: N faces; labels and truth (N,) int. Pairwise counts pairs of faces, so large identities rule it; BCubed counts
faces (Amigo et al. 2009, "A comparison of extrinsic clustering evaluation metrics"), so each face weighs the same.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array


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
    table = _table(labels, truth)
    together, found, wanted = (float((faces * (faces - 1)).sum()) for faces in (
        table.data, table.sum(axis=1), table.sum(axis=0)))
    return Score(together / found if found else 1.0, together / wanted if wanted else 1.0)


def bcubed(labels: np.ndarray, truth: np.ndarray) -> Score:
    """Mean over faces of the share of its cluster that is the same person, and of its person that is in its cluster."""
    if not len(labels):
        return Score(1.0, 1.0)
    table = _table(labels, truth)
    squared, n = table.data ** 2, len(labels)
    return Score(float((squared / table.sum(axis=1)[table.row]).sum() / n),
                 float((squared / table.sum(axis=0)[table.col]).sum() / n))


def _table(labels: np.ndarray, truth: np.ndarray) -> coo_array:
    """(clusters, persons) float64 faces of each cluster that are each person."""
    places = tuple(np.unique(of_face, return_inverse=True)[1] for of_face in (labels, truth))
    table = coo_array((np.ones(len(labels)), places), shape=tuple(place.max(initial=0) + 1 for place in places))
    table.sum_duplicates()
    return table
