"""One run that changes the library: what it will look like before anything has moved, and what is to be told of it.

    with changing(library, "extend") as run:     one change, all or nothing, one entry in `runs`
        ...                                      any number of operations, each a function of the run and plain values

An operation says what it wants in paths relative to the library (`faceset_003/NAME.txt`): `write` a file, `remove` or
`move` something, `put` a folder that it built; and asks with `current` where the bytes of a path lie now, so that a
later operation of the same run sees what an earlier one did. The first touch of a faceset copies its folder, with
everything in it, by links that cost no space; at the end it is swapped for the old one (see `journal`).
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..common import files
from ..common.errors import Failure, of_disk
from ..formats import cache
from . import folder as folders
from . import handwork, journal
from .folder import Record
from .store import Library, write_manifest


class Run:
    def __init__(self, library: Library, verb: str, name: str = "", command: str = "", dry_run: bool = False) -> None:
        self.library, self.root, self.verb, self.command, self.dry_run = library, library.root, verb, command, dry_run
        self.id = name or time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + verb
        self.final = False                      # cannot be taken back, nor can what was done before
        self.manifest = library.manifest()
        self.facesets: list[str] = []           # folders made or changed, or that would be
        self.counts: dict[str, int] = {}
        self.notes: list[str] = []              # what a person should know, one line each
        self.waiting: list[str] = []            # face keys of groups that lack photos that cannot be read now
        self.folder = self.root / journal.PENDING / journal.next_id(self.root, verb)
        self.new, self.scratch = self.folder / "new", self.folder / "scratch"
        self._number = library.highest(self.manifest)
        self._made_of: dict[str, str] = {}              # unit in new/ -> the unit on disk that it was made of, or ""
        self._gone: set[str] = set()                    # units on disk that are taken away
        self._seen: dict[str, dict[str, int]] = {}      # unit in new/ -> files that it was made of -> their inodes
        files.private_folder(self.new)

    def as_json(self) -> dict[str, Any]:
        return {"run": self.id, "verb": self.verb, "dry_run": self.dry_run, "facesets": self.facesets,
                "counts": self.counts, "notes": self.notes, "waiting": self.waiting}

    def count(self, what: str, many: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + many

    def touch(self, folder: str) -> None:
        """Say that the run made or changed `folder`."""
        if folder not in self.facesets:
            self.facesets.append(folder)

    def enter(self, record: Record, where: str = "") -> None:
        """Put a line of `record` into the list `where` of the top manifest, by default into the one that it is in."""
        where = where or self.manifest.list_of(record.folder)
        self.manifest.take_out(record.folder)
        listed = getattr(self.manifest, where)
        listed.append(record)
        listed.sort(key=lambda entry: (entry.number, entry.folder))
        self.touch(record.folder)

    def record(self, folder: str) -> Record:
        """All that is written of a faceset, with the name that NAME.txt gives it, where a person may have moved it."""
        record = folders.read_record(self.current(f"{folder}/{folders.MANIFEST}"))
        record.folder = folder
        if line := self.manifest.entry(folder):
            record.name, record.into = line.name, line.into
        return record

    def write_record(self, record: Record) -> None:
        folders.write_record(self.write(f"{record.folder}/{folders.MANIFEST}"), record)

    def new_number(self) -> int:
        self._number += 1
        return self._number

    @property
    def changes_files(self) -> bool:
        """Whether a faceset changes, and not only what the manifest says of it."""
        return bool(self._made_of or self._gone)

    def use_model(self, model: cache.Model) -> None:
        """Let this be the recogniser of the library, with its distances of today. Raises Failure for another."""
        self.library.check_model(model)
        self.manifest.model = asdict(model)

    def current(self, path: str) -> Path:
        """Where the file or folder that will be at `path` is to be read now; it need not exist."""
        unit = journal.unit_of(path)
        return (self.new if unit in self._made_of or unit in self._gone else self.root) / path

    def exists(self, path: str) -> bool:
        return self.current(path).exists()

    def write(self, path: str) -> Path:
        """The place where the new bytes of `path` are to be written; nothing is there yet."""
        place = self._opened(path)
        files.private_folder(place.parent)
        place.unlink(missing_ok=True)       # the file on disk is the same one
        return place

    def remove(self, path: str) -> None:
        """Take the file or folder `path` away."""
        unit = journal.unit_of(path)
        if unit != path:
            files.remove(self._opened(path))
        elif unit in self._made_of:
            files.remove(self.new / unit)
            self._gone |= {self._made_of.pop(unit)} - {""}
        elif self._on_disk(unit):
            self._gone.add(unit)

    def move(self, path: str, target: str) -> None:
        """Move the folder `path` as a whole, with everything a person put into it."""
        self._on_disk(target)       # may be refused
        self._opened(path)
        files.private_folder((self.new / target).parent)
        os.rename(self.new / path, self.new / target)
        origin = self._made_of.pop(path)
        self._made_of[target], self._seen[target] = origin, self._seen.pop(path)
        self._gone |= {origin} - {""}

    def fresh(self) -> Path:
        """An empty folder to build something in; what is not `put` into the library is thrown away."""
        number = len(list(files.private_folder(self.scratch).iterdir()))
        return files.private_folder(self.scratch / str(number))

    def put(self, built: Path, folder: str) -> None:
        """The folder `built` becomes `folder`, in the place of what is there."""
        if (before := self.current(folder)).is_dir():
            shutil.copymode(before, built)
        if folder in self._made_of:
            shutil.rmtree(self.new / folder)
        else:
            self._begin(folder)
        files.private_folder((self.new / folder).parent)
        os.rename(built, self.new / folder)

    def commit(self) -> None:
        """Enter the run into the manifest and make it happen."""
        self.manifest.next_number = self._number + 1
        self.manifest.runs.append({"run": self.id, "verb": self.verb, "counts": self.counts,
                                   "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                                   "facesets": sorted(self.facesets)})
        write_manifest(self.write(journal.MANIFEST), self.manifest)
        shutil.rmtree(self.scratch, ignore_errors=True)
        for unit, origin in self._made_of.items():
            if origin:
                handwork.take(self.root / origin, self._seen[unit], self.new / unit)
        journal.begin(self.root, self.folder, self.plan())

    def abandon(self) -> None:
        """Forget what is not committed; the library was never touched."""
        if not (self.folder / "phase").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            journal.clear_if_empty(self.folder.parent)

    def plan(self) -> journal.Plan:
        digests = {}
        for unit, origin in self._made_of.items():
            before = handwork.inodes(self.root / origin) if origin else {}
            for name, inode in sorted(handwork.inodes(self.new / unit).items()):
                left_alone = before.get(name) == inode
                digests[handwork.path_of(unit, name)] = "" if left_alone else files.sha256_of(self.new / unit / name)
        taken = self._gone | {unit for unit, origin in self._made_of.items() if unit == origin}
        return journal.Plan(self.verb, self.command, sorted(taken), dict(sorted(self._made_of.items())), digests,
                            self.final)

    def _opened(self, path: str) -> Path:
        """`path` in the unit as it will be, which is copied now if this is the first touch."""
        unit = journal.unit_of(path)
        if unit not in self._made_of:
            self._begin(unit)
            if self._made_of[unit]:
                files.link_all(self.root / unit, self.new / unit)
        return self.new / path

    def _begin(self, unit: str) -> None:
        there = self._on_disk(unit)
        self._made_of[unit] = unit if there else ""
        self._seen[unit] = handwork.inodes(self.root / unit) if there else {}

    def _on_disk(self, unit: str) -> bool:
        """Whether the unit is on disk and not taken away. Raises Failure where it could not be swapped."""
        place = self.root / unit
        there = unit not in self._gone and os.path.lexists(place)
        for item in (place, place.parent):
            if place.is_symlink() or (item.exists() and item.stat().st_dev != self.root.stat().st_dev):
                raise Failure(f"{item} is a link or lies on another disk, so it cannot be changed together with the "
                              "rest; move it into the library, or the whole library there; nothing was changed")
        if there and place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            raise Failure(f"{place} may not be written; chmod u+rwx it, or run this as its owner; nothing was changed")
        return there


@contextmanager
def changing(library: Library, verb: str, name: str = "", dry_run: bool = False, command: str = "",
             tell: Callable[[Run], object] = lambda run: None,
             last: Callable[[Run], object] = lambda run: None) -> Iterator[Run]:
    """A run, committed when the block ends well, without a trace when it does not, or when it touched no faceset.

    A dry run makes everything and throws it away. `command` is the same for a repeat of the same command: where that is
    done, but was stopped before `tell` could say so, the repeat is AlreadyDone. `last` is called before the commit.
    """
    with library.locked(f"sort_faces.py {verb}"):
        if not dry_run:
            library.heard(verb, command)
        run = Run(library, verb, name, command, dry_run)
        try:
            yield run
            if run.facesets and not dry_run:
                last(run)
                run.commit()
        except OSError as error:
            failure = of_disk(error, library.root)
            raise type(failure)(f"{failure}; nothing was changed") from None
        finally:
            run.abandon()
        tell(run)
        if not dry_run:
            journal.acknowledge(library.root)
