"""The usual ways to cluster faces, which benchmarks/identities.py compares ours with. Arrays in, labels out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn.cluster import DBSCAN, HDBSCAN

DISTANCES = [round(0.40 + 0.025 * step, 3) for step in range(18)]
Labels = dict[object, np.ndarray]


@dataclass
class Faces:
    """N faces with the truth: people (N,), -1 unnamed; families (N,) is like people, siblings counting as one."""

    rows: np.ndarray
    people: np.ndarray
    photos: np.ndarray
    quality: np.ndarray
    families: np.ndarray

    def part(self, which: np.ndarray) -> "Faces":
        return Faces(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def by_tree(method: str) -> Callable[[Faces], Labels]:
    def labels(faces: Faces) -> Labels:
        tree = hierarchy.linkage(squareform(apart(faces), checks=False), method)
        return {distance: hierarchy.fcluster(tree, distance, "distance") for distance in [*DISTANCES, 0.9, 0.95, 1.0]}
    return labels


def immich(faces: Faces) -> Labels:
    return {0.5: alone(DBSCAN(eps=0.5, min_samples=3, metric="precomputed").fit_predict(apart(faces)))}


def dbscan(faces: Faces) -> Labels:
    return {(distance, least): alone(DBSCAN(eps=distance, min_samples=least, metric="precomputed")
                                     .fit_predict(apart(faces))) for distance in DISTANCES for least in (2, 3)}


def hdbscan(faces: Faces) -> Labels:
    return {(size, least): alone(HDBSCAN(min_cluster_size=size, min_samples=least, metric="precomputed", copy=True)
                                 .fit_predict(apart(faces))) for size in (2, 3, 5) for least in (1, 2)}


def chinese_whispers(faces: Faces) -> Labels:
    return {distance: whisper(faces.rows @ faces.rows.T, 1 - distance) for distance in DISTANCES}


def whisper(similar: np.ndarray, least: float, rounds: int = 20) -> np.ndarray:
    """Each face takes the label that weighs most among its neighbours, in random order, until none changes."""
    rng, labels = np.random.default_rng(0), np.arange(len(similar))
    np.fill_diagonal(similar, -1)
    near = [np.flatnonzero(row >= least) for row in similar]
    for _ in range(rounds):
        before = labels.copy()
        for face in rng.permutation(len(similar)):
            if len(near[face]):
                names, number = np.unique(labels[near[face]], return_inverse=True)
                labels[face] = names[np.bincount(number, similar[face, near[face]]).argmax()]
        if np.array_equal(before, labels):
            break
    return labels


def apart(faces: Faces) -> np.ndarray:
    distance = np.clip(1 - faces.rows.astype(np.float64) @ faces.rows.T.astype(np.float64), 0, 2)
    np.fill_diagonal(distance, 0)
    return (distance + distance.T) / 2


def alone(labels: np.ndarray) -> np.ndarray:
    """Noise, -1, as clusters of one."""
    return np.where(labels < 0, labels.max(initial=0) + 1 + np.arange(len(labels)), labels)


USUAL = {"average linkage": by_tree("average"), "complete linkage": by_tree("complete"), "DBSCAN as Immich": immich,
         "DBSCAN": dbscan, "HDBSCAN": hdbscan, "Chinese whispers": chinese_whispers}
