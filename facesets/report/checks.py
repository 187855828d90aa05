"""What a person should look at, and the command that settles it. Pure: facesets and distances in, findings out."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..library.store import Manifest
from .shelf import Set

SECOND_NAME = 0.15      # share of a faceset's named faces, from which on a second name is no slip of Immich
SECOND_FACES = 2        # and at least so many
MOST = 40               # findings of one kind on the page; more than that is a threshold to change, not a list to read


@dataclass(frozen=True)
class Pair:
    """Two facesets that look alike."""

    one: int            # index into the shelf's sets
    other: int
    distance: float     # cos-dist of the centroids
    same_name: bool
    near: bool          # near enough to be taken for one person


@dataclass(frozen=True)
class Mixed:
    """A faceset that may be two people."""

    index: int
    distance: float     # between the centroids of its two halves, 0 where only the names speak
    names: tuple[tuple[str, int], ...]      # what Immich calls its faces, where that is more than one person


@dataclass(frozen=True)
class Conflict:
    """A name that does not fit."""

    name: str
    members: tuple[int, ...]
    why: str
    better: str = ""    # the name that would fit, where there is one


@dataclass(frozen=True)
class Findings:
    pairs: list[Pair]           # may be one person, or just look alike: nearest first
    mixed: list[Mixed]
    conflicts: list[Conflict]

    def touched(self) -> set[int]:
        return ({index for pair in self.pairs for index in (pair.one, pair.other)}
                | {item.index for item in self.mixed} | {index for item in self.conflicts for index in item.members})


def find(sets: Sequence[Set], near: np.ndarray, distance: np.ndarray, known: float, alike: float,
         manifest: Manifest) -> Findings:
    """Everything to check but what a person has said already. near, distance: `shelf.nearest`; known, alike: cos-dist,
    below which two centroids are probably one person, and below which they are worth a look."""
    open_pairs = [pair for pair in pairs(sets, near, distance, known, alike)
                  if not manifest.are_two(sets[pair.one].folder, sets[pair.other].folder)]
    seen = {folder: set(faces) for folder, faces in manifest.reviewed.items()}
    open_sets = [item for item in mixed(sets, known) if not seen.get(sets[item.index].folder, set()).issuperset(
        face.key for face in sets[item.index].faces)]
    return Findings(open_pairs, open_sets, conflicts(sets))


def pairs(sets: Sequence[Set], near: np.ndarray, distance: np.ndarray, known: float, alike: float) -> list[Pair]:
    found: dict[tuple[int, int], Pair] = {}
    for one, place in zip(*np.nonzero(distance <= alike), strict=True):
        first, second = sorted((int(one), int(near[one, place])))
        one_name, other_name = (sets[index].name or sets[index].proposed for index in (first, second))
        same = bool(one_name) and one_name.casefold() == other_name.casefold()
        found[first, second] = Pair(first, second, float(distance[one, place]), same,
                                    bool(distance[one, place] <= known))
    return sorted(found.values(), key=lambda pair: (pair.distance, pair.one, pair.other))


def mixed(sets: Sequence[Set], known: float) -> list[Mixed]:
    """Facesets whose halves lie further apart than one person's faces, or that Immich gives several names."""
    found = []
    for index, item in enumerate(sets):
        apart, names = item.halves.distance, several_names(item.names)
        if apart > known or len(names) > 1:
            found.append(Mixed(index, apart if apart > known else 0.0, names if len(names) > 1 else ()))
    return sorted(found, key=lambda item: (-item.distance, -len(item.names), item.index))


def several_names(names: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """The names that are more than a slip, the most frequent first."""
    total = sum(names.values())
    return tuple((name, count) for name, count in sorted(names.items(), key=lambda item: (-item[1], item[0]))
                 if count >= SECOND_FACES and count >= SECOND_NAME * total)


def conflicts(sets: Sequence[Set]) -> list[Conflict]:
    """One name for several facesets, or a name that Immich contradicts."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(sets):
        if item.name or item.proposed:
            by_name[(item.name or item.proposed).casefold()].append(index)
    found = [Conflict(sets[members[0]].title, tuple(members), "one name, several facesets")
             for members in by_name.values() if len(members) > 1]
    for index, item in enumerate(sets):
        if item.name and item.proposed and item.name.casefold() != item.proposed.casefold():
            found.append(Conflict(item.name, (index,), f"Immich says {item.proposed}", item.proposed))
    return found
