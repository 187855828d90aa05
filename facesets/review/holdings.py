"""The library as the review reads it, and what carries its answers out: each a run that `undo` takes back."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..common import terminal
from ..common.errors import Failure
from ..export.draft import Options
from ..export.run import changing
from ..formats import cache
from ..formats.cache import short_key
from ..formats.faceset import FACES, read_member
from ..formats.proposal import Proposal
from ..formats.queue import Queue
from ..library import folder as folders
from ..library.folder import Record
from ..library.journal import MANIFEST
from ..library.members import Index
from ..library.run import Run
from ..library.store import CANONICAL, NOBODY, Library
from ..operations import consolidate, edit
from .answers import FACESETS, Answer
from .people import NEW, Loose, Person
from .questions import Books

KEYS = ("out", "seen", "faces", "group")        # lists of faces in an answer
VERBS = {"right": "reviewed", "leave": "reviewed", "merge": "consolidate"}      # of an answer, where they differ

@dataclass(frozen=True)
class Face:
    """What can be shown of a face."""

    key: str
    photo: str                                  # path
    box: tuple[float, ...]
    turn: int = 0
    picture: str = ""                           # of its faceset, for a photo that cannot be read now
    taken_at: str = ""
    user: str = ""
    asset_id: str = ""
    why: str = ""                               # it is where it is


class Holdings:
    def __init__(self, library: Library, caches: Sequence[cache.Cache], proposals: Iterable[Proposal],
                 queues: Iterable[Queue], options: Options) -> None:
        self.library, self.options = library, options
        self.index, self.proposals = Index(caches), list(proposals)
        self.faces: dict[str, Face] = {}
        self.photos: dict[str, str] = {}            # face -> SHA-256
        self._known: tuple[int, ...] = ()
        entries = [(queue.server, entry) for queue in queues for entry in queue.entries]
        self.names = {entry.sha256: entry.name for _, entry in entries}
        self.servers = {entry.asset_id: server for server, entry in entries if entry.asset_id}

    def changed(self) -> bool:
        """Whether somebody else changed the library since it was read."""
        return self._lies() != self._known

    def _lies(self) -> tuple[int, ...]:
        """What tells the library as it lies from another state of it."""
        try:
            found = os.stat(self.library.root / MANIFEST)
        except FileNotFoundError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def within_reach(self) -> None:
        """Raises Paused where the library is not there for now."""
        self.library.within_reach()

    def read(self) -> Books:
        self.within_reach()
        lies = self._lies()
        manifest = self.library.manifest()
        people = {entry.folder: self._person(entry, manifest.reviewed.get(entry.folder, ()))
                  for entry in manifest.facesets if (self.library.root / entry.folder / FACES).exists()}
        two = frozenset((one, other) for one, other in manifest.two_people)
        books = Books({folder: person for folder, person in people.items() if person.faces},
                      self._loose(set(manifest.reviewed.get(NOBODY, ()))), two, manifest.known_distance)
        self._known = lies
        return books

    def whole(self, answer: Answer) -> Answer:
        """The answer with all that is needed to carry it out another day: face keys instead of their short ones."""
        return {name: [self.faces[face].key for face in value] if name in KEYS else value
                for name, value in answer.items()}

    def carry(self, name: str, answer: Answer) -> None:
        """Carry an answer out, once, as the run `name`."""
        def done(_: Run) -> None:
            self._known = self._lies() if ours else self._known
        with changing(self.library, VERBS.get(answer["do"], str(answer["do"])), name, tell=done) as run:
            ours = not self.changed()
            runs = {str(item["run"]): item["facesets"] for item in run.manifest.runs}
            if name not in runs and name not in self.library.taken_back():
                self._act(run, {what: _made(runs.get(value.removeprefix(NEW), ()))
                                if what in FACESETS and value.startswith(NEW) else value
                                for what, value in answer.items()})

    def undo(self, name: str) -> None:
        """Take the run `name` back, where it is in the library."""
        ours = not self.changed()

        def done(verb: str, kept: list[str]) -> None:
            self._known = self._lies() if ours else self._known
        self.library.undo(done, name)

    def _act(self, run: Run, answer: dict[str, Any]) -> None:
        of, how = answer["of"], self.options
        if answer.get("out"):
            edit.not_this(run, answer.get("from", of), answer["out"], how)
        acts: dict[str, Callable[[], object]] = {
            "right": lambda: edit.reviewed(run, of, answer.get("seen")),
            "merge": lambda: consolidate.merge(run, answer["into"], [of], how),
            "two-people": lambda: edit.two_people(run, of, answer["other"]),
            "split": lambda: edit.split(run, of, answer["faces"], how),
            "name": lambda: _name(run, of, answer["name"], answer.get("was")),
            "drop": lambda: edit.drop(run, of, "dropped in the review"),
            "this-is": lambda: edit.this_is(run, answer["into"], answer["group"], self.index, how),
            "leave": lambda: edit.left(run, answer["group"]),
            "promote": lambda: edit.promote(run, answer["group"], self.index, how)}
        acts[answer["do"]]()

    def _person(self, entry: Record, seen: Iterable[str]) -> Person:
        place = self.library.root / entry.folder
        record = folders.read_record(place / folders.MANIFEST)
        rows, rank = read_member(place / FACES, "embeddings"), read_member(place / FACES, "rank")
        by_rank = {int(number): row for row, number in enumerate(rank) if number > 0}
        shown = [item for item in record.faces if item["rank"] in by_rank and (place / item["file"]).is_file()]
        for item in shown:
            self.photos[short_key(item["face"])] = item["sha256"]
            self.faces[short_key(item["face"])] = Face(
                item["face"], item["photo"], tuple(map(float, item["box"])), item["turn"],
                f"{entry.folder}/{item['file']}", item["taken_at"], item["user"], item["asset_id"],
                f"{item['distance']:.2f} from the middle of {entry.folder}, into which it came with {entry.run}")
        here = [by_rank[item["rank"]] for item in shown]
        return Person(entry.folder, tuple(short_key(item["face"]) for item in shown), rows[here], entry.name,
                      entry.proposed_name, frozenset(seen), self.photos, np.delete(rows, here, axis=0))

    def _loose(self, seen: set[str]) -> dict[str, Loose]:
        """Faces between two people, and groups too thin for a faceset, of the last proposals."""
        settled, found = self.library.settled(), {}
        for made in self.proposals:
            groups = [([face.face], face.reason) for face in made.ambiguous]
            groups += [([face.face for face in group.faces], group.reason) for group in made.thin]
            for keys, reason in groups:
                free = [key for key in keys if key not in settled and key in self.index]
                short = tuple(map(short_key, free))
                if free and not seen.issuperset(short):
                    found[short[0]] = self._group(free, short, reason)
        return found

    def _group(self, keys: list[str], short: tuple[str, ...], reason: str) -> Loose:
        members = self.index.pick(keys)
        for key, name, face in zip(keys, short, members.faces, strict=True):
            photo = members.photos[face["photo"]]
            self.photos[name] = photo.sha256
            self.faces[name] = Face(key, photo.path, tuple(map(float, face["box"])), photo.turn, "", photo.taken_at,
                                    photo.user, photo.asset_id, f"in no faceset: {reason}")
        among = tuple(folder for folder in reason.split(" or ") if Path(folder).name.startswith("faceset_"))
        return Loose(short[0], short, members.embeddings, among if len(among) == 2 else (), reason,
                     self.photos)


def _name(run: Run, of: str, name: str, was: str | None) -> None:
    called = edit.find(run.manifest, of).name
    if was is not None and called not in (name, was):       # by hand, since
        raise Failure(f"{of} is called {terminal.safe(called)!r} since, and stays so; name it again to change that")
    edit.name(run, of, name)


def _made(folders: Iterable[str]) -> str:
    """The new one of those that a run made or changed: it has the highest number."""
    numbers = [int(found[1]) for found in map(CANONICAL.fullmatch, folders) if found]
    if not numbers:
        raise Failure("the faceset that this is about is not there: what made it failed, or was taken back")
    return f"faceset_{max(numbers):03d}"
