"""What is worth asking, the riskiest first, and how right the library is expected to be. Pure: no file, no clock.

Words: a *person* is a faceset as it is asked about, with n faces of D dimensions; a *loose* group is a face between two
people, or faces of a group too thin for a faceset. *Wrong* faces lie with somebody else, or apart from their own; the
*worth* of a question is how many wrong faces an answer is expected to put right. Distances are cos-dist over the
recogniser's known_distance, so that one curve serves every recogniser.

The curves are logistic, fitted on what clustering makes of labelled photos with three recognisers, and of made-up
libraries; `python benchmarks/review.py --fit` prints them and how right they are.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from ..formats.cache import unit_mean
from .near import Found, Near

PURE = 0.995            # share of faces that lie right, at which the review may end
ALIKE = 3               # look-alikes that are shown
LEAST = 0.05            # a pair or a loose group less likely than this to belong together is no question
ENOUGH = 6             # faces of a thin group from which on it is asked about, though it is near nobody
LARGE = 10              # faces from which on a person without a name is asked about for the name alone
FEWEST_HALF = 3         # faces; fewer do not speak for a second person
ROUNDS = 8              # of 2-means; it settles in three or four
Curve = tuple[float, float]         # probability = 1 / (1 + exp(-(a + b * distance)))
WRONG: Curve = (-12.5, 9.4)         # that a face is somebody else, by its distance to the centroid of the others
SAME: Curve = (13.3, -18.4)         # that two facesets are one person, by the distance of their centroids
TOGETHER, OFTEN = -2.4, 3           # is added to that for each photo on which both stand, up to so many
TWO: Curve = (-13.2, 15.1)          # that a faceset is two people, by the distance of its halves


def probability(curve: Curve, distance: np.ndarray | float, more: float = 0.0) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-(curve[0] + more + curve[1] * np.asarray(distance, np.float64)))))


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
    """One faceset. `faces` are short keys, best first, `rows` (n, D) unit; `seen`: faces that somebody looked at."""

    folder: str
    faces: tuple[str, ...]
    rows: np.ndarray
    name: str = ""
    proposed: str = ""
    seen: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        return self.name or self.proposed or self.folder

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
    def fresh(self) -> np.ndarray:
        """(n,) bool: faces that nobody has seen to be right."""
        return np.array([face not in self.seen for face in self.faces], bool)

    def without(self, faces: Iterable[str]) -> "Person":
        gone = set(faces)
        stay = [at for at, face in enumerate(self.faces) if face not in gone]
        return replace(self, faces=tuple(self.faces[at] for at in stay), rows=self.rows[stay])

    def having(self, faces: tuple[str, ...], rows: np.ndarray) -> "Person":
        new = [at for at, face in enumerate(faces) if face not in self.faces]
        return replace(self, faces=(*self.faces, *(faces[at] for at in new)), rows=np.concatenate(
            [self.rows, rows[new]]))


@dataclass(frozen=True, eq=False)
class Loose:
    """Faces of no faceset that may belong to one: `among` are the folders that clustering named."""

    id: str
    faces: tuple[str, ...]
    rows: np.ndarray
    among: tuple[str, ...] = ()
    reason: str = ""

    @cached_property
    def centroid(self) -> np.ndarray:
        return unit_mean(self.rows)


@dataclass(frozen=True, eq=False)
class Books:
    """The library as far as it matters here. Answers make new books; the old ones are what undo goes back to."""

    people: Mapping[str, Person]
    loose: Mapping[str, Loose] = field(default_factory=dict)
    two: frozenset[tuple[str, str]] = frozenset()       # sorted pairs that are two people
    known: float = 0.45
    added: int = 0      # facesets that answers made

    photos: Mapping[str, str] = field(default_factory=dict)     # of faces
    around: Near = Near()   # as it was before; brought up to these here

    def __post_init__(self) -> None:
        people, loose = ({name: item.centroid for name, item in what.items()} for what in (self.people, self.loose))
        object.__setattr__(self, "around", self.around.after(people, loose))

    def near(self, about: str) -> Found:
        """The people nearest to a person, or to faces of nobody, of whom nobody said that they are two."""
        return [item for item in self.around.of[about] if pair(about, item[0]) not in self.two]

    def together(self, one: str, other: str) -> int:
        """On how many photos two people stand side by side, which one person never does but in a mirror."""
        first, second = ({self.photos[face] for face in self.people[name].faces if face in self.photos}
                         for name in (one, other))
        return len(first & second)


@dataclass(frozen=True)
class Question:
    """`kind`: "same" (with `other`), "two", "faces", "loose" or "name"; `suspects` are the faces it is about."""

    kind: str
    about: str
    worth: float = 0.0
    chance: float = 0.0     # that something is wrong
    other: str = ""
    suspects: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return " ".join(filter(None, (self.kind, self.about, self.other)))


@dataclass(frozen=True)
class Outlook:
    """`right`: share of faces that are expected to lie right; `left`: questions until that is PURE; `open`: in all."""

    right: float
    left: int
    open: int


def pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


def ask(books: Books) -> list[Question]:
    """All questions, the one whose answer puts most faces right first."""
    asked = [*(_of_person(person, books.known) for person in books.people.values()), *_pairs(books),
             *(_of_loose(books, loose) for loose in books.loose.values())]
    found = [question for question in asked if question]
    return sorted(found, key=lambda question: (-question.worth, question.id))


def outlook(books: Books, questions: Iterable[Question]) -> Outlook:
    faces = sum(len(person.faces) for person in books.people.values())
    faces += sum(len(loose.faces) for loose in books.loose.values())
    worths = [question.worth for question in questions]
    wrong, left = sum(worths), 0
    for worth in worths:
        if wrong <= (1 - PURE) * faces:
            break
        wrong, left = wrong - worth, left + 1
    return Outlook(max(0.0, 1 - sum(worths) / faces) if faces else 1.0, left, len(worths))


@lru_cache(maxsize=1 << 14)
def _of_person(person: Person, known: float) -> Question | None:
    """Whether all of a faceset is one person: the smaller half, or the faces least like the others."""
    fresh = person.fresh
    if not fresh.any():
        return None
    wrong = probability(WRONG, person.apart / known) * fresh        # (n,)
    order = sorted(np.flatnonzero(fresh).tolist(), key=lambda at: -person.apart[at])
    odd = tuple(person.faces[at] for at in order)
    cut = person.halves
    smaller = [at for at in cut.smaller if fresh[at]]
    two = float(probability(TWO, cut.distance / known)) if smaller else 0.0
    if two * len(smaller) > wrong.sum():
        return Question("two", person.folder, two * len(smaller), two, suspects=tuple(
            person.faces[at] for at in smaller))
    kind = "name" if not person.name and len(person.faces) >= LARGE and wrong.sum() < LEAST else "faces"
    return Question(kind, person.folder, float(wrong.sum()), float(1 - np.prod(1 - wrong)), suspects=odd)


def _pairs(books: Books) -> Iterable[Question]:
    """Pairs that may be one person; the larger one is asked about, and each is asked with its nearest first."""
    done: set[tuple[str, str]] = set()
    farthest = books.known * (math.log(1 / LEAST - 1) + SAME[0]) / -SAME[1]     # where the chance is LEAST
    for folder in books.people:
        for other, distance in books.around.of[folder]:
            if distance > farthest:
                break
            if (both := pair(folder, other)) not in done and both not in books.two:
                done.add(both)
                often = min(books.together(*both), OFTEN)
                chance = float(probability(SAME, distance / books.known, often * TOGETHER))
                one, two = sorted(both, key=lambda name: (-len(books.people[name].faces), name))
                if chance >= LEAST:
                    yield Question("same", one, chance * len(books.people[two].faces), chance, two)


def _of_loose(books: Books, loose: Loose) -> Question | None:
    near = books.near(loose.id)
    chance = float(probability(SAME, near[0][1] / books.known)) if near else 0.0
    if not loose.among and chance < LEAST and len(loose.faces) < ENOUGH:
        return None
    return Question("loose", loose.id, chance * len(loose.faces), chance, suspects=loose.faces)


def alike(books: Books, question: Question) -> Found:
    """Whom to offer beside a question, with their cos-dist: those that it is about first, then the nearest."""
    loose = question.kind == "loose"
    about = books.loose[question.about] if loose else books.people[question.about]
    first = about.among if isinstance(about, Loose) else (question.other,)
    return [*((folder, float(1 - books.people[folder].centroid @ about.centroid)) for folder in first
              if folder in books.people),
            *(item for item in books.near(question.about) if item[0] not in first)][:ALIKE]
