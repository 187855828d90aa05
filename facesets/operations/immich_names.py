"""immich-names: the names of facesets, given to people in Immich whom nobody named there; and an album of each; opt in.

Who is who there is told by boxes: of a face that Immich found in a photo, and of one that we have of it. So it holds
after face recognition was reset there, once the stage has seen the new people. A face that no faceset has counts for
the faceset that its embedding is near to.

What is written there stands in the faceset's manifest before it is sent, by the user's label, so that the same command
goes on after a kill, and `undo` knows all that may have been done:
    in_immich   {user: {"people": {person id: [name before, name given]}, "album": id, "" until Immich has told it,
                        "sign": what tells it meanwhile, in its description, "assets": [ids in it, by us],
                        "out": [ids that leave it, until they have]}}
An album that no such note tells of is somebody else's: another library's, or that of one which is lost.
"""

import secrets
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..cluster.known import match
from ..common import terminal
from ..embed.parts import name_persons
from ..formats import cache
from ..formats.queue import Queue
from ..immich.writing import Refused, Writer
from ..library import folder as folders
from ..library import journal
from ..library.run import Run, changing
from ..library.store import Library, Manifest

FEWEST = 2          # faces that must agree; one may be a mistake of either side
CLEAR = 2 / 3       # of a person's faces that have a faceset, those that must have this name; else it is a mixture
GIVES = "gets the name"
Counts = Counter[tuple[str, str]]       # folder, person id


@dataclass
class Row:
    """One line of the table: a faceset, and the person of Immich that most of its faces belong to."""

    folder: str
    name: str
    person: str = ""
    faces: int = 0      # of the faceset that are this person there
    of: int = 0         # of the faceset that are anybody there
    people: int = 0     # that they are there
    verdict: str = "nobody there has its faces"

    def line(self, url: str) -> str:
        more = f", the rest of {self.people - 1} more" if self.people > 1 else ""
        there = f"; {self.faces} of {self.of} faces{more}: {url}/people/{self.person}" if self.person else ""
        return f"{self.folder}  {self.name}  {self.verdict}{there}"


@dataclass
class Album:
    """What the album of a faceset should hold, and what we know to be in it."""

    folder: str
    name: str
    id: str             # "" for none, or one whose making was not answered
    sign: str
    wanted: list[str]
    have: list[str]

    @property
    def out(self) -> list[str]:
        return sorted({*self.have} - {*self.wanted})

    def line(self) -> str:
        more = len({*self.wanted} - {*self.have})
        return (f"{self.folder}  {self.name}  {'album' if self.id else 'new album'}: {more} photos in, "
                f"{len(self.out)} out")


@dataclass
class Plan:
    rows: list[Row]
    albums: list[Album]
    given: int = 0
    noted: bool = False     # as a run of the library
    refused: int = 0    # photos that Immich did not take into an album
    failed: list[str] = field(default_factory=list)     # what Immich refused as a whole, in words

    def summary(self, user: str, applied: bool) -> str:
        if not applied:
            asked = len({row.person for row in self.rows if row.verdict == GIVES})
            return f"{asked} people of {user} would get a name; nothing was sent, --apply does it"
        refused = f"; {self.refused} photos were not taken into albums" if self.refused else ""
        return (f"{self.given} people of {user} got a name{refused}"
                + ("; sort_faces.py undo takes it back" if self.noted else ""))


def counted(library: Library, caches: Iterable[cache.Cache], queue: Queue, distance: float, margin: float) -> Counts:
    """How many faces of each faceset (by folder, "" for nobody's) Immich gives to each of its people."""
    everybody = library.everybody()
    holds = {key: item.folder for item in everybody for key in item.face_keys}
    centroids = np.array([item.centroid for item in everybody])
    shown, seen, found = queue.faces, set[str](), Counts()
    for faces in caches if everybody else ():
        name_persons(faces, shown)
        rows = [row for row, photo in enumerate(faces.faces["photo"].tolist())
                if faces.persons[row].id and faces.photos[photo].sha256 in shown]
        keys = [cache.face_key(faces.photos[face["photo"]].sha256, face["box"]) for face in faces.faces[rows]]
        near = match(faces.embeddings[rows], centroids, {
            place: [number for number, item in enumerate(everybody) if key in item.not_this]
            for place, key in enumerate(keys)})
        certain = near.certain(distance, margin)
        for place, (row, key) in enumerate(zip(rows, keys, strict=True)):
            if key not in seen:
                folder = holds.get(key) or (everybody[near.nearest[place]].folder if certain[place] else "")
                found[folder, faces.persons[row].id] += 1
        seen.update(keys)
    return found


