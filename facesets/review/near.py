"""Who is near whom, kept up from answer to answer: to find it all anew takes longer than an answer may. Pure.

Words: Q points of D dimensions, unit float32 rows; the first P of them are people, whom others may be near.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..formats.vectors import nearest

LISTED = 10         # the nearest people that are kept of each point
Found = list[tuple[str, float]]     # people with their cos-dist, the nearest first


@dataclass(frozen=True, eq=False)
class Near:
    """`of`: the nearest people of every point, itself left out."""

    points: Mapping[str, np.ndarray] = field(default_factory=dict)
    people: frozenset[str] = frozenset()
    of: Mapping[str, Found] = field(default_factory=dict)

    def after(self, people: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> "Near":
        """As it is with these points; one is the same as before where it is the same array."""
        points = {**people, **others}
        new = [at for at, (name, row) in enumerate(points.items()) if self.points.get(name) is not row]
        rows = np.array(list(points.values()), np.float32)                      # (Q, D)
        moved = {name for name in self.people if people.get(name) is not self.points[name]}
        kept = {name: near for name in points
                if (near := self.of.get(name, [])) and moved.isdisjoint(other for other, _ in near)}
        stale = np.array([name not in kept for name in points], bool)           # (Q,)
        stale[new] = True
        if came := [at for at in new if at < len(people)] if kept else []:
            reach = np.array([kept[name][-1][1] if name in kept and len(kept[name]) == LISTED else np.inf
                              for name in points])
            stale |= (1 - rows[came] @ rows.T < reach).any(axis=0)
        which, names = np.flatnonzero(stale), list(points)
        index, distance = nearest(rows, which, len(people), LISTED)
        of = kept | {names[at]: [(names[place], apart) for place, apart in zip(*both, strict=True) if apart < np.inf]
                     for at, *both in zip(which, index.tolist(), distance.tolist(), strict=True)}
        return Near(points, frozenset(people), {name: of[name] for name in points})
