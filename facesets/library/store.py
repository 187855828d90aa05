"""The library: the top-level manifest, what is canonical, numbers that only grow, and one writer at a time.

manifest.json at the top
    schema, next_number, model {...} of the recogniser that every faceset here uses, or null
    facesets   [ENTRY], canonical folders; eras  [ENTRY], their era splits faceset_NNN_<first year>_<last year>/
    thin_eras, masked, merged, dropped     [ENTRY], set aside in _thin/, _masked/, _merged/, _dropped/
    runs       [{"run", "verb", "at", "counts", "facesets"}], oldest first
    not_this   {folder: [face keys that a person said are not this person]}
    reviewed   {folder: [faces that a person has seen to be right there, by formats.cache.short_key]}, NOBODY for
               those that are to stay in no faceset
    two_people [[folder, folder] of which a person said that they are two]
    forgotten  how many identities `forget` removed

ENTRY  {"folder", "number", "name", "proposed_name", "faces" (members), "pictures", "spread", "years" [first, last] or
        [], "users" {label: faces}, "run", "reason", "into" (of a merged one: the faceset that holds its faces now)}

A number is never given twice: `.highest` remembers the highest even when a run is taken back, and `.taken_back` which
runs those were, one a line. What a person does by hand in the file manager holds: NAME.txt is the name ("name" says
what it was when the manifest was written), a folder that is gone is no faceset any more.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..common import files, terminal
from ..common.errors import AlreadyDone, Failure, Paused
from ..formats import cache
from ..formats.faceset import FACES, Faceset, read_member
from . import folder as folders
from . import journal, older
from .folder import Record

SCHEMA = 2
CANONICAL = re.compile(r"faceset_(\d{3,9})")
NUMBERED = re.compile(r"faceset_(\d{3,9})(?:_|$)")
ASIDE = {"thin_eras": "_thin", "masked": "_masked", "merged": "_merged", "dropped": "_dropped"}
NOBODY = "_nobody"
LISTS = ("facesets", "eras", *ASIDE)


@dataclass
class Manifest:
    next_number: int = 1
    model: dict[str, Any] | None = None
    facesets: list[Record] = field(default_factory=list)
    eras: list[Record] = field(default_factory=list)
    thin_eras: list[Record] = field(default_factory=list)
    masked: list[Record] = field(default_factory=list)
    merged: list[Record] = field(default_factory=list)
    dropped: list[Record] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    not_this: dict[str, list[str]] = field(default_factory=dict)
    reviewed: dict[str, list[str]] = field(default_factory=dict)
    two_people: list[list[str]] = field(default_factory=list)
    forgotten: int = 0      # nobody reads it but earlier versions, which refuse a library without it

    @property
    def known_distance(self) -> float:
        """The recogniser's cos-dist to a centroid that counts as the same person."""
        return float((self.model or {}).get("known_distance", 0.45))

    @property
    def entries(self) -> list[Record]:
        """Everything that has a folder, what is set aside included."""
        return [item for name in LISTS for item in getattr(self, name)]

    def entry(self, folder: str) -> Record | None:
        return next((item for item in self.entries if item.folder == folder), None)

    def home(self, merged: Record) -> str:
        """The faceset that holds the faces of a merged one now; that one may have been merged since."""
        into = {Path(item.folder).name: item.into for item in self.merged}
        place = merged.into
        while place in into:
            place = into[place]
        return place

    def list_of(self, folder: str) -> str:
        return next(name for name in LISTS if any(item.folder == folder for item in getattr(self, name)))

    def take_out(self, folder: str) -> None:
        for name in LISTS:
            setattr(self, name, [item for item in getattr(self, name) if item.folder != folder])

    def are_two(self, one: str, other: str) -> bool:
        """Whether a person said that two folders are two people."""
        return sorted((one, other)) in self.two_people

    def said_of(self, folder: str, now: str) -> None:
        """What a person said of `folder` is said of `now`, where its faces are."""
        for said in (self.not_this, self.reviewed):
            if folder in said:
                said[now] = sorted({*said.get(now, ()), *said.pop(folder)})
        moved = (sorted(now if name == folder else name for name in pair) for pair in self.two_people)
        self.two_people = sorted([one, other] for one, other in {tuple(pair) for pair in moved} if one != other)

    def are_of(self, folder: str, keys: set[str]) -> None:
        """Faces that a person puts into `folder` are its person's, whatever was said before."""
        if refused := set(self.not_this.pop(folder, ())) - keys:
            self.not_this[folder] = sorted(refused)

    def unsaid(self, folder: str) -> None:
        """Forget what a person said of `folder`."""
        self.not_this.pop(folder, None)
        self.reviewed.pop(folder, None)
        self.two_people = [pair for pair in self.two_people if folder not in pair]


