"""What clustering has looked at: why the same caches clustered again add nothing.

`clustered.json` beside the refine manifest: {"schema", "run", "settings", "faces": [face keys]}. A new faceset has to
hold a face that no earlier run looked at; otherwise it would be what that run left over, put together differently.
The memory holds as long as the rules are the same and the run that made facesets is not undone.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..proposal import Proposal

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
    return Seen(str(value.get("run", "")), dict(value.get("settings") or {}),
                frozenset(map(str, value.get("faces") or ())))


def holds(seen: Seen, settings: dict[str, Any], runs: Collection[str]) -> bool:
    """Whether what was seen under `seen` counts now; `runs`: those that the library remembers."""
    return seen.settings == settings and (not seen.run or seen.run in runs)


def remember(path: Path, before: Seen, made: Proposal, faces: Collection[str], exported: bool) -> None:
    """Add `faces`, all that the run of `made` looked at, to the memory."""
    same = before.settings == made.settings
    files.write_json(path, {
        "schema": SCHEMA, "run": made.run if exported else before.run if same else "", "settings": made.settings,
        "faces": sorted({*faces, *(before.faces if same else ())})})
