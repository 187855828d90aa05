"""From faces to identities: linkage that minds photos, then whole identities by their centroids, then leftovers.

What each step is worth is measured by benchmarks/identities.py.
"""

import numpy as np

from .known import centroid, match
from .linkage import average_linkage
from .rules import Rules


def identities(rows: np.ndarray, photos: np.ndarray, rules: Rules) -> np.ndarray:
    """(N,) int64 labels, numbered by first row. rows (N, D) float32 unit rows, photos (N,) int."""
    labels = average_linkage(rows, rules.cluster_distance, photos=photos, penalty=rules.photo_penalty)
    return join(rows, photos, merge(rows, photos, labels, rules), rules)


def merge(rows: np.ndarray, photos: np.ndarray, labels: np.ndarray, rules: Rules) -> np.ndarray:
    """Unite identities whose centroids are near: one person at two ages, whose single faces are far apart.

    Only those that are each other's nearest, and not where they share too many photos.
    """
    while True:
        large = np.flatnonzero(np.bincount(labels) > rules.join_faces) if len(labels) else labels
        if len(large) < 2:
            return labels
        members = _members(labels)
        centroids = np.stack([centroid(rows[members[label]]) for label in large])
        found = match(centroids, centroids)
        itself = found.nearest == np.arange(len(large))     # unless a copy of it comes first
        other = np.where(itself, found.second, found.nearest)
        distance = np.where(itself, found.runner_up, found.distance)
        renamed = np.arange(len(members))
        for one in np.flatnonzero((distance <= rules.merge_distance) & (other[other] == np.arange(len(large)))):
            first, second = sorted((int(large[one]), int(large[other[one]])))
            if not _strangers(photos[members[first]], photos[members[second]], rules.photo_veto):
                renamed[second] = first
        if np.array_equal(renamed, np.arange(len(members))):
            return labels
        labels = _numbered(renamed[labels])


def join(rows: np.ndarray, photos: np.ndarray, labels: np.ndarray, rules: Rules) -> np.ndarray:
    """Give each cluster of at most `join_faces` faces to the identity it clearly resembles most.

    Not where that has a face of the same photo already: that is somebody else.
    """
    size = np.bincount(labels) if len(labels) else np.zeros(0, np.int64)
    large, small = np.flatnonzero(size > rules.join_faces), np.flatnonzero(size <= rules.join_faces)
    if not len(large) or not len(small):
        return labels
    members = _members(labels)
    found = match(np.stack([centroid(rows[members[label]]) for label in small]),
                  np.stack([centroid(rows[members[label]]) for label in large]))
    taken = {int(label): set(photos[members[label]].tolist()) for label in large}
    renamed = np.arange(len(members))
    clear = np.flatnonzero(found.certain(rules.join_distance, rules.join_margin))
    for which in clear[np.argsort(found.distance[clear], kind="stable")]:
        target, theirs = int(large[found.nearest[which]]), set(photos[members[small[which]]].tolist())
        if not theirs & taken[target]:
            renamed[small[which]] = target
            taken[target] |= theirs
    return _numbered(renamed[labels])


def _strangers(one: np.ndarray, other: np.ndarray, veto: float) -> bool:
    """Whether two identities are seen side by side too often to be one person in a mirror or a collage."""
    return len(np.intersect1d(one, other)) > veto * min(len(one), len(other))


def _members(labels: np.ndarray) -> list[np.ndarray]:
    """Rows of label 0, 1, ..., each ascending."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _numbered(labels: np.ndarray) -> np.ndarray:
    """Labels as 0, 1, ... in the order of their first rows."""
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    return np.unique(first[number], return_inverse=True)[1]
