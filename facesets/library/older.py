"""A library of schema 1, brought up once: there NAME.txt held the proposal as long as nobody had given a name.

Such a file is one that we wrote (its bytes are those that the folder's manifest remembers) when no name had been given
(that manifest has none). A file that a person wrote, or that `name` and `import-folders` wrote for them, stays.

A run of journal schema 1, which swapped files one by one, becomes one of units when it is the next to be taken back.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..common import files
from ..common.errors import Failure
from . import folder as folders
from . import handwork, journal

SCHEMA = 1
HEAD = re.compile(rb'\s*\{\s*"schema":\s*1\s*,')      # the schema is written first


def is_older(root: Path) -> bool:
    return _is_first(root / journal.MANIFEST)


def _is_first(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return bool(HEAD.match(file.read(80)))
    except OSError:
        return False


def bring_up(root: Path, lists: Sequence[str], schema: int) -> None:
    """Take away the proposals that lie in NAME.txt; the new schema is written last, so a kill only repeats it."""
    if is_older(root):
        value = files.read_json(root / journal.MANIFEST, SCHEMA)
        for item in (item for name in lists for item in value.get(name, [])):
            if isinstance(item, dict) and folders.FOLDER.fullmatch(str(item.get("folder"))):
                _settle_name(root / item["folder"])
        files.write_json(root / journal.MANIFEST, {**value, "schema": schema})
    for run in journal.history(root)[-1:]:
        if _is_first(run / journal.PLAN):
            with suppress(Failure):     # a damaged one: `undo` says so
                _bring_up_run(root, run)


def _settle_name(place: Path) -> None:
    try:
        record: dict[str, Any] = files.read_json(place / folders.MANIFEST)
        ours = record.get("files", {}).get(folders.NAME) == files.sha256_of(place / folders.NAME)
    except (Failure, OSError, AttributeError):
        return      # no such folder or file any more, or none of ours
    if ours and not record.get("name"):
        (place / folders.NAME).unlink()


def _bring_up_run(root: Path, run: Path) -> None:
    """Lay the units of a run as they were before it into its `old`, where `undo` looks for them.

    Its plan: takes [[path, slot]] went out of the library, then puts [[slot, path]] came in; a slot is a place below
    `run`, and what was moved has one slot in both. files {path: SHA-256 of what came}.
    """
    value, old = files.read_json(run / journal.PLAN, SCHEMA), run / "old"
    with files.understood(run / journal.PLAN, "a journal"):
        home = {slot: path for path, slot in value["takes"]}
        journal.check([*home, *home.values(), *(word for put in value["puts"] for word in put)])
        units = sorted({journal.unit_of(path) for path in (*home.values(), *(path for _, path in value["puts"]))})
        if any(unit[:1] in ("", ".") or unit == journal.MANIFEST for unit in units):
            raise ValueError("it swaps what is no faceset")
        origins = {path: home[slot] for slot, path in value["puts"] if slot in home}
        plan = journal.Plan(value["verb"], files=dict(value["files"]))
    for unit in units:
        files.remove(old / unit)
        if os.path.lexists(root / unit):
            files.private_folder((old / unit).parent)
            files.link_all(root / unit, old / unit)
    for slot, path in reversed(value["puts"]):
        if slot in home and os.path.lexists(old / path):
            os.rename(old / path, files.private_folder((old / home[slot]).parent) / Path(home[slot]).name)
        else:
            files.remove(old / path)
    for path, slot in reversed(value["takes"]):
        if os.path.lexists(run / slot):
            files.private_folder((old / path).parent)
            files.link_all(run / slot, old / path)
    journal.clear_if_empty(*(old / unit for unit in units))
    units.append(journal.MANIFEST)
    plan.takes = [unit for unit in units if os.path.lexists(old / unit)]
    plan.puts = {unit: origins.get(unit, unit if unit in plan.takes else "") for unit in units
                 if os.path.lexists(root / unit)}
    there = {handwork.path_of(unit, name) for unit in plan.puts for name in handwork.inodes(root / unit)}
    plan.files = {path: plan.files.get(path, "") for path in there} | {
        journal.MANIFEST: files.sha256_of(root / journal.MANIFEST)}
    files.remove(run / "new")
    journal.write_plan(run, plan)
