"""Which photos are worth fetching, by what Immich's own embeddings say of who is on them, before any is fetched.

Of everybody who recurs, or whom the library knows, the best photos; all photos of which the backup does not tell who is
on them, because a face is too small in Immich's preview, has no embedding, or was found since; of the rest none, yet.

Words: N faces with an embedding, of photos that this listing shows; a photo is called by its asset's id.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest

import numpy as np

from ..common import terminal
from ..formats import boxes, cache, quality, vectors
from ..formats.proposal import Proposal
from ..formats.summary import SHOWN, Person
from ..immich.backup import Backup
from .state import Asset, State

UNSURE = 45         # pixels in the preview; of 60, 45, 34, 24 the embedding has a cosine of .97, .95, .89, .73 to the
                    # original's (benchmarks/backup.py --small): it may find somebody, hardly tells that it is nobody
SAME = 0.5          # overlap (IoU) from which a face of the listing is one of the backup
ONE_MOMENT = 0.95   # cosine from which two photos show one
WITNESSES = 20      # faces of each person that summary.json names, one a photo

ENOUGH = "better photos of everybody in it are fetched"
NOBODY = "nobody in it is seen again"


@dataclass(frozen=True)
class Choosing:
    """What to choose by."""

    backup: Backup
    model: cache.Model          # the recogniser of the backup
    group: Callable[[cache.Cache], Proposal]        # who is who
    names: Mapping[str, str]    # faceset -> its name, of those whose recogniser is that of the backup
    pictures: int               # photos of each person; 0: all


@dataclass(frozen=True)
class Chosen:
    """The answer."""

    faces: int
    known: int                  # of people that we have
    people: tuple[Person, ...]  # those we have first, then those seen often enough, most faces first
    photos: int                 # to be fetched
    bytes: int
    here: int                   # photos, already
    of: int                     # photos that would be here without a backup

    def lines(self) -> list[str]:
        have, seldom = sum(bool(person.faceset) for person in self.people), sum(one.seldom for one in self.people)
        known = f"{100 * self.known / self.faces:.0f} % of {have} people you have" if have else "nobody known yet"
        new = f"{len(self.people) - have - seldom:,} people you do not have yet" + (
            f" and {seldom:,} seen too seldom for a faceset" if seldom else "")
        rows = [f"  {person.who:<12} {person.faces:>6,} faces  {'-'.join(person.years):<9}  "
                f"{person.fetched:>5,} of {person.photos:>5,} photos  {person.name}" for person in self.people[:SHOWN]]
        more = [f"  and {len(self.people) - SHOWN:,} more, all of them in summary.json"] if self.people[SHOWN:] else []
        size = f"{self.bytes / 1e9:.1f} GB" if self.bytes >= 1e8 else f"{self.bytes / 1e6:.1f} MB"
        worth = f"{self.here:,} of {self.of:,} photos are here, {self.photos:,} more are worth fetching ({size})" \
            if self.here else f"{self.photos:,} photos are worth fetching ({size}) of {self.of:,}"
        return [f"{self.faces:,} faces: {known}, {new}, {worth}", *rows, *more]

    def as_json(self) -> dict[str, object]:
        return {"sentence": self.lines()[0], "people": [asdict(person) for person in self.people]}


def choose(state: State, choosing: Choosing, least: float) -> Chosen:
    """Leave those of the wanted assets for later that are not needed yet, and say who is there.

    least: pixels of the shorter side of a face in the original that make a photo wanted.
    """
    listed = {asset.id: asset for asset in state.walk("outcome IN ('wanted', 'have', 'known')")}
    faces, small = _cache(choosing, listed)
    keys, made = cache.face_keys(faces), choosing.group(faces)
    worth = dict(zip(keys, quality.worth(
        faces.faces["quality"], faces.norms, float(np.median(faces.norms)) if keys else 0).tolist(), strict=True))
    found = _people(made, choosing, faces, worth)
    each = [*([key.partition("@")[0] for key in best] for _, best in found), *_of_immich(made, faces, worth)]
    best = {photo for photos in each for photo in photos[:choosing.pictures or None]}
    groups = [*made.extend.values(), *(group.faces for group in (*made.facesets, *made.thin))]
    somebodys = {face.face for group in groups for face in group}
    torn = {face.face for face in made.ambiguous}
    told = [key in somebodys or not (tiny or key in torn) for key, tiny in zip(keys, small, strict=True)]
    unsure = _unsure(faces, np.array(told, bool), listed, least)
    wanted = {asset.id: asset for asset in listed.values() if asset.outcome == "wanted"}
    fetched = {one for one in wanted if one in best or one in unsure}
    # of equal files one is fetched, and stands for the others
    equal = {wanted[one].checksum for one in fetched if wanted[one].content}
    later = [asset for asset in wanted.values()
             if asset.id not in fetched and not (asset.content and asset.checksum in equal)]
    theirs = {photo for photos in each for photo in photos}
    with state.writing() as db:
        db.executemany("UPDATE assets SET outcome = 'later', reason = ? WHERE id = ?",
                       ((ENOUGH if asset.id in theirs else NOBODY, asset.id) for asset in later))
    left = {asset.id for asset in later}
    taken = [[key for key in best if key.partition("@")[0] not in left] for _, best in found]
    people = tuple(replace(person, fetched=len(here), witnesses=tuple(here[:WITNESSES]))
                   for (person, _), here in zip(found, taken, strict=True))
    chosen = Chosen(len(keys), sum(person.faces for person in people if person.faceset), people, len(fetched),
                    sum(wanted[one].size for one in fetched), len(listed) - len(wanted), len(listed))
    for line in chosen.lines():
        terminal.say(terminal.safe(line))
    return chosen


def _cache(choosing: Choosing, listed: Mapping[str, Asset]) -> tuple[cache.Cache, np.ndarray]:
    """The faces of the backup as a cache whose photos are assets, and (N,) whether each is small in the preview."""
    backup = choosing.backup
    photos = {number: place for place, number in enumerate(
        number for number, one in enumerate(backup.assets) if one in listed)}
    place = np.array([photos.get(number, -1) for number in range(len(backup.assets))], np.int32)
    of_face = place[backup.asset[backup.face]]
    rows = np.flatnonzero(of_face >= 0)
    assets = [listed[backup.assets[number]] for number in photos]
    frame = backup.frame[backup.face[rows]].astype(np.float32)      # (N, 6)
    sides, corners = np.tile(frame[:, :2], 2), frame[:, 2:]         # (N, 4)
    corners = np.clip(corners, 0, sides)
    sizes = np.array([(asset.width, asset.height) for asset in assets], np.float32).reshape(-1, 2)[of_face[rows]]
    whole = np.where(sizes > 0, sizes, frame[:, :2])
    meta = np.zeros(len(rows), cache.FACE)
    meta["photo"], meta["det_score"] = of_face[rows], 1
    fractions = corners / sides
    meta["box"] = fractions * np.tile(whole, 2)
    meta["face_short"] = _shorter(meta["box"])
    meta["quality"] = np.clip(meta["face_short"] / quality.FULL_SIZE, 0, 1)
    embeddings = backup.embeddings if len(rows) == len(backup.embeddings) else backup.embeddings[rows]
    norms = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))
    embeddings /= norms[:, None]
    faces = cache.Cache(choosing.model, [cache.Photo("", asset.id, "faces", taken_at=asset.taken) for asset in assets],
                        meta, embeddings, norms)
    ids = [backup.person[face] for face in backup.face[rows].tolist()]
    return replace(faces, persons=_persons(faces, fractions, ids, listed, backup.people)), _shorter(corners) < UNSURE


def _persons(faces: cache.Cache, fractions: np.ndarray, ids: list[str], listed: Mapping[str, Asset],
             names: Mapping[str, str]) -> list[cache.Person]:
    """Whom Immich says that each face is: by the listing, which is newer than the backup; `ids` and `names` are what
    the backup says of a face that is not listed, since it is elsewhere by now, or in an edited photo.

    fractions: (N, 4) the boxes in fractions of the photos, as the listing has them.
    """
    now = dict(names)
    for one, rows in cache.rows_of(faces).items():
        shown = json.loads(listed[one].faces)
        now.update((person, name) for *_, person, name in shown)
        if shown:
            same = boxes.overlap(np.array([face[:4] for face in shown], np.float32)[:, None], fractions[rows])
            for row, best, overlap in zip(rows, same.argmax(axis=0).tolist(), same.max(axis=0).tolist(), strict=True):
                ids[row] = shown[best][4] if overlap >= SAME else ids[row]
    return [cache.Person(one, now.get(one, "")) for one in ids]


def _shorter(box: np.ndarray) -> np.ndarray:
    """(N, 4) -> (N,) the shorter side."""
    return np.minimum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])


def _of_immich(made: Proposal, faces: cache.Cache, worth: Mapping[str, float]) -> list[list[str]]:
    """The photos of each person of Immich's, best first, with faces that are nobody's here: Immich may be right."""
    person = dict(zip(cache.face_keys(faces), faces.persons, strict=True))
    found: dict[str, list[str]] = {}
    for key in sorted((face.face for face in made.leftover), key=lambda key: -worth[key]):
        if person[key].id:
            found.setdefault(person[key].id, []).append(key.partition("@")[0])
    return list(found.values())


def _people(made: Proposal, choosing: Choosing, faces: cache.Cache,
            worth: Mapping[str, float]) -> list[tuple[Person, list[str]]]:
    """Everybody who is worth fetching, in the order of `Chosen`, each with a face of each photo, best first."""
    row = {key: number for number, key in enumerate(cache.face_keys(faces))}
    people = []
    groups = [(folder, choosing.names.get(folder, ""), known, False) for folder, known in made.extend.items()
              if not folder.startswith("_")]
    groups += [("", group.proposed_name, group.faces, bool(group.reason)) for group in (*made.facesets, *made.thin)]
    for folder, name, members, seldom in sorted(groups, key=lambda group: (not group[0], group[3], -len(group[2]))):
        keys = sorted((face.face for face in members), key=lambda key: -worth[key])
        rows = [row[key] for key in keys]
        photos = [faces.photos[photo] for photo in faces.faces["photo"][rows]]
        order = in_turn([photo.taken_at[:4] for photo in photos],
                        set(vectors.again(faces.embeddings[rows], ONE_MOMENT)))
        best = dict[str, str]()     # photo -> face
        for place in order:
            best.setdefault(photos[place].sha256, keys[place])
        years = sorted({photo.taken_at[:4] for photo in photos})
        [(immich, _)] = Counter(faces.persons[at] for at in rows if faces.persons[at].id).most_common(1) or [
            (cache.Person(), 0)]
        people.append((Person(folder, name or (immich.name if folder else ""), len(rows),
                              tuple(sorted({years[0], years[-1]})), 0, len(best), immich.id, seldom=seldom),
                       [*best.values()]))
    return people


def in_turn(years: Sequence[str], again: Iterable[int]) -> list[int]:
    """In which order to take photos, given best first: by turns the best of those left, and the best of a year that has
    had fewest; what shows a moment `again` comes last. The first n are the same whatever n is.
    """
    last = set(again)
    had: dict[str, int] = {}
    turn = []       # how many better ones its year has
    for place, year in enumerate(years):
        if place not in last:
            had[year] = had.get(year, 0) + 1
        turn.append(had.get(year, 0))
    best = sorted(range(len(years)), key=lambda place: (place in last, place))
    spread = sorted(best, key=lambda place: (place in last, turn[place], place))
    return list(dict.fromkeys(place for pair in zip_longest(best, spread) for place in pair))


def _unsure(faces: cache.Cache, told: np.ndarray, listed: Mapping[str, Asset], least: float) -> set[str]:
    """Wanted photos with a face that is big enough, but of which the backup does not tell whose it is."""
    rows_of = cache.rows_of(faces)
    return {asset.id for asset in listed.values() if asset.outcome == "wanted"
            and not _tells(asset, faces.faces["box"], rows_of.get(asset.id, []), told, least)}


def _tells(asset: Asset, box: np.ndarray, rows: Sequence[int], told: np.ndarray, least: float) -> bool:
    """Whether each big face of an asset is one of `rows`, and told; of an edited photo no boxes are listed."""
    size = np.array([asset.width, asset.height] * 2, np.float32)
    shown = np.array([face[:4] for face in json.loads(asset.faces)], np.float32).reshape(-1, 4) * size
    if not rows or not size.all():
        return False
    if not len(shown):
        return bool(told[rows].all())
    same = boxes.overlap(shown[_shorter(shown) >= least][:, None], box[rows]) >= SAME     # (shown, rows)
    return bool((same & told[rows]).any(axis=1).all())
