"""Who is who in hand-sorted folders, one a person.

A folder's own person is in most of its photos; of several, who is nobody elsewhere and in clearly more than the next.
Bystanders go in two passes, around a rough centroid and around the one that is left. A folder that does not tell whose
it is is mixed: each of its faces goes to the identity it is near to, be it another folder or a faceset.
Words: n faces of one folder, N of all, D dimensions; `cos-dist` = 1 - cosine similarity.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..cluster.groups import first_per_photo
from ..cluster.known import match
from ..cluster.linkage import average_linkage
from ..common import terminal
from ..common.errors import Failure
from ..formats import cache
from ..formats.faceset import Faceset
from ..formats.proposal import Face, Group
from ..formats.queue import Entry, Queue
from ..formats.vectors import unit_mean
from .own import folders_in

MAJORITY = 0.5      # share of a folder's photos that its person must be in; else the folder is mixed
OFTENER = 0.2       # and in so much more of them than the next; less is chance, since not every face is found
SAME = 0.5          # of `fine`: centroids so near are one person's, while siblings are farther


@dataclass
class Person:
    """Whose a folder is."""

    name: str
    rows: np.ndarray        # (n,) in the cache
    centroid: np.ndarray    # (D,)
    keys: frozenset[str]
    faceset: str = ""       # which is that person already, "" for a new one
    more: list[Face] = field(default_factory=list)      # of mixed folders


@dataclass(frozen=True)
class _Frequent:
    """Somebody who is in most photos of a folder."""

    rows: np.ndarray        # in the cache
    centroid: np.ndarray    # (D,)
    share: float            # of its photos
    alone: float            # share of them where nobody else is


@dataclass
class Imported:
    """What the folders say."""

    same: float                                                     # cos-dist of centroids that are one person's
    people: list[Person] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)               # new identities, one per folder
    extend: dict[str, list[Face]] = field(default_factory=dict)     # faces of facesets that exist
    bystanders: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def propose(faces: cache.Cache, queue: Queue, root: Path, known: Sequence[Faceset], rough: float,
            fine: float) -> Imported:
    """Who is in the folders right below `root`. `rough` and `fine` are the cos-dists of the two passes.

    `queue` lists what lies in the folders now; the cache may know the same photos by older paths.
    """
    by_folder = rows_by_folder(faces, queue, root)
    if not by_folder:
        raise Failure(f"there is no folder with photos in {root}; one for each person is wanted, so name the folder "
                      "that they lie in")
    found = Imported(SAME * fine, notes=_without_a_face(by_folder, queue, root))
    by_folder = {name: rows for name, rows in by_folder.items() if len(rows)}
    keys = np.array(cache.face_keys(faces))
    whose = _whose(by_folder, faces, keys, known, (rough, fine), found)
    found.people = _each_once([_person_of(name, by_folder[name], faces, keys, person, (rough, fine))
                               for name, person in whose.items() if len(person)], found)
    _find_facesets(found, known, fine)
    mixed = {name: by_folder[name] for name, person in whose.items() if not len(person)}
    taken = _share_out(mixed, faces, keys, known, fine, found)
    for person in found.people:
        members = [Face(keys[row], round(float(1 - faces.embeddings[row] @ person.centroid), 4)) for row in person.rows]
        members = sorted([*members, *person.more], key=lambda face: (face.distance, face.face))
        if person.faceset:
            found.extend.setdefault(person.faceset, []).extend(members)
        else:
            found.groups.append(Group(tuple(members), proposed_name=person.name, folder=str(root / person.name)))
    looked_at = [*mixed.values(), *(by_folder[person.name] for person in found.people)]
    found.bystanders = {str(key) for rows in looked_at for key in keys[rows]} - taken
    return found


def rows_by_folder(faces: cache.Cache, queue: Queue, root: Path) -> dict[str, np.ndarray]:
    """Name of each folder right below `root` -> rows of the faces of its photos, whatever path brought them first."""
    of_photo, rows = cache.rows_of(faces), dict[str, list[int]]()
    for entry in queue.entries:
        for name in _folders_of(entry, root):
            rows.setdefault(name, []).extend(of_photo.get(entry.sha256, ()))
    return {name: np.array(sorted(found), np.int64) for name, found in sorted(rows.items())}


def _folders_of(entry: Entry, root: Path) -> set[str]:
    """The folders right below `root` that a photo lies in."""
    places = [Path(path).relative_to(root).parts for path in (entry.path, *(alias.path for alias in entry.aliases))]
    return {place[0] for place in places if len(place) > 1}


def otherwise(item: Faceset | Person, name: str) -> bool:
    """Whether a person calls it by another name."""
    return bool(item.name) and item.name.casefold() != name.casefold()


def apart(one: Faceset | Person | _Frequent, other: Faceset | Person | _Frequent) -> float:
    return float(1 - one.centroid @ other.centroid)


def _without_a_face(by_folder: Mapping[str, np.ndarray], queue: Queue, root: Path) -> list[str]:
    """What of `root` says nothing of anybody."""
    loose = sum(not _folders_of(entry, root) for entry in queue.entries)
    return [*([f"{terminal.many(loose, 'photo')} right in {root} left out: a photo's folder says whose it is"]
              if loose else []),
            *(f"{name}: there is no photo in it" for name in folders_in(root) if name not in by_folder),
            *(f"{name}: no face was found in its photos" for name, rows in by_folder.items() if not len(rows))]


def _whose(by_folder: Mapping[str, np.ndarray], faces: cache.Cache, keys: np.ndarray, known: Sequence[Faceset],
           limits: tuple[float, float], found: Imported) -> dict[str, np.ndarray]:
    """Folder -> rows of its person, as far as the folder tells by itself; none where it does not tell whose it is.

    Who is alone in most photos is its person. Those folders tell the others, and these each other, the ones first
    whose people are alone most often; but one whose single frequent person has a folder already tells of nobody.
    """
    rough, fine = limits
    asked = {name: _frequent(rows, faces, rough) for name, rows in by_folder.items()}
    alone = {name: max((one.alone for one in who), default=0.0) for name, who in asked.items()}
    whose = {name: asked[name][0] for name in asked if alone[name] > MAJORITY}      # nobody else is in most of them
    sure, before = list(whose.values()), -1
    while len(whose) > before:
        before = len(whose)
        for name in sorted(asked.keys() - whose, key=lambda name: (-alone[name], name)):
            others, named = sure, list[Faceset]()
            if len(asked[name]) > 1:
                own = set(keys[by_folder[name]].tolist())
                others = list(whose.values())
                named = [item for item in known if otherwise(item, name) and not _made_of(own, item)]
            if one := _left(asked[name], others, named, found.same, fine):
                whose[name] = one
    found.notes += [f"{name} does not say whose it is: {len(asked[name])} are in most of its photos, and known as "
                    "somebody else or about as often there" for name in asked if asked[name] and name not in whose]
    return {name: whose[name].rows if name in whose else np.zeros(0, np.int64) for name in asked}


def _only(who: Sequence[_Frequent]) -> _Frequent | None:
    """Who is in clearly more photos than the next, or else alone in clearly more; None where that is nobody."""
    first = max((one.share for one in who), default=0.0)
    often = [one for one in who if one.share >= first - OFTENER]
    first = max((one.alone for one in often), default=0.0)
    often = [one for one in often if one.alone >= first - OFTENER]
    return often[0] if len(often) == 1 else None


def _left(who: Sequence[_Frequent], others: Sequence[_Frequent], named: Sequence[Faceset], same: float,
          fine: float) -> _Frequent | None:
    """Whose a folder is, of those in it who are neither other folders' people nor facesets with another name.

    None where it may be one of these too, as of another year: who is nearest to them, and seldom alone here; or where
    somebody with a name is in clearly more photos, whose faceset may be called otherwise since.
    """
    here = [one for one in who if all(apart(one, other) > same for other in others)]
    one = _only([one for one in here if all(apart(one, item) > same for item in named)])
    if one is None or len(who) == 1:
        return one
    elsewhere: list[_Frequent | Faceset] = [*others, *named]
    may_be = any(apart(one, other) <= min(fine, *(apart(it, other) for it in who)) for other in elsewhere)
    oftener = any(it.share > one.share + OFTENER for it in here)
    return None if oftener or (may_be and one.alone <= OFTENER) else one


def _made_of(keys: Set[str], item: Faceset) -> bool:
    """Whether it is what an earlier import made of faces of a folder, whatever it is called by now."""
    return len(keys & item.face_keys) > MAJORITY * len(item.face_keys)


def _frequent(rows: np.ndarray, faces: cache.Cache, rough: float) -> list[_Frequent]:
    """Who is in most photos of a folder."""
    photos = faces.faces["photo"][rows]
    labels = average_linkage(faces.embeddings[rows], rough)
    single, count = np.bincount(photos)[photos] == 1, len(np.unique(photos))
    who = [labels == label for label in np.unique(labels)]
    who = [his for his in who if len(np.unique(photos[his])) > MAJORITY * count]
    return [_Frequent(rows[his], unit_mean(faces.embeddings[rows[his]]), len(np.unique(photos[his])) / count,
                      single[his].sum() / count) for his in who]


def _person_of(name: str, rows: np.ndarray, faces: cache.Cache, keys: np.ndarray, person: np.ndarray,
               limits: tuple[float, float]) -> Person:
    """Whose a folder is, all of its faces; `person`: rows that surely are."""
    photos = faces.faces["photo"][rows]
    for limit in limits:
        distance = 1 - faces.embeddings[rows] @ unit_mean(faces.embeddings[person])
        near = np.flatnonzero(distance <= limit)
        near = near[first_per_photo(photos[near], distance[near])]      # of two in a photo the other is somebody else
        person = rows[near] if len(near) else person
    return Person(name, person, unit_mean(faces.embeddings[person]), frozenset(keys[person].tolist()))


def _each_once(people: Sequence[Person], found: Imported) -> list[Person]:
    """Those without whose faces are all in an earlier folder too: one person has one name."""
    first: dict[str, str] = {}      # face key -> the first folder that has it as its person's
    kept = []
    for person in people:
        whose = Counter(first.setdefault(key, person.name) for key in sorted(person.keys))
        if person.name in whose:
            kept.append(person)
        else:
            found.notes.append(f"{person.name} holds only faces that {whose.most_common(1)[0][0]} holds too, so it is "
                               "left out")
    return kept


def _find_facesets(found: Imported, known: Sequence[Faceset], fine: float) -> None:
    """Which faceset each person is already; of two folders, which are two people, the nearer one's.

    One of its name; else one that is made of the folder's own faces, whatever it is called by now; one that a person
    dropped too, which stays so. Else the nearest."""
    claims = []
    for person in found.people:
        near = []
        for item in known:
            hers = _made_of(person.keys, item)
            if hers or (apart(item, person) <= fine and not item.dropped):
                near.append((item.name.casefold() != person.name.casefold(), not hers, apart(item, person), item))
        if near:
            _, not_hers, distance, item = min(near, key=lambda claim: claim[:3])
            claims.append((otherwise(item, person.name), not_hers, distance, person, item))
    taken = set()
    for other_name, not_hers, distance, person, item in sorted(claims, key=lambda claim: (*claim[:3], claim[3].name)):
        if item.folder in taken or (other_name and not_hers):
            whose = ("is another folder's" if item.folder in taken else f"is called {item.name}; if it is the same "
                     f"person: sort_faces.py name {item.folder} {person.name!r}")
            found.notes.append(f"{person.name} looks like {item.folder} ({distance:.2f}), which {whose}")
            continue
        person.faceset = item.folder
        taken.add(item.folder)
        if other_name or item.dropped:
            found.notes.append(f"{person.name} is {item.folder}, " + (
                "which was dropped and stays so" if item.dropped else f"which is called {item.name}"))


def _share_out(mixed: Mapping[str, np.ndarray], faces: cache.Cache, keys: np.ndarray, known: Sequence[Faceset],
               fine: float, found: Imported) -> set[str]:
    """Faces of mixed folders go to the nearest identity within `fine`; those that do."""
    identities: list[Person | Faceset] = [*found.people, *known]
    centroids = np.array([one.centroid for one in identities], np.float32).reshape(-1, faces.model.dimension)
    gone = set[str]().union(*(person.keys for person in found.people))
    for name, rows in mixed.items():
        rows = np.array([row for row in rows if keys[row] not in gone], np.int64)
        nearest = match(faces.embeddings[rows], centroids)
        near = np.flatnonzero(nearest.distance <= fine)
        for at in near:
            one = identities[nearest.nearest[at]]
            face = Face(str(keys[rows[at]]), round(float(nearest.distance[at]), 4))
            gone.add(face.face)
            (one.more if isinstance(one, Person) else found.extend.setdefault(one.folder, [])).append(face)
        if len(rows):
            left = ", the others to nobody" if len(near) < len(rows) else ""
            found.notes.append(f"{name} is mixed: {len(near)} of its {terminal.many(len(rows), 'face')} went to whom "
                               f"they are near to{left}")
    return gone