class Library:
    """The facesets below `root`. Reading needs no lock; whoever changes something is inside `change`."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._held = False

    @property
    def id(self) -> str:
        """Names this library without saying where it lies."""
        return hashlib.sha256(str(self.root.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def manifest(self) -> Manifest:
        """The manifest as it stands, with the names that NAME.txt gives; an empty one for a new library."""
        self._settle()
        path = self.root / journal.MANIFEST
        manifest = read_manifest(path) if path.exists() else Manifest()
        self._as_they_lie(manifest)
        for entry in manifest.entries:
            place = self.root / entry.folder
            if place.is_dir():      # else what she was called before somebody took her folder away
                entry.name = folders.name_on_disk(place / folders.NAME)
        return manifest

    def record(self, folder: str) -> Record:
        """All that is written of a faceset."""
        return folders.read_record(self.root / folder / folders.MANIFEST)

    def canonical(self) -> list[Faceset]:
        """The identities that new faces are compared with, by number."""
        return self.facesets("facesets")

    def identities(self, model: cache.Model) -> list[Faceset]:
        """Whom faces of `model` may be; those a person dropped as well, so that they do not come back."""
        self.check_model(model)
        return self.facesets("facesets", "dropped")

    def left_out(self) -> frozenset[str]:
        """Faces that a person said are to stay in no faceset, by formats.cache.short_key."""
        return frozenset(self.manifest().reviewed.get(NOBODY, ()))

    def settled(self) -> dict[str, str]:
        """Face key -> folder, of every face that some folder holds: clustering it again would add nothing."""
        return {key: item.folder for item in self.everybody() for key in item.face_keys}

    def everybody(self) -> list[Faceset]:
        """Whoever has a faceset, those that a person dropped or that could not be shown included."""
        return self.facesets("masked", "dropped", "facesets")

    def check_model(self, model: cache.Model) -> None:
        """Refuse faces of another recogniser than the one this library is made with: they cannot be compared."""
        ours = self.manifest().model
        if ours and ours.get("sha256") != model.sha256:
            raise Failure(f"{self.root}: its facesets were made with {ours.get('name')}, these faces with "
                          f"{model.name}; embed with the same --model, or use another --library")

    def highest(self, manifest: Manifest) -> int:
        """The highest number that any faceset ever had, a run that was taken back included."""
        try:
            remembered = int((self.root / ".highest").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            remembered = 0
        places = [self.root, *(self.root / aside for aside in ASIDE.values())]
        on_disk = [int(found[1]) for place in places if place.is_dir()
                   for found in map(NUMBERED.match, os.listdir(place)) if found]
        return max([remembered, manifest.next_number - 1, *on_disk])

    def taken_back(self) -> list[str]:
        """The runs that an undo took back, or began to."""
        try:
            return (self.root / ".taken_back").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def within_reach(self) -> None:
        """Raises Paused where a library that was there is not: a disk that is not mounted, a share that is gone."""
        if not any(os.path.lexists(self.root / name) for name in (journal.MANIFEST, journal.PENDING, journal.UNDO)):
            raise Paused(f"{self.root} is out of reach, as on a disk that is not mounted; mend that, then it goes on")

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Be the only one that changes the library, after ending what a kill may have left half done."""
        with files.only_one(self.root / ".lock", what):
            self._held = True
            try:
                for line in journal.recover(self.root):
                    terminal.say(line)
                older.bring_up(self.root, LISTS, SCHEMA)
                yield
            finally:
                self._held = False

    def undo(self, tell: Callable[[str, list[str]], object] = lambda verb, kept: None, only: str = "",
             outside: Callable[[Path], object] = lambda journal: None) -> None:
        """Take back the last run; `tell` takes its verb, and where files of a person's own were kept.

        If `only` is given, nothing is done where that run is not in the library, and Failure raised where it is not the
        last. `outside` takes back first what the run did elsewhere than in the library.
        """
        with self.locked("sort_faces.py undo"):
            if only:
                journal.acknowledge(self.root)      # whether it is taken back is seen from the runs
            else:
                self.heard("undo", "undo")
            manifest = self.manifest()
            runs = [str(run["run"]) for run in manifest.runs]
            if only and only not in runs:
                return
            if only and only != runs[-1]:
                raise Failure("something else changed the library since; sort_faces.py undo takes back what was done "
                              "last")
            highest = self.highest(manifest)        # the older manifest will know neither of the two
            files.write_bytes(self.root / ".highest", b"%d\n" % highest)
            taken = dict.fromkeys([*self.taken_back(), *runs[-1:]])
            files.write_bytes(self.root / ".taken_back", "".join(f"{run}\n" for run in taken).encode())
            for last in journal.history(self.root)[-1:]:
                outside(last)
            tell(*journal.undo(self.root))
            journal.acknowledge(self.root)

    def would_undo(self) -> dict[str, list[str]]:
        """What `undo` would do, see `journal.would_undo`; `unsaid`: of what a run that changed no file had spoken."""
        with self.locked("sort_faces.py undo --dry-run"):
            found = journal.would_undo(self.root)
            spoke = found["would_take_back"] and not (found["as_before"] or found["comes_back"] or found["goes"])
            runs = self.manifest().runs
            return {**found, "unsaid": list(runs[-1]["facesets"]) if spoke and runs else []}

    def heard(self, verb: str, command: str) -> None:
        """Close what was done before; AlreadyDone if it is what `command` asks for, to be closed when that is told."""
        if command in journal.unheard(self.root):
            raise AlreadyDone(f"{verb} was cut short, and carried to its end since; nothing else was changed now")
        journal.acknowledge(self.root)

    def close(self) -> None:
        """Close what was done before, now that it is told."""
        with self.locked("sort_faces.py"):
            journal.acknowledge(self.root)

    def _settle(self) -> None:
        """A reader that finds a change cut short ends it first; it is refused only while a run moves things.

        So it does with a library of an earlier version, which is brought up once.
        """
        if not self._held and (journal.unfinished(self.root) or older.is_older(self.root)):
            try:
                with self.locked("a reader"):
                    pass
            except Paused:
                if journal.unfinished(self.root) - {None} or older.is_older(self.root):
                    raise

    def _as_they_lie(self, manifest: Manifest) -> None:
        """A faceset that a person moved in the file manager is where it lies now, one that they put there counts too.

        A copy beside its original is nobody: it would be torn between itself and the original.
        """
        listed = {entry.folder for entry in manifest.entries}
        for where, prefix in (("facesets", ""), *((name, f"{aside}/") for name, aside in ASIDE.items())):
            for place in sorted((self.root / prefix).glob("faceset_*")):
                folder = prefix + place.name
                if folder in listed or not CANONICAL.fullmatch(place.name) or not (place / FACES).exists():
                    continue
                entry = next((item for item in manifest.entries if Path(item.folder).name == place.name), None)
                if entry and (self.root / entry.folder).exists():
                    continue
                if entry := entry or _unlisted(place):
                    manifest.take_out(entry.folder)
                    manifest.said_of(entry.folder, folder)
                    entry.folder = folder
                    getattr(manifest, where).append(entry)
            getattr(manifest, where).sort(key=lambda entry: (entry.number, entry.folder))

    def facesets(self, *lists: str) -> list[Faceset]:
        """The identities in these lists of the manifest that are whole on disk, list by list."""
        manifest, found, merged = self.manifest(), [], dict[str, list[np.ndarray]]()
        for entry in manifest.merged:
            if (faces := self.root / entry.folder / FACES).exists():
                merged.setdefault(manifest.home(entry), []).append(read_member(faces, "centroid"))
        for entry in (entry for name in lists for entry in getattr(manifest, name)):
            place = self.root / entry.folder
            if CANONICAL.fullmatch(place.name) and (place / FACES).exists():
                found.append(Faceset(entry.folder, read_member(place / FACES, "centroid"), entry.number, entry.name,
                                     place, frozenset(manifest.not_this.get(entry.folder, ())),
                                     tuple(merged.get(place.name, ()))))
        return found


