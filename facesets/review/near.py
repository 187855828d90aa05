"""Who is near whom, kept up from answer to answer: to find it all anew takes longer than an answer may. Pure.

Words: Q points of D dimensions, unit float32 rows; the first P of them are people, whom others may be near.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

LISTED = 10         # the nearest people that are kept of each point
BLOCK = 1024        # points at a time
Found = list[tuple[str, float]]     # people with their cos-dist, the nearest first


@dataclass(frozen=True, eq=False)
class Near:
    """`of`: the nearest people of every point, itself left out."""

    points: Mapping[str, np.ndarray] = field(default_factory=dict)
    people: frozenset[str] = frozenset()
    rows: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))      # (Q, D)
    of: Mapping[str, Found] = field(default_factory=dict)

    def after(self, people: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> "Near":
        """As it is with these points; one is the same as before where it is the same array."""
        points = {**people, **others}
        new = [at for at, (name, row) in enumerate(points.items()) if self.points.get(name) is not row]
        rows = self._rows(points, new)
        moved = {name for name in self.people if people.get(name) is not self.points[name]}
        kept = {name: near for name in points
                if (near := self.of.get(name, [])) and moved.isdisjoint(other for other, _ in near)}
        stale = np.array([name not in kept for name in points], bool)           # (Q,)
        stale[new] = True
        if came := [at for at in new if at < len(people)] if kept else []:
            reach = np.array([kept[name][-1][1] if name in kept and len(kept[name]) == LISTED else np.inf
                              for name in points])
            stale |= (1 - rows[came] @ rows.T < reach).any(axis=0)
        names = list(points)
        found = _nearest(rows, np.flatnonzero(stale), names[:len(people)])
        return Near(points, frozenset(people), rows, {
            name: found[at] if at in found else kept[name] for at, name in enumerate(names)})

    def _rows(self, points: Mapping[str, np.ndarray], new: list[int]) -> np.ndarray:
        if len(new) == len(points):
            return np.array(list(points.values()), np.float32)
        place = {name: at for at, name in enumerate(self.points)}
        rows = self.rows[[place.get(name, 0) for name in points]]
        values = list(points.values())
        for at in new:
            rows[at] = values[at]
        return np.asarray(rows)


def _nearest(rows: np.ndarray, which: np.ndarray, people: list[str]) -> dict[int, Found]:
    """The nearest people of the points `which`; the first of `rows` (Q, D) are those of the people."""
    found: dict[int, Found] = {at: [] for at in which.tolist()}
    count = min(LISTED + 1, len(people))
    for block in (which[start:start + BLOCK] for start in range(0, len(which) if people else 0, BLOCK)):
        apart = 1 - rows[block] @ rows[:len(people)].T                          # (B, P)
        best = np.argpartition(apart, count - 1, axis=1)[:, :count]
        for at, distances, places in zip(block.tolist(), apart, best.tolist(), strict=True):
            listed = sorted((float(distances[place]), people[place]) for place in places if place != at)
            found[at] = [(name, distance) for distance, name in listed[:LISTED]]
    return found
