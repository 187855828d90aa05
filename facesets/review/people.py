"""Of whom the review asks: a faceset with its faces, where it comes apart best, and faces that lie in none. Pure.

And who is near whom, kept up from answer to answer: to find it all anew takes longer than an answer may.
Words: n faces of D dimensions, `rows` (n, D) unit; a distance is a cos-dist. Q points, of which the first P are people,
whom others may be near.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ..formats.vectors import nearer, nearest, unit_mean

FEWEST_HALF = 3         # faces; fewer do not speak for a second person
ROUNDS = 8              # of 2-means; it settles in three or four
LISTED = 10             # the nearest people that are kept of each point
NEW = "new "            # how the name of a faceset without a folder begins
Found = list[tuple[str, float]]     # people with their cos-dist, the nearest first


@dataclass(frozen=True)
class Halves:
    """A faceset cut in two where it comes apart best; no faces in either where a half would be too small."""

    distance: float = 0.0           # cos-dist between the centroids of the halves
    larger: tuple[int, ...] = ()    # indices of its faces
    smaller: tuple[int, ...] = ()


def halves(rows: np.ndarray) -> Halves:
    """Cut a faceset in two where it comes apart best.

    rows (n, D) unit. Spherical 2-means from both ends of the main direction: one person gives two near centroids, two
    people give two as far apart as strangers. Halves too small to speak for a person give none.
    """
    if len(rows) < 2 * FEWEST_HALF:
        return Halves()
    centred = rows - rows.mean(axis=0)
    direction = centred[np.argmax(np.einsum("nd,nd->n", centred, centred))]
    for _ in range(ROUNDS):                                     # power iteration on centredᵀ centred
        direction = centred.T @ (centred @ direction)
        direction = direction / max(float(np.linalg.norm(direction)), 1e-12)
    side = centred @ direction > 0                              # (n,)
    for _ in range(ROUNDS):
        if min(side.sum(), (~side).sum()) < FEWEST_HALF:
            return Halves()
        one, other = unit_mean(rows[side]), unit_mean(rows[~side])
        moved = rows @ one > rows @ other
        if (moved == side).all():
            break
        side = moved
    larger, smaller = sorted((np.flatnonzero(side), np.flatnonzero(~side)), key=len, reverse=True)
    if len(smaller) < FEWEST_HALF:
        return Halves()
    apart = 1 - unit_mean(rows[larger]) @ unit_mean(rows[smaller])
    return Halves(float(apart), tuple(larger.tolist()), tuple(smaller.tolist()))


@dataclass(frozen=True, eq=False)
class Person:
    """One faceset. `faces` are short keys, best first, `rows` (n, D) unit; `seen`: faces that somebody looked at.

    photos: which photo shows a face, of all that the library knows
    behind: (k, D) of its faces without a picture, which are not shown and go with those that they are nearer to
    """

    folder: str
    faces: tuple[str, ...]
    rows: np.ndarray
    name: str = ""
    proposed: str = ""
    seen: frozenset[str] = frozenset()
    photos: Mapping[str, str] = field(default_factory=dict)
    behind: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    @property
    def title(self) -> str:
        return self.name or self.proposed or ("a new faceset" if self.folder.startswith(NEW) else self.folder)

    @cached_property
    def centroid(self) -> np.ndarray:
        return unit_mean(self.rows)

    @cached_property
    def apart(self) -> np.ndarray:
        """(n,) cos-dist of each face to the centroid of the others."""
        if len(self.rows) < 2:
            return np.zeros(len(self.rows))
        rest = self.rows.sum(axis=0) - self.rows                # (n, D)
        return np.asarray(1 - np.einsum("nd,nd->n", self.rows, rest) / np.linalg.norm(rest, axis=1).clip(1e-9))

    @cached_property
    def halves(self) -> Halves:
        return halves(self.rows)

    @cached_property
    def side_by_side(self) -> int:
        """Photos that show both halves."""
        return len(self._shown(self.halves.larger) & self._shown(self.halves.smaller))

    def together(self, other: "Person") -> int:
        """Photos that show both, which one person never is but in a mirror or a collage."""
        return len(self.shown & other.shown)

    @cached_property
    def shown(self) -> frozenset[str]:
        return self._shown(range(len(self.faces)))

    def _shown(self, rows: Iterable[int]) -> frozenset[str]:
        """The photos of some of its faces."""
        return frozenset(self.photos[face] for row in rows if (face := self.faces[row]) in self.photos)

    @cached_property
    def fresh(self) -> np.ndarray:
        """(n,) bool: faces that nobody has seen to be right."""
        return np.array([face not in self.seen for face in self.faces], bool)

    def without(self, faces: Iterable[str]) -> "Person":
        gone = set(faces)
        stay = [at for at, face in enumerate(self.faces) if face not in gone]
        go = [at for at, face in enumerate(self.faces) if face in gone]
        along = nearer(self.behind, self.rows[go], self.rows[stay])
        return replace(self, faces=tuple(self.faces[at] for at in stay), rows=self.rows[stay],
                       behind=self.behind[~along])

    def having(self, faces: tuple[str, ...], rows: np.ndarray, seen: Iterable[str],
               behind: np.ndarray | None = None) -> "Person":
        new = [at for at, face in enumerate(faces) if face not in self.faces]
        grown = [some for some in (self.behind, behind) if some is not None and len(some)]
        return replace(self, faces=(*self.faces, *(faces[at] for at in new)), seen=self.seen | set(seen),
                       rows=np.concatenate([self.rows, rows[new]]),
                       behind=np.concatenate(grown) if grown else self.behind)


@dataclass(frozen=True, eq=False)
class Loose:
    """Faces of no faceset that may belong to one: `among` are the folders that clustering named."""

    id: str
    faces: tuple[str, ...]
    rows: np.ndarray
    among: tuple[str, ...] = ()
    reason: str = ""
    photos: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def centroid(self) -> np.ndarray:
        return unit_mean(self.rows)


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
