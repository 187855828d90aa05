"""What clustering has looked at: why the same caches clustered again add nothing.

`clustered.json` beside the refine manifest: {"schema", "run", "settings", "faces": [face keys]}. A new faceset has to
hold a face that no earlier run looked at; otherwise it would be what that run left over, put together differently.
The memory holds as long as the rules are the same and the run that made facesets is not undone. Faces that a faceset
held are not in it: an undo of another user's run sets them free.

It is written after the export. What a kill between the two would lose lies in `clustered.next.json`, written before the
export changes the library, and counts if the library knows that run.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..common import files, terminal
from ..formats.proposal import Proposal

SCHEMA = 1


@dataclass(frozen=True)
class Seen:
    run: str                    # the last run that made facesets, "" for none
    settings: dict[str, Any]
    faces: frozenset[str]


NOTHING = Seen("", {}, frozenset())


def read(path: Path) -> Seen:
    """The memory in `path`; nothing where there is none."""
    if not path.exists():
        return NOTHING
    value = files.read_json(path, SCHEMA, f"cluster_immich.py after deleting {path.name}")
    with files.understood(path, "a memory of clustering", "; delete it, then run cluster_immich.py again"):
        return Seen(str(value.get("run", "")), dict(value.get("settings") or {}),
                    frozenset(map(str, value.get("faces") or ())))


def promise(path: Path, before: Seen, made: Proposal, faces: Collection[str]) -> None:
    """Before the export: what `remember` will say once it is done."""
    remember(_promised(path), before, made, faces, True)


def keep_promise(path: Path, runs: Collection[str]) -> None:
    """What was promised before a kill holds if the export happened, so if its run is one of the library's `runs`."""
    promised = _promised(path)
    if promised.exists():
        if read(promised).run in runs:
            os.replace(promised, path)
        promised.unlink(missing_ok=True)


def _promised(path: Path) -> Path:
    return path.with_name(path.stem + ".next" + path.suffix)


def together(paths: Iterable[Path], settings: dict[str, Any], runs: Collection[str]) -> set[str]:
    """The faces that any of the memories `paths` holds now: every user's run looks at the faces of all."""
    memories = terminal.legible(read, paths).values()
    return {face for memory in memories if holds(memory, settings, runs) for face in memory.faces}


def holds(seen: Seen, settings: dict[str, Any], runs: Collection[str]) -> bool:
    """Whether what was seen under `seen` counts now; `runs`: those that the library remembers."""
    return seen.settings == settings and (not seen.run or seen.run in runs)


def forget(path: Path, faces: Collection[str], dry_run: bool) -> int:
    """Take `faces` out of the memory in `path`; how many of them it held."""
    known = read(path)
    left = known.faces.difference(faces)
    if len(left) < len(known.faces) and not dry_run:
        _write(path, replace(known, faces=left))
    return len(known.faces) - len(left)


def remember(path: Path, before: Seen, made: Proposal, faces: Collection[str], exported: bool) -> None:
    """Add `faces`, all that the run of `made` looked at, to the memory."""
    same = before.settings == made.settings
    _write(path, Seen(made.run if exported else before.run if same else "", made.settings,
                      frozenset({*faces, *(before.faces if same else ())})))


def _write(path: Path, seen: Seen) -> None:
    files.write_json(path, {"schema": SCHEMA, "run": seen.run, "settings": seen.settings, "faces": sorted(seen.faces)})
