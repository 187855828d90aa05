"""From faces to identities: linkage that minds photos, then whole identities by their centroids, then leftovers.

What each step is worth is measured by benchmarks/identities.py.
"""

import numpy as np

from ..formats.cache import unit_mean
from .known import BLOCK, Match, match
from .linkage import average_linkage, members_of, numbered
from .rules import Rules

BEST_FACES = 4      # faces of an identity that a leftover is compared with: those most like it, of whatever age
CANDIDATES = 5      # identities whose faces are looked at: the nearest by centroid


def identities(rows: np.ndarray, photos: np.ndarray, rules: Rules) -> np.ndarray:
    """(N,) int64 labels, numbered by first row. rows (N, D) float32 unit rows, photos (N,) int."""
    labels = average_linkage(rows, rules.cluster_distance, photos=photos, penalty=rules.photo_penalty,
                             approximate_from=rules.approximate_from)
    return join(rows, photos, merge(rows, photos, labels, rules), rules)


def merge(rows: np.ndarray, photos: np.ndarray, labels: np.ndarray, rules: Rules) -> np.ndarray:
    """Unite identities whose centroids are near: one person at two ages, whose single faces are far apart.

    Only those that are each other's nearest, and not where they share too many photos.
    """
    while True:
        large = np.flatnonzero(np.bincount(labels) > rules.join_faces) if len(labels) else labels
        if len(large) < 2:
            return labels
        members = members_of(labels)
        centroids = np.stack([unit_mean(rows[members[label]]) for label in large])
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
        labels = numbered(renamed[labels])


def join(rows: np.ndarray, photos: np.ndarray, labels: np.ndarray, rules: Rules) -> np.ndarray:
    """Give each cluster of at most `join_faces` faces to the identity it clearly resembles most.

    Not where that has a face of the same photo already: that is somebody else.
    """
    size = np.bincount(labels) if len(labels) else np.zeros(0, np.int64)
    large, small = np.flatnonzero(size > rules.join_faces), np.flatnonzero(size <= rules.join_faces)
    if not len(large) or not len(small):
        return labels
    members = members_of(labels)
    found = _best(np.stack([unit_mean(rows[members[label]]) for label in small]), rows,
                  [members[label] for label in large])
    taken = {int(label): set(photos[members[label]].tolist()) for label in large}
    renamed = np.arange(len(members))
    clear = np.flatnonzero(found.certain(rules.join_distance, rules.join_margin))
    for which in clear[np.argsort(found.distance[clear], kind="stable")]:
        target, theirs = int(large[found.nearest[which]]), set(photos[members[small[which]]].tolist())
        if not theirs & taken[target]:
            renamed[small[which]] = target
            taken[target] |= theirs
    return numbered(renamed[labels])


def _best(leftovers: np.ndarray, rows: np.ndarray, identities: list[np.ndarray]) -> Match:
    """The two identities whose best faces are most like each leftover (L, D); `identities` are rows of each."""
    centroids = np.stack([unit_mean(rows[faces]) for faces in identities])
    few = min(CANDIDATES, len(identities))
    nearest = np.concatenate([np.argpartition(-(leftovers[part] @ centroids.T), few - 1, axis=1)[:, :few]
                              for part in _parts(len(leftovers), len(identities))])     # (L, few)
    similar = np.empty(nearest.shape, np.float32)
    order = np.argsort(nearest.ravel(), kind="stable")
    for asked in np.split(order, np.flatnonzero(np.diff(nearest.ravel()[order])) + 1):
        faces = rows[identities[nearest.ravel()[asked[0]]]]
        best = min(BEST_FACES, len(faces))
        for part in _parts(len(asked), len(faces)):
            product = leftovers[asked[part] // few] @ faces.T
            similar.ravel()[asked[part]] = np.partition(product, -best, axis=1)[:, -best:].mean(axis=1)
    rank = np.lexsort((nearest, -similar), axis=1)
    first, second = rank[:, 0], rank[:, min(1, few - 1)]
    at = np.arange(len(leftovers))
    runner_up = 1 - similar[at, second] if few > 1 else np.full(len(leftovers), np.inf, np.float32)
    return Match(nearest[at, first], 1 - similar[at, first], nearest[at, second], runner_up)


def _parts(n: int, width: int) -> list[slice]:
    """Slices of range(n) whose products with `width` columns fit into memory."""
    step = max(1, BLOCK // max(1, width))
    return [slice(start, start + step) for start in range(0, n, step)]


def _strangers(one: np.ndarray, other: np.ndarray, veto: float) -> bool:
    """Whether two identities are seen side by side too often to be one person in a mirror or a collage."""
    return len(np.intersect1d(one, other)) > veto * min(len(one), len(other))
