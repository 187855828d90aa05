"""Which faces of one identity get a picture, in which order, and why the others do not. Pure: arrays in, reasons out.

Words: n faces of one identity, D dimensions; `cos-dist` = 1 - cosine similarity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..formats.vectors import again, unit_mean

# How far apart two pictures are: degrees of head turn, and light, until they count as wholly different.
YAW_SPAN, PITCH_SPAN, LIGHT_SPAN = 40.0, 30.0, 0.35
ALIKE, SAME_LOOK = 0.90, 0.84       # cosine, and share of equal bits of their looks, of two that show one moment
LOOK_BYTES = 32
VARIETY = 0.35          # share of the choice that goes to variety; the rest is quality

OUTLIER = "{:.2f} from the centroid, more than {:.2f}"
SAME_PHOTO = "another face of the same photo is nearer to the centroid"
DUPLICATE = "near-duplicate of {} (similarity {:.2f})"
ONE_MOMENT = "the same moment as the better"


@dataclass(frozen=True)
class Selection:
    """order: indices of the chosen, best quality first; reasons: index -> why it was left out."""

    order: list[int]
    reasons: dict[int, str]
    distance: np.ndarray    # (n,) float32 cos-dist of every face to the centroid of the chosen


def select(embeddings: np.ndarray, quality: np.ndarray, photo: np.ndarray, names: Sequence[str], outlier: float,
           duplicate: float) -> Selection:
    """Choose among the faces of one identity.

    embeddings (n, D) unit rows, quality (n,) 0..1, photo (n,) a number per photo, names (n) what to call a face in a
    reason; outlier: cos-dist to the centroid; duplicate: similarity. Empty input gives an empty selection.
    """
    reasons: dict[int, str] = {}
    if not len(embeddings):
        return Selection([], reasons, np.zeros(0, np.float32))
    centroid = unit_mean(embeddings)
    for _ in range(2):      # outliers pull the first centroid towards them
        near = 1 - embeddings @ centroid <= outlier
        if not near.any():
            near[(embeddings @ centroid).argmax()] = True
        centroid = unit_mean(embeddings[near])
    distance = (1 - embeddings @ centroid).astype(np.float32)
    for far in np.flatnonzero(distance > outlier):
        reasons[int(far)] = OUTLIER.format(distance[far], outlier)
    nearest: dict[int, int] = {}    # photo -> its face
    for index in map(int, np.argsort(distance, kind="stable")):
        if index not in reasons and nearest.setdefault(int(photo[index]), index) != index:
            reasons[index] = SAME_PHOTO
    order = [index for index in best_first(quality, distance) if index not in reasons]
    for at, (better, likeness) in again(embeddings[order], duplicate).items():
        reasons[order[at]] = DUPLICATE.format(names[order[better]], likeness)
    return Selection([index for index in order if index not in reasons], dict(sorted(reasons.items())), distance)


def best_first(worth: np.ndarray, distance: np.ndarray, *later: np.ndarray) -> list[int]:
    """Indices as one would choose: by worth, equal ones by nearness, then as they came; but whatever is `later` comes
    after all that is not.

    worth (n,) 0..1; distance (n,) cos-dist; later (n,) bool, of several the last one first
    """
    return [int(index) for index in np.lexsort((distance, -worth.astype(np.float64), *later))]


def one_moment(embeddings: np.ndarray, looks: Sequence[str]) -> dict[int, int]:
    """Index -> the earlier one whose moment it shows too, of pictures (n,) best first.

    embeddings (n, D) unit rows; looks: see crop.Picture, "" unknown. Two photos of a burst are alike in both, two
    photos of one person only in the first.
    """
    found: dict[int, int] = {}
    first, own = np.empty_like(embeddings), np.empty(len(embeddings), int)  # m of them have a moment of their own
    bits = np.zeros((len(looks), LOOK_BYTES), np.uint8)
    known = np.array([len(look) == 2 * LOOK_BYTES for look in looks], bool)
    bits[known] = [list(bytes.fromhex(look)) for look, fine in zip(looks, known, strict=True) if fine] or 0
    for index, row in enumerate(embeddings):
        m = index - len(found)
        near = own[:m][known[own[:m]] & (first[:m] @ row >= ALIKE)] if known[index] else own[:0]
        apart = np.bitwise_count(bits[near] ^ bits[index]).sum(axis=1)      # bits
        same = near[apart <= (1 - SAME_LOOK) * 8 * LOOK_BYTES]
        if len(same):
            found[index] = int(same[0])
        else:
            first[m], own[m] = row, index
    return found


def varied(quality: np.ndarray, yaw: np.ndarray, pitch: np.ndarray, light: np.ndarray, count: int) -> list[int]:
    """Indices of at most `count` faces of high quality that differ in pose and light; the best one first.

    quality (n,) 0..1; yaw, pitch (n,) degrees; light (n, 2) brightness 0..1 and side light -1..1. Greedy: each next
    face is the one with the best mix of its quality and of its distance to the most similar face taken so far.
    """
    if not len(quality):
        return []
    place = np.column_stack([yaw / YAW_SPAN, pitch / PITCH_SPAN, light / LIGHT_SPAN]).astype(np.float64)    # (n, 4)
    place = np.nan_to_num(place)
    taken = [int(np.argmax(quality))]
    apart = np.linalg.norm(place - place[taken[0]], axis=1)     # (n,) distance to the nearest taken one
    while len(taken) < min(count, len(quality)):
        worth = (1 - VARIETY) * quality + VARIETY * np.minimum(apart, 1)
        worth[taken] = -np.inf
        taken.append(int(np.argmax(worth)))
        apart = np.minimum(apart, np.linalg.norm(place - place[taken[-1]], axis=1))
    return taken
