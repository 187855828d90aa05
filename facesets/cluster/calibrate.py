"""Which distances a recogniser needs, found on faces whose people are known. Pure: arrays in, thresholds out.

Of distances that are as good the middle one is taken: in a library the stricter end splits people, since the gates take
away faces that link their years, and the looser end meets more strangers.

Where nobody is labelled, a library tells by its strangers: with each person looked at once, however often photographed,
pairs of faces are two people, whose likeness has the same middle and spread in every library of a recogniser, and
beyond so many spreads hardly any lie. What is calibrated is never looser than that: the people that somebody labels
are few, and meet fewer strangers than those of a library.

Words: N faces, D dimensions, P people; `people` (N,) int, -1 for a face that nobody named (there, but not scored).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..formats.vectors import again, unit_mean
from .known import Match, match
from .measures import bcubed, pairwise
from .merging import identities
from .rules import Rules

DISTANCES = tuple(round(0.30 + 0.025 * step, 3) for step in range(25))      # 0.30 ... 0.90
AS_GOOD = 0.003         # F between distances that are as good: less than two splits of the same people differ by
FALSE_MATCHES = 0.005   # share of strangers' faces that may be taken for somebody we know
REFERENCES = 10         # faces a known person's centroid is made of at most, when we measure
SPREADS = (4.8, 3.7)    # above the middle of strangers' similarities: where known_distance and cluster_distance lie
LOOSEST = (0.60, 0.70)  # known_distance and cluster_distance, whatever the strangers say
STRANGERS, FEW = 2000, 30       # clear faces that are looked at, and people among them; fewer say nothing
ROUNDED = 0.025         # so that a library that grows keeps its distances
LEAST_KNOWN = 4         # faces a person must have to stand for a known one: two make the centroid, two are asked


@dataclass(frozen=True)
class Line:
    """What one distance gives."""

    distance: float
    pairwise: float         # F of clustering at it
    bcubed: float
    recall: float           # share of known people's other faces that are matched with them
    false_matches: float    # share of everybody's faces that are matched with somebody else

    @property
    def f(self) -> float:
        return (self.pairwise + self.bcubed) / 2


@dataclass(frozen=True)
class Calibration:
    known_distance: float
    cluster_distance: float
    most: tuple[float, float]       # looser than these they may not be: strangers begin to meet
    table: tuple[Line, ...]         # every distance


def calibrate(rows: np.ndarray, people: np.ndarray, photos: np.ndarray, clarity: np.ndarray,
              distances: Sequence[float] = DISTANCES, most: tuple[float, float] = LOOSEST) -> Calibration:
    """The distances for the recogniser that made `rows`.

    rows (N, D) float32 unit rows; people (N,) int, -1 unnamed; photos (N,) int; clarity (N,) as in `rules`; `most` as
    in Calibration, where these are too few people to tell.
    Raises ValueError for fewer than four people with LEAST_KNOWN faces: they say nothing about others.
    """
    faces = np.unique(people[people >= 0], return_counts=True)[1]
    if (faces >= LEAST_KNOWN).sum() < 4:
        raise ValueError(f"at least four people with {LEAST_KNOWN} faces each are needed to calibrate")
    most = from_strangers(rows, people, clarity) or most
    table = measure(rows, people, photos, clarity, distances)
    apart = best_cluster([line for line in table if line.distance <= most[1]])
    known = min(best_known([line for line in table if line.distance <= most[0]]), apart)
    return Calibration(known, apart, most, tuple(table))


def from_strangers(rows: np.ndarray, apart: np.ndarray, clarity: np.ndarray) -> tuple[float, float] | None:
    """known_distance and cluster_distance of a recogniser, out of the faces of a library; None where they do not tell.

    rows (N, D) unit rows, clarity (N,); two faces of the same `apart` (N,), a photo or a person, are no pair. Rows in
    another order may give other distances, so give them in one that means something.
    """
    clear = np.flatnonzero(clarity >= Rules.founding_clarity)
    some = clear[::max(1, -(-len(clear) // STRANGERS))]
    some = np.delete(some, list(again(rows[some], 1 - LOOSEST[0])))     # each person once, however often photographed
    pairs = np.triu(apart[some][:, None] != apart[some])
    if len(some) < FEW or pairs.sum() < FEW:    # few people, or one photo of a crowd
        return None
    alike = (rows[some] @ rows[some].T)[pairs]
    middle, low = np.percentile(alike, (50, 16))        # below the middle nobody is the same person
    known, cluster = (min(round((1 - middle - spreads * (middle - low)) / ROUNDED) * ROUNDED, loosest)
                      for spreads, loosest in zip(SPREADS, LOOSEST, strict=True))
    if known < DISTANCES[0]:    # so alike are no strangers: a library of one person
        return None
    return round(known, 3), round(cluster, 3)


def as_text(result: Calibration) -> list[str]:
    """The trade-off for a person to read, one line a distance."""
    chosen = {result.known_distance: "known_distance", result.cluster_distance: "cluster_distance"}
    if len(chosen) == 1:
        chosen = {result.known_distance: "known_distance and cluster_distance"}
    lines = [f"no looser than known {result.most[0]:g} and cluster {result.most[1]:g}, where strangers begin to meet",
             "distance   clustering at it: pairwise F   BCubed F   known within it: recall   false matches"]
    return lines + [f"{line.distance:8.3f} {line.pairwise:29.3f} {line.bcubed:10.3f} {line.recall:24.3f} "
                    f"{line.false_matches:15.4f}   {chosen.get(line.distance, '')}".rstrip() for line in result.table]


def measure(rows: np.ndarray, people: np.ndarray, photos: np.ndarray, clarity: np.ndarray,
            distances: Sequence[float]) -> list[Line]:
    """One line for every distance."""
    found, right, expected = _asked(rows, people)
    named = people >= 0
    table = []
    for distance in distances:
        labels = identities(rows, photos, clarity, rules_at(distance))[named]
        certain = found.certain(distance, Rules.known_margin)
        table.append(Line(distance, pairwise(labels, people[named]).f, bcubed(labels, people[named]).f,
                          float((certain & right).sum() / max(1, expected)),
                          float((certain & ~right).sum() / max(1, len(right)))))
    return table


def rules_at(cluster_distance: float) -> Rules:
    """The rules at another cluster_distance; what depends on it moves along."""
    moved = cluster_distance - Rules.cluster_distance
    return Rules(cluster_distance=cluster_distance, known_distance=Rules.known_distance + moved)


def best_cluster(table: Sequence[Line]) -> float:
    """The middle of the distances that cluster as well as the best, and whose neighbours do: far from both cliffs."""
    best = max(table, key=lambda line: line.f)
    good = [line.f >= best.f - AS_GOOD for line in table]
    safe = [line.distance for at, line in enumerate(table) if all(good[max(0, at - 1):at + 2])]
    return safe[len(safe) // 2] if safe else best.distance


def best_known(table: Sequence[Line]) -> float:
    """The loosest distance that takes few enough strangers for somebody we know; the strictest where none does."""
    fine = [line.distance for line in table if line.false_matches <= FALSE_MATCHES]
    return max(fine, default=min(line.distance for line in table))


def _asked(rows: np.ndarray, people: np.ndarray) -> tuple[Match, np.ndarray, int]:
    """Every other face of people with enough of them makes their centroids; the rest is asked who they are.

    The match of those (A,) faces, whether the nearest is right, and of how many faces the person is known.
    """
    known, reference = [], np.zeros(len(rows), bool)
    for name in np.unique(people[people >= 0]):
        theirs = np.flatnonzero(people == name)
        if len(theirs) >= LEAST_KNOWN:
            reference[theirs[::2][:REFERENCES]] = True
            known.append(int(name))
    asked = ~reference & (people >= 0)
    centroids = np.array([unit_mean(rows[reference & (people == name)]) for name in known], np.float32)
    found = match(rows[asked], centroids.reshape(-1, rows.shape[1]))
    right = np.array([*known, -2])[found.nearest] == people[asked]
    return found, right, int(np.isin(people[asked], known).sum())