def propose(manifest: Manifest, found: Counts, writer: Writer) -> list[Row]:
    """What to name whom, one row a faceset with a name."""
    names = {entry.folder: entry.name or entry.folder for entry in manifest.entries}
    people: dict[str, dict[str, int]] = {}      # folder -> person -> faces
    facesets: dict[str, Counter[str]] = {}      # person -> name of a faceset -> faces
    for (folder, person), count in found.items():
        people.setdefault(folder, {})[person] = count
        if folder:
            facesets.setdefault(person, Counter())[_key(names[folder])] += count
    rows = []
    for entry in (entry for entry in manifest.facesets if entry.name):
        row, theirs = Row(entry.folder, entry.name), people.get(entry.folder)
        rows.append(row)
        if not theirs:
            continue
        row.of, row.people = sum(theirs.values()), len(theirs)
        row.person, row.faces = min(theirs.items(), key=lambda item: (-item[1], item[0]))
        shown = facesets[row.person]
        if row.faces < FEWEST:
            row.verdict = "unclear, one face is too few"
        elif shown[_key(row.name)] < CLEAR * shown.total():
            others = sorted(name for folder, name in names.items()
                            if row.person in people.get(folder, ()) and _key(name) != _key(row.name))
            row.verdict = f"unclear, that person there is also {', '.join(others[:3])}"
        else:
            row.verdict = _verdict(writer.name_of(row.person), row.name)
    return rows


def albums(library: Library, user: str, queue: Queue) -> list[Album]:
    """The albums that there should be, and those that we made; what is aside or has no name wants no photo."""
    assets = {known.sha256: known.asset_id for known in queue.known}
    assets |= {entry.sha256: entry.asset_id for entry in queue.entries}
    manifest, made = library.manifest(), []
    named = {entry.folder for entry in manifest.facesets if entry.name}
    for entry in (entry for entry in manifest.entries if (library.root / entry.folder).exists()):
        faceset = library.record(entry.folder)
        mine = faceset.in_immich.get(user, {})
        wanted = {assets[item["sha256"]] for item in (*faceset.faces, *faceset.left_out)
                  if item["sha256"] in assets and entry.folder in named}
        if wanted or mine.get("assets") or mine.get("out"):
            made.append(Album(entry.folder, entry.name, mine.get("album", ""), mine.get("sign", ""), sorted(wanted),
                              [*mine.get("assets", []), *mine.get("out", [])]))
    return made


def apply(library: Library, user: str, make: Callable[[], Plan], writer: Writer, tell: Callable[[Plan], int]) -> int:
    """Carry out what `make` plans, as one run of the library that `undo` takes back: all of it is noted before
    anything is sent.
    """
    def finish(run: Run) -> None:
        plan.noted = bool(run.facesets)
        items: list[Row | Album] = [*plan.rows, *plan.albums]
        for item in items:
            try:
                carry_out(item)
            except Refused as error:    # somebody deleted it there a moment ago
                plan.failed.append(f"{item.folder}  {item.name}: {error}; the same command tries again")
        status.append(tell(plan))

    def carry_out(item: Row | Album) -> None:
        if isinstance(item, Album):
            plan.refused += _fill(writer, item, user)
            _settle(library, item.folder, user, item.id)
            return
        if item.verdict == GIVES:       # somebody may have named the person meanwhile
            item.verdict = _verdict(writer.name_of(item.person), item.name)
        if item.verdict == GIVES:
            writer.rename(item.person, item.name)
            item.verdict = "got the name"
            plan.given += 1
    status: list[int] = []
    with changing(library, "immich-names", tell=finish) as run:
        plan = make()
        for row in plan.rows:
            if row.verdict == GIVES:
                _note(run, row.folder, user, people={row.person: ["", row.name]})
        there = writer.albums() if plan.albums else {}
        for album in plan.albums:
            noted, album.id = album.id, _ours(there, album.id, album.sign)
            if noted != album.id if noted else not album.sign:      # somebody deleted it there, or none yet
                noted, album.have, album.sign = "", [], secrets.token_hex(8) if album.wanted else ""
            _note(run, album.folder, user, album=noted, sign=album.sign, assets=album.wanted, out=album.out)
    return status[0]


def _fill(writer: Writer, album: Album, user: str) -> int:
    """Let an album hold what it should, and give it its id; how many photos Immich refused."""
    if not album.id and not album.wanted:
        return 0
    about = f"{album.folder} of {user}, by face-sets, {album.sign}"
    album.id = album.id or writer.make_album(album.name, about)
    writer.remove(album.id, album.out)
    refused = writer.add(album.id, album.wanted)
    if album.wanted and refused == len(album.wanted):       # nothing of the last stage is there any more
        writer.delete_if_empty(album.id)
    return refused


