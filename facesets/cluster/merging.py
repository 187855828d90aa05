"""From faces to identities: linkage that minds photos, then whole identities by their centroids, twins, leftovers.

Words: N faces; `clarity` (N,) and `clear` (N,) are those of `rules`. What each step is worth is measured by
benchmarks/identities.py.
"""

from collections.abc import Callable

import numpy as np

from ..formats.vectors import again, unit_mean
from .known import Match, match
from .linkage import average_linkage, members_of, numbered
from .machines import Machines
from .rules import Rules

Find = Callable[..., Match]     # known.match, or the same on many machines
SITTING = 0.88  # cosine from which on two faces are of one sitting: copies of a collage, a mirror, show it once
PAIRS = 500     # of faces of one photo, enough to tell the direction in which two people differ


def identities(rows: np.ndarray, photos: np.ndarray, clarity: np.ndarray, rules: Rules,
               machines: Machines | None = None, years: np.ndarray | None = None) -> np.ndarray:
    """(N,) int64 labels, numbered by first row.

    rows (N, D) float32 unit rows, photos (N,) int, clarity (N,), years (N,) int, 0 unknown.
    """
    clear, moments = rules.clear(clarity), apart(rows, photos, rules)
    founders = clarity >= rules.founding_clarity
    labels = np.arange(len(rows), 2 * len(rows))        # dim faces are alone, until they join
    labels[founders] = average_linkage(
        rows[founders], rules.cluster_distance, photos=moments[founders], penalty=rules.photo_penalty,
        strict=rules.strictness * clear[founders], machines=machines)
    find = machines.match if machines else match
    labels = merge(rows, moments, numbered(labels), rules, find)
    for year in np.unique(years[years > 0]) if years is not None else ():
        labels = merge(rows, moments, labels, rules, find, years - year)
    return part_twins(rows, photos, join(rows, clear, labels, rules, find), rules)


def apart(rows: np.ndarray, photos: np.ndarray, rules: Rules) -> np.ndarray:
    """(N,) int64: `photos`, but a face's second image in one, a mirror or a collage, is as if in a photo of its own.

    All others in one photo are two people.
    """
    moments = np.unique(photos, return_inverse=True)[1]
    following = moments.max(initial=0) + 1
    for faces in members_of(moments, 2):
        again = (np.tril(rows[faces] @ rows[faces].T, -1) >= 1 - rules.known_distance).any(axis=1)
        moments[faces[again]] = following + np.arange(again.sum())
        following += again.sum()
    return moments


def merge(rows: np.ndarray, photos: np.ndarray, labels: np.ndarray, rules: Rules, find: Find = match,
          since: np.ndarray | None = None) -> np.ndarray:
    """Unite identities whose centroids are near: one person at two ages, whose single faces are far apart.

    Only those that are each other's nearest, of those that do not share too many photos. `since` (N,): years from one
    to each face; who has faces of that year or the next is compared by the years around it: as a whole two times of a
    child are far apart, their faces of the years where they meet are not.
    """
    since = np.zeros(len(rows), np.int64) if since is None else since
    judged, meet = np.abs(since) <= rules.overlap_years, np.isin(since, (0, 1))
    while True:
        compared = (np.bincount(labels, judged) > rules.join_faces) & (np.bincount(labels, meet) > 0)
        large = np.flatnonzero(compared)
        if len(large) < 2:
            return labels
        theirs = np.flatnonzero(compared[labels])      # most identities of a library are one face
        members = [theirs[faces] for faces in members_of(labels[theirs])]
        pairs = _pairs([rows[faces[judged[faces]]] for faces in members], [photos[faces] for faces in members], rules,
                       find)
        if not len(pairs):
            return labels
        renamed = np.arange(len(compared))
        renamed[large[pairs[:, 1]]] = large[pairs[:, 0]]
        labels = numbered(renamed[labels])


