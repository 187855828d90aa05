"""Faces and photos that made it into no faceset, by reason, with examples to look at."""

from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..formats import cache
from . import sheets
from .runs import Work
from .shelf import Shelf, without_numbers

EXAMPLES = 10       # of a reason
NAMES = 12          # files named of those that could not be read
TITLES = {"photo": "Photos that could not be read", "too poor to tell": "Faces too poor to tell whose they are",
          "seen too seldom for a faceset": "People seen too seldom for a faceset",
          "left out of a faceset": "Left out of a faceset", "of nobody in particular": "Seen once or twice"}
UNREADABLE = "could not be read"


@dataclass
class Reason:
    words: str
    where: str              # one of TITLES
    count: int = 0
    keys: list[str] = field(default_factory=list)       # face keys of examples
    files: list[str] = field(default_factory=list)      # names of photos, where there is no face to show
    pictures: list[str] = field(default_factory=list)   # examples that could be cut out


@dataclass(frozen=True)
class Torn:
    """A face between two people."""

    key: str
    distance: float
    candidates: tuple[str, ...]     # folders


def reasons(shelf: Shelf, work: Work) -> list[Reason]:
    """Every reason, the most frequent first within each kind; examples are keys, not yet pictures."""
    found: dict[tuple[str, str], Reason] = {}

    def add(where: str, words: str, keys: Iterable[str], count: int | None = None) -> None:
        reason = found.setdefault((where, words), Reason(words, where))
        listed = list(keys)
        reason.count += len(listed) if count is None else count
        reason.keys += listed[:EXAMPLES - len(reason.keys)]

    for made in work.proposals.values():
        by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
        for face in made.rejected:
            by_reason["too poor to tell", face.reason].append(face.face)
        for face in made.leftover:
            by_reason["of nobody in particular", face.reason].append(face.face)
        for group in made.thin:
            by_reason["seen too seldom for a faceset", without_numbers(group.reason)] += [
                face.face for face in group.faces]
        for (where, words), keys in by_reason.items():
            add(where, words, keys)
    for item in shelf.sets:
        for words, count in item.left_out.items():
            add("left out of a faceset", words, item.left_keys.get(words, ()), count)
    seen: set[str] = set()      # a photo can be in several caches
    for store in work.caches.values():
        for photo in store.photos:
            if photo.status == "error" and photo.sha256 not in seen:
                seen.add(photo.sha256)
                add("photo", photo.reason or UNREADABLE, (), 1)
                files = found["photo", photo.reason or UNREADABLE].files
                if len(files) < NAMES:
                    files.append(Path(photo.path).name)
    return sorted(found.values(), key=lambda reason: (reason.where, -reason.count, reason.words))


def cuttings(keys: Iterable[str], rows: dict[str, tuple[cache.Cache, int]]) -> dict[str, sheets.Cutting]:
    """What to cut out for the faces `keys`; those that no cache holds any more are left out."""
    found = {}
    for key in keys:
        if key in rows:
            item, row = rows[key]
            face = item.faces[row]
            x1, y1, x2, y2 = (float(side) for side in face["box"])
            photo = item.photos[face["photo"]]
            found[key] = sheets.cutting(photo.path, key, (x1, y1, x2, y2), photo.turn)
    return found


def torn(work: Work, folders: Container[str], most: int) -> tuple[list[Torn], int]:
    """Faces between two people of whom one of `folders` at least is left, nearest first, and how many there are in all.

    A face that is no question (its person has a nearer one in the same photo) is ambiguous too, and names no folders.
    """
    found = {}
    for made in work.proposals.values():
        for face in made.ambiguous:
            if candidates := tuple(folder for folder in face.reason.split(" or ") if folder in folders):
                found[face.face] = Torn(face.face, face.distance, candidates)
    nearest = sorted(found.values(), key=lambda face: (face.distance, face.key))
    return nearest[:most], len(nearest)
