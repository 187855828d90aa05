"""From a cluster to a faceset: who stays in it, whether it is enough, and what Immich calls it."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from ..formats.cache import Person
from ..formats.proposal import Face, Group
from ..formats.vectors import again, unit_mean
from .merging import apart
from .pool import Pool
from .rules import Rules

MAJORITY = 0.5      # share of a faceset's faces that must carry one name for it to be proposed
NAMED_FACES = 2     # and at least so many faces: one face that Immich misplaced proposes nothing


def settle(pool: Pool, members: np.ndarray, rules: Rules) -> tuple[Group, list[Face]]:
    """The cluster `members` (rows of `pool`) as a group, best faces first; what it is worth, one of each moment says.

    And the faces that are not in it after all: far from the centroid, or the farther one of two in a photo.
    """
    photos = apart(pool.rows[members], pool.photo[members], rules)
    alone = first_per_photo(photos, 1 - pool.rows[members] @ unit_mean(pool.rows[members]))
    others = [Face(pool.keys[face], 0.0, "another face of the same photo is nearer") for face in members[~alone]]
    members = members[alone]
    distance = 1 - pool.rows[members] @ unit_mean(pool.rows[members])      # (m,)
    limit = rules.near(rules.clear(pool.clarity[members])) * (1 + rules.alone_farther)
    near = distance <= limit
    others += [Face(pool.keys[face], rounded(far), f"more than {most:.2f} from the centroid")
               for face, far, most in zip(members[~near], distance[~near], limit[~near], strict=True)]
    members, distance = members[near], distance[near]
    quality = pool.meta["quality"][members]
    order = sorted(range(len(members)), key=lambda face: (-quality[face], pool.keys[members[face]]))
    members, distance = members[order], distance[order]
    own = np.setdiff1d(np.arange(len(members)), list(again(pool.rows[members], rules.duplicate_similarity)))
    names = names_of(pool.persons[face] for face in members[own])
    counted = members[own][pool.clarity[members[own]] >= rules.telling_clarity]
    thin = _too_thin(pool, counted, rules)
    faces = tuple(Face(pool.keys[face], rounded(far)) for face, far in zip(members, distance, strict=True))
    return Group(faces, proposed_name(names, len(own)), names, thin), others


def rounded(distance: float) -> float:
    return round(float(distance), 6)


def first_per_photo(photos: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """(m,) bool: the nearest face of each photo; of two that are as near, the first. photos (m,), distance (m,)."""
    order = np.lexsort((np.arange(len(photos)), distance, photos))
    nearest = np.ones(len(photos), bool)
    nearest[order[1:]] = photos[order[1:]] != photos[order[:-1]]
    return nearest


def _too_thin(pool: Pool, inside: np.ndarray, rules: Rules) -> str:
    """Why these faces, one of each moment and none too dim to count, are no faceset; "" if they are one."""
    photos = len(set(pool.photo[inside].tolist()))      # of each of which one face is shown
    return "" if photos >= rules.min_faces else f"{photos} faces, {rules.min_faces} are needed"


def names_of(persons: Iterable[Person]) -> dict[str, int]:
    """What Immich calls faces, the most frequent name first."""
    names = Counter(person.name for person in persons if person.name)
    return dict(sorted(names.items(), key=lambda item: (-item[1], item[0])))


def proposed_name(names: dict[str, int], faces: int) -> str:
    """The name that most of the faces carry; "" where none does. Other names stay in `names`, to be shown."""
    name, count = next(iter(names.items()), ("", 0))
    return name if count >= NAMED_FACES and count > MAJORITY * faces else ""