def write_manifest(path: Path, manifest: Manifest) -> None:
    value = dict(vars(manifest), **{name: [entry.line() for entry in getattr(manifest, name)] for name in LISTS})
    files.write_json(path, {"schema": SCHEMA, **value})


def read_manifest(path: Path) -> Manifest:
    value = files.read_json(path, SCHEMA)
    with files.understood(path, "the manifest of a library"):
        entries = {name: [folders.read_line(item) for item in value.get(name, [])] for name in LISTS}
        not_this = {str(folder): list(map(str, keys)) for folder, keys in value["not_this"].items()}
        reviewed = {str(folder): list(map(str, faces)) for folder, faces in value.get("reviewed", {}).items()}
        two_people = [sorted((str(one), str(other))) for one, other in value.get("two_people", ())]
        manifest = Manifest(int(value["next_number"]), value["model"] and dict(value["model"]), **entries,
                            runs=[dict(run) for run in value["runs"]], not_this=not_this, reviewed=reviewed,
                            two_people=two_people, forgotten=int(value.get("forgotten", 0)))
        if not 0 < manifest.known_distance < 4:
            raise ValueError("known_distance is no distance")
    return manifest


def _unlisted(place: Path) -> Record | None:
    """The record of a faceset that is in no list, such as one out of a backup; None for a copy under another name."""
    try:
        record = folders.read_record(place / folders.MANIFEST)
    except Failure:
        return None
    return record if Path(record.folder).name == place.name else None
