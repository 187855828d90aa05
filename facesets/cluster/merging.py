"""From faces to identities: linkage that minds photos, then leftovers join whom they resemble."""

import numpy as np

from .known import centroid, match
from .linkage import average_linkage
from .rules import Rules


def identities(rows: np.ndarray, photos: np.ndarray, rules: Rules) -> np.ndarray:
    """(N,) int64 labels, numbered by first row. rows (N, D) float32 unit rows, photos (N,) int."""
    labels = average_linkage(rows, rules.cluster_distance, photos=photos, penalty=rules.photo_penalty)
    return join(rows, photos, labels, rules)


def join(rows: np.ndarray, photos: np.ndarray, labels: np.ndarray, rules: Rules) -> np.ndarray:
    """Give each cluster of at most `join_faces` faces to the nearest larger one, if it is near enough.

    Not where the larger one has a face of the same photo already: that is somebody else.
    """
    if not len(labels):
        return labels
    size = np.bincount(labels)
    large = np.flatnonzero(size > rules.join_faces)
    small = np.flatnonzero(size <= rules.join_faces)
    if not len(large) or not len(small):
        return labels
    members = _members(labels)
    reference = np.stack([centroid(rows[members[label]]) for label in large])
    wanderers = np.stack([centroid(rows[members[label]]) for label in small])
    found = match(wanderers, reference)
    taken = {int(label): set(photos[members[label]].tolist()) for label in large}
    joined = labels.copy()
    for which in np.argsort(found.distance, kind="stable"):
        if found.distance[which] > rules.join_distance:
            break
        faces, target = members[small[which]], int(large[found.nearest[which]])
        theirs = set(photos[faces].tolist())
        if not theirs & taken[target]:
            joined[faces] = target
            taken[target] |= theirs
    first = np.unique(joined, return_index=True, return_inverse=True)
    return np.unique(first[1][first[2]], return_inverse=True)[1]


def _members(labels: np.ndarray) -> list[np.ndarray]:
    """Rows of label 0, 1, ..., each ascending."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
