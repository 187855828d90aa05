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
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..formats.vectors import nearer
from .people import Found, Loose, Near, Person

PURE = 0.995            # share of faces that lie right, at which the review may end
ALIKE = 3               # look-alikes that are shown
LEAST = 0.05            # what is less likely than this is not asked as such: a pair, two people in one, a loose group
ENOUGH = 6              # faces of a thin group from which on it is asked about, though it is near nobody
LARGE = 10              # faces from which on a person without a name is asked about for the name alone
OFTEN = 3               # photos on which two stand side by side; more prove no more
Curve = tuple[float, float, float]  # probability = 1 / (1 + exp(-(a + b * distance + c * photos, up to OFTEN)))
WRONG: Curve = (-18.4, 14.8, 0.0)   # that a face is somebody else, by its distance to the centroid of the others
SAME: Curve = (18.0, -20.7, -5.5)   # that two facesets are one person, by the distance of their centroids
TWO: Curve = (-14.2, 16.8, 2.6)     # that a faceset is two people, by the distance of its halves
THEIRS: Curve = (-3.0, 20.0, 0.0)   # that a face is the other of two people, by how much nearer it is; not fitted


def probability(curve: Curve, distance: np.ndarray | float, photos: int = 0) -> np.ndarray:
    a, b, c = curve
    return np.asarray(1 / (1 + np.exp(-(a + b * np.asarray(distance, np.float64) + c * min(photos, OFTEN)))))


@dataclass(frozen=True, eq=False)
class Books:
    """The library as far as it matters here. Answers make new books; the old ones are what undo goes back to."""

    people: Mapping[str, Person]
    loose: Mapping[str, Loose] = field(default_factory=dict)
    two: frozenset[tuple[str, str]] = frozenset()       # sorted pairs that are two people
    known: float = 0.45
    added: int = 0          # facesets that answers made
    around: Near = Near()   # as it was before; brought up to these here

    def __post_init__(self) -> None:
        people, loose = ({name: item.centroid for name, item in what.items()} for what in (self.people, self.loose))
        object.__setattr__(self, "around", self.around.after(people, loose))

    def near(self, about: str) -> Found:
        """The people nearest to a person, or to faces of nobody, of whom nobody said that they are two."""
        return [item for item in self.around.of[about] if pair(about, item[0]) not in self.two]


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
    rivals: dict[str, list[Person]] = {}
    for one, other in sorted(books.two):
        if one in books.people and other in books.people:
            rivals.setdefault(one, []).append(books.people[other])
            rivals.setdefault(other, []).append(books.people[one])
    asked = [*(_of_person(person, books.known, tuple(rivals.get(folder, ())))
               for folder, person in books.people.items()), *_pairs(books),
             *(_of_loose(books, loose) for loose in books.loose.values())]
    found = [question for question in asked if question]
    return sorted(found, key=lambda question: (-question.worth, question.id))


def outlook(books: Books, questions: Iterable[Question]) -> Outlook:
    faces = sum(len(person.faces) for person in books.people.values())
    faces += sum(len(loose.faces) for loose in books.loose.values())
    faces += sum(len(person.behind) for person in books.people.values())
    worths = [question.worth for question in questions]
    behind = sum(_behind(person, books.known) for person in books.people.values())
    wrong, left = sum(worths) + behind, 0
    for worth in worths:
        if wrong <= (1 - PURE) * faces:
            break
        wrong, left = wrong - worth, left + 1
    return Outlook(max(0.0, 1 - (sum(worths) + behind) / faces) if faces else 1.0, left, len(worths))


@lru_cache(maxsize=1 << 14)
def _behind(person: Person, known: float) -> float:
    """How many of the faces that are not shown are expected to be somebody else."""
    return float(probability(WRONG, (1 - person.behind @ person.centroid) / known).sum()) if len(person.behind) else 0.0


@lru_cache(maxsize=1 << 14)
def _of_person(person: Person, known: float, rivals: tuple[Person, ...] = ()) -> Question | None:
    """Whether all of a faceset is one person: the smaller half, or the faces least like the others.

    rivals: people of whom a person said that they are somebody else; what is nearer to them is theirs
    """
    fresh = person.fresh
    if not fresh.any():
        return None
    wrong = probability(WRONG, person.apart / known)                # (n,)
    for rival in rivals:
        wrong = np.maximum(wrong, probability(THEIRS, (person.apart - (1 - person.rows @ rival.centroid)) / known))
    wrong = wrong * fresh
    order = sorted(np.flatnonzero(fresh).tolist(), key=lambda at: (-wrong[at], -person.apart[at]))
    odd = tuple(person.faces[at] for at in order)
    cut = person.halves
    smaller = [at for at in cut.smaller if fresh[at]]
    two = float(probability(TWO, cut.distance / known, person.side_by_side)) if smaller else 0.0
    along = nearer(person.behind, person.rows[list(cut.smaller)], person.rows[list(cut.larger)])
    worth = max(float(wrong.sum()), two * (len(smaller) + int(along.sum())))
    if two >= LEAST and worth > wrong.sum():
        return Question("two", person.folder, worth, two, suspects=tuple(person.faces[at] for at in smaller))
    kind = "name" if not person.name and len(person.faces) >= LARGE and worth < LEAST else "faces"
    return Question(kind, person.folder, worth, float(1 - np.prod(1 - wrong)), suspects=odd)


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
                photos = books.people[folder].together(books.people[other])
                chance = float(probability(SAME, distance / books.known, photos))
                one, two = sorted(both, key=lambda name: (-len(books.people[name].faces), name))
                if chance >= LEAST:
                    yield Question("same", one, chance * len(books.people[two].faces), chance, two)


def _of_loose(books: Books, loose: Loose) -> Question | None:
    near = books.near(loose.id)
    chance = float(probability(SAME, near[0][1] / books.known)) if near else 0.0
    among = any(folder in books.people for folder in loose.among)
    if not among and chance < LEAST and len(loose.faces) < ENOUGH:
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