def _settle(library: Library, folder: str, user: str, album: str) -> None:
    """What was noted of an album is done: keep its id, which holds whatever becomes of its description."""
    record = library.record(folder)
    mine = record.in_immich.get(user, {})
    if mine.get("album") != album or mine.get("out"):
        record.in_immich[user] = {**mine, "album": album, "out": []}
        folders.write_record(library.root / folder / folders.MANIFEST, record)
        journal.wrote(library.root, f"{folder}/{folders.MANIFEST}")


def _ours(there: dict[str, str], album: str, sign: str) -> str:
    """The id of an album of ours that is there: as it was noted or, where its making was not answered, by its sign."""
    if album:
        return album if album in there else ""
    return next((one for one, about in there.items() if sign and sign in about), "")


def take_back(root: Path, last: Path, opened: Callable[[str, bool], Writer]) -> list[str]:
    """Take back in Immich what the run in `last` wrote there; what stays, in words. It can be repeated.

    `opened` gives a user's writer, or refuses, before anything is written: one that may change albums, if need be.
    """
    said: list[str] = []
    changed: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = []     # folder, user, before and now
    for path in sorted((last / "old").rglob(f"*faceset_*/{folders.MANIFEST}")):
        unit = path.parent.relative_to(last / "old").as_posix()
        if not (root / unit / folders.MANIFEST).exists():
            said.append(f"{unit} was removed by hand; what it gave to Immich stays there")
            continue
        before = folders.read_record(path).in_immich
        now = folders.read_record(root / unit / folders.MANIFEST).in_immich
        changed += [(unit, user, before.get(user, {}), now[user]) for user in now if now[user] != before.get(user, {})]
    with_albums = {user for _, user, was, now in changed if _album_changed(was, now)}
    writers = {user: opened(user, user in with_albums) for user in sorted({user for _, user, _, _ in changed})}
    for unit, user, was, now in changed:
        back = (*_names_back(writers[user], was, now), *_album_back(writers[user], was, now))
        said += [f"{unit}: {line}" for line in back]
    return said


def _names_back(writer: Writer, was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A name that somebody changed since stays."""
    said = []
    for person, (old, given) in now.get("people", {}).items():
        if was.get("people", {}).get(person) == [old, given]:
            continue
        there = writer.name_of(person)
        if there == given:
            writer.rename(person, old)
        elif there is None:
            said.append(f"that person is not in Immich any more, so {terminal.name(given)} is not taken back there")
        elif there:
            said.append(f"Immich calls that person {terminal.name(there)} by now, and that stays")
    return said


def _album_changed(was: dict[str, Any], now: dict[str, Any]) -> bool:
    ids, earlier = set(now.get("assets", ())), set(was.get("assets", ()))
    return _made(now) != "" and (_made(was) != _made(now) or ids != earlier)


def _made(note: dict[str, Any]) -> str:
    """What tells an album that was made from one that was made in its place."""
    return str(note.get("sign") or note.get("album", ""))


def _album_back(writer: Writer, was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """An album that the run made goes, unless it holds more than we put there."""
    if not _album_changed(was, now):
        return []
    album = _ours(writer.albums(), now.get("album", ""), now.get("sign", ""))
    if not album:
        return ["its album in Immich is gone"] if now.get("album") else []
    same = _made(was) == _made(now)
    ids, earlier = set(now["assets"]), set(was["assets"] if same else ())
    writer.remove(album, sorted(ids - earlier))
    writer.add(album, sorted(earlier - ids))
    left = 0 if same else writer.delete_if_empty(album)
    return [f"its album in Immich holds {left} other photos, and stays"] if left else []


def _verdict(there: str | None, name: str) -> str:
    if there is None:
        return "not there any more, stage again"
    if not there:
        return GIVES
    return "has the name" if _key(there) == _key(name) else f"is called {terminal.name(there)} there, and stays so"


def _key(name: str) -> str:
    """Equal for names that a person takes for the same."""
    return unicodedata.normalize("NFC", name).casefold().strip()


def _note(run: Run, folder: str, user: str, **written: Any) -> None:
    """Keep in the faceset's manifest what we write to Immich, if it does not say so yet."""
    record = run.record(folder)
    mine = record.in_immich.get(user, {})
    if people := written.get("people"):
        written["people"] = {**mine.get("people", {}), **people}
    if {**mine, **written} != mine:
        record.in_immich[user] = {**mine, **written}
        run.write_record(record)
        run.enter(record)
        run.count("noted")
