"""One change of the library while it is being made: what it will look like, before anything has moved.

An operation says what it wants in paths relative to the library (`faceset_003/0001.png`): `write` a file, `remove` or
`move` something, and asks with `current` where the bytes of a path lie now, so that a later operation of the same
change sees what an earlier one did. `commit` turns it into the renames of `journal`.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from ..common import files
from . import journal


class Change:
    def __init__(self, root: Path, identity: str, verb: str) -> None:
        self.root, self.verb = root, verb
        self.final = False      # cannot be taken back
        self.folder = root / journal.PENDING / identity
        self.new = self.folder / "new"
        self._moves: dict[str, str] = {}        # path now -> path on disk, of what was moved whole
        self._gone: set[str] = set()            # paths on disk that are taken away
        files.private_folder(self.new)

    def current(self, path: str) -> Path:
        """Where the file or folder that will be at `path` is to be read now; it need not exist."""
        staged = self.new / path
        if staged.is_file():
            return staged
        on_disk = self._on_disk(path)
        if on_disk is not None and not self._is_gone(on_disk):
            return self.root / on_disk
        return staged

    def exists(self, path: str) -> bool:
        return self.current(path).exists()

    def names(self, folder: str) -> list[str]:
        """Names of the files that `folder` will hold, sorted."""
        found = {item.name for item in (self.new / folder).glob("*") if item.is_file()}
        on_disk = self._on_disk(folder)
        if on_disk is not None and not self._is_gone(on_disk) and (self.root / on_disk).is_dir():
            found |= {item.name for item in (self.root / on_disk).iterdir()
                      if item.is_file() and not self._is_gone(f"{on_disk}/{item.name}")}
        return sorted(found)

    def write(self, path: str) -> Path:
        """The place where the new bytes of `path` are to be written."""
        files.private_folder((self.new / path).parent)
        return self.new / path

    def write_json(self, path: str, value: Any) -> None:
        files.write_json(self.write(path), value)

    def remove(self, path: str) -> None:
        """Take the file or folder `path` away."""
        staged, on_disk = self.new / path, self._on_disk(path)
        if staged.is_dir():
            shutil.rmtree(staged)
        else:
            staged.unlink(missing_ok=True)
        if on_disk is not None and (self.root / on_disk).exists() and not self._is_gone(on_disk):
            self._gone.add(on_disk)

    def move(self, path: str, target: str) -> None:
        """Move the folder `path` as a whole, with everything a person put into it."""
        on_disk = self._on_disk(path)
        if on_disk is not None and (self.root / on_disk).exists():
            self._moves.pop(path, None)
            self._moves[target] = on_disk
        if (self.new / path).exists():
            os.rename(self.new / path, self.write(target))

    def clear(self, scratch: str) -> None:
        """Remove a folder of things made on the way, which is no part of the change."""
        shutil.rmtree(self.folder / scratch, ignore_errors=True)

    def commit(self) -> None:
        """Make it happen. Nothing at all happens where nothing was asked for."""
        if self._moves or self._gone or any(self.new.iterdir()):
            journal.begin(self.root, self.folder, self._plan())
        else:
            self.abandon()

    def abandon(self) -> None:
        """Forget the wishes; the library was never touched."""
        shutil.rmtree(self.folder, ignore_errors=True)
        parent = self.folder.parent
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()

    def _plan(self) -> journal.Plan:
        plan = journal.Plan(self.verb, had_manifest=(self.root / journal.MANIFEST).exists(), final=self.final)
        slots: dict[str, str] = {}
        staged = list(self._staged(self.new, ""))
        replaced = [self._on_disk(path) for path in staged]
        taken = {path for path in replaced if path and (self.root / path).is_file() and not self._is_gone(path)}
        wanted = taken | self._gone | set(self._moves.values())
        for number, path in enumerate(sorted(wanted, key=lambda item: (-item.count("/"), item))):    # inner ones first
            slots[path] = f"old/{number:06d}"
            plan.takes.append((path, slots[path]))
        for target, path in sorted(self._moves.items()):
            plan.puts.append((slots[path], target))
        plan.puts += [(f"new/{path}", path) for path in staged]
        plan.files = {item.relative_to(self.new).as_posix(): files.sha256_of(item)
                      for item in sorted(self.new.rglob("*")) if item.is_file()}
        plan.folders = self._missing_folders([path for _, path in plan.puts])
        files.private_folder(self.folder / "old")
        if plan.had_manifest:
            shutil.copy2(self.root / journal.MANIFEST, self.folder / "old" / journal.MANIFEST)
        return plan

    def _staged(self, folder: Path, prefix: str) -> list[str]:
        """Paths to put: a folder that is new to the library as one, else the files in it; never the manifest itself."""
        found = []
        for item in sorted(folder.iterdir()):
            path = prefix + item.name
            if item.is_dir() and (path in journal.ASIDE or self._becomes_folder(path)):
                found += self._staged(item, path + "/")
            elif path != journal.MANIFEST:
                found.append(path)
        return found

    def _becomes_folder(self, path: str) -> bool:
        on_disk = self._on_disk(path)
        return on_disk is not None and (self.root / on_disk).is_dir() and not self._is_gone(on_disk)

    def _missing_folders(self, paths: list[str]) -> list[str]:
        missing: list[str] = []
        for path in paths:
            for parent in reversed(Path(path).parents[:-1]):
                name = parent.as_posix()
                if name not in missing and not (self.root / name).exists() and self._on_disk(name) == name:
                    missing.append(name)
        return missing

    def _on_disk(self, path: str) -> str | None:
        """Where `path` lies on disk as long as nothing has been renamed; None if it was moved away."""
        inside = path
        while inside:
            if inside in self._moves:
                return self._moves[inside] + path[len(inside):]
            inside = inside.rpartition("/")[0]
        return None if _within(path, set(self._moves.values())) else path

    def _is_gone(self, on_disk: str) -> bool:
        return _within(on_disk, self._gone)


def _within(path: str, places: set[str]) -> bool:
    """Whether `path` is one of `places` or lies inside one."""
    while path and path not in places:
        path = path.rpartition("/")[0]
    return bool(path)
