"""One change of the library while it is being made: what it will look like, before anything has moved.

An operation says what it wants in paths relative to the library (`faceset_003/NAME.txt`): `write` a file, `remove` or
`move` something, `put` a folder that it built; and asks with `current` where the bytes of a path lie now, so that a
later operation of the same change sees what an earlier one did. The first touch of a faceset copies its folder, with
everything in it, by links that cost no space; `commit` swaps it for the old one (see `journal`).
"""

import os
import shutil
from pathlib import Path
from typing import Any

from ..common import files
from ..common.errors import Failure
from . import handwork, journal


class Change:
    def __init__(self, root: Path, identity: str, verb: str, command: str = "") -> None:
        self.root, self.verb, self.command = root, verb, command
        self.final = False      # cannot be taken back
        self.folder = root / journal.PENDING / identity
        self.new, self.scratch = self.folder / "new", self.folder / "scratch"
        self._made_of: dict[str, str] = {}              # unit in new/ -> the unit on disk that it was made of, or ""
        self._gone: set[str] = set()                    # units on disk that are taken away
        self._seen: dict[str, dict[str, int]] = {}      # unit in new/ -> files that it was made of -> their inodes
        files.private_folder(self.new)

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

    def write_json(self, path: str, value: Any) -> None:
        files.write_json(self.write(path), value)

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
        """Make it happen. Nothing at all happens where nothing was asked for."""
        if not self._made_of and not self._gone:
            self.abandon()
            return
        shutil.rmtree(self.scratch, ignore_errors=True)
        for unit, origin in self._made_of.items():
            if origin:
                handwork.take(self.root / origin, self._seen[unit], self.new / unit)
        journal.begin(self.root, self.folder, self.plan())

    def abandon(self) -> None:
        """Forget the wishes; the library was never touched."""
        shutil.rmtree(self.folder, ignore_errors=True)
        parent = self.folder.parent
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()

    def plan(self) -> journal.Plan:
        digests = {}
        for unit, origin in self._made_of.items():
            for name in sorted(handwork.names(self.new / unit)):
                now = self.new / unit / name
                left_alone = origin and handwork.same(now, self.root / origin / name)
                digests[handwork.path_of(unit, name)] = "" if left_alone else files.sha256_of(now)
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