def _pairs(rows: list[np.ndarray], photos: list[np.ndarray], rules: Rules, find: Find) -> np.ndarray:
    """(p, 2) of the identities with these rows and photos: each other's nearest, the lower one first."""
    centroids = np.stack([unit_mean(faces) for faces in rows])
    everyone = np.arange(len(rows))
    strangers = {one: [one] for one in range(len(rows))}
    while True:
        found = find(centroids, centroids, strangers)
        other = found.nearest
        near = (found.distance <= rules.merge_distance) & (other[other] == everyone) & (everyone < other)
        pairs = np.stack([everyone, other], axis=1)[near]
        vetoed = [(one, two) for one, two in pairs.tolist() if _strangers(photos[one], photos[two], rules)]
        if not vetoed:
            return pairs
        for one, two in vetoed:
            strangers[one].append(two)
            strangers[two].append(one)


def part_twins(rows: np.ndarray, photos: np.ndarray, labels: np.ndarray, rules: Rules) -> np.ndarray:
    """Two people of each identity that shows two in photo after photo, always the same two."""
    labels = labels.copy()
    for members in members_of(labels, 2 * rules.twin_photos):
        other = twin(rows[members], photos[members], rules)
        if other.any():
            labels[members[other]] = labels.max() + 1
    return numbered(labels)


def twin(rows: np.ndarray, photos: np.ndarray, rules: Rules) -> np.ndarray:
    """(m,) bool: faces of one identity that are a second person's; none where its pairs are mirrors and collages.

    Siblings differ alike in every photo, while a face and its mirror image differ by chance: so of the pairs, sorted by
    the direction in which they differ, two of one side are more alike than two of both, if they are two people.
    """
    order = np.argsort(photos, kind="stable")
    ends = np.flatnonzero(np.diff(photos[order])) + 1
    pairs = np.array([faces for faces in np.split(order, ends) if len(faces) == 2][:PAIRS], np.int64).reshape(-1, 2)
    pairs = np.delete(pairs, [face // 2 for face in again(rows[pairs.ravel()], SITTING)], axis=0)
    if len(pairs) < rules.twin_photos:
        return np.zeros(len(rows), bool)
    differ = rows[pairs[:, 0]] - rows[pairs[:, 1]]      # (p, D)
    alike = differ @ differ.T
    turned = np.linalg.eigh(alike)[1][:, -1] < 0
    pairs[turned] = pairs[turned, ::-1]
    left, right = rows[pairs.T]                         # (p, D) each
    others = ~np.eye(len(left), dtype=bool)
    within = (left @ left.T + right @ right.T)[others].mean() / 2
    if (left @ right.T)[others].mean() > rules.twin_likeness * within:
        return np.zeros(len(rows), bool)
    return np.asarray(rows @ unit_mean(right) > rows @ unit_mean(left))


def join(rows: np.ndarray, clear: np.ndarray, labels: np.ndarray, rules: Rules, find: Find = match) -> np.ndarray:
    """Give each cluster of at most `join_faces` faces to the identity whose centroid is near, if one is.

    Or not so near, if no other is by far.
    The centroid is that without it: three faces of a stranger pull that of six towards them.
    """
    size = np.bincount(labels) if len(labels) else np.zeros(0, np.int64)
    large, small = np.flatnonzero(size > rules.join_faces), np.flatnonzero(size <= rules.join_faces)
    if not len(large) or not len(small):
        return labels
    members = members_of(labels)
    leftovers, centroids = (np.stack([unit_mean(rows[members[label]]) for label in which]) for which in (small, large))
    found = find(leftovers, centroids)
    clearest = np.zeros(len(size))
    np.maximum.at(clearest, labels, clear)
    limit = rules.joins(clearest[small], size[small], size[large][found.nearest])
    far = limit * (1 + rules.alone_farther)
    sure = found.certain(limit, rules.known_margin) | found.certain(far, rules.alone_margin)
    renamed = np.arange(len(members))
    renamed[small[sure]] = large[found.nearest[sure]]
    return numbered(renamed[labels])


def _strangers(one: np.ndarray, other: np.ndarray, rules: Rules) -> bool:
    """Whether two identities are seen side by side too often to be one person in a mirror or a collage."""
    shared = len(np.intersect1d(one, other))
    return shared >= rules.veto_photos and shared > rules.photo_veto * min(len(one), len(other))

