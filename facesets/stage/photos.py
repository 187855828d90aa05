"""The folder of staged photos: each named by its SHA-256, as ab/ab12….jpg, and recorded in state.db."""

import os
import re
from pathlib import Path

from ..common import terminal
from ..common.errors import Failure
from . import download
from .state import State

NAME = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}\.[0-9a-z]+")


def check(state: State, folder: Path) -> None:
    """Forget staged files that are gone from `folder`, so that they are fetched again; refuse if all of them are."""
    rows = state.all("SELECT sha256, path FROM photos")
    if not rows:
        return
    here = staged_files(folder)
    by_hash = {path[3:].partition(".")[0]: path for path in here}
    found = {sha256: path if path in here else by_hash.get(sha256, "") for sha256, path in rows}
    gone = [(sha256,) for sha256, path in found.items() if not path]
    if len(gone) == len(rows):
        raise Failure(f"none of the {len(rows)} staged photos is below {folder}; is the share mounted, is STAGE_DIR "
                      f"right? (to stage all of them again, move {state.path} aside)")
    with state.writing() as db:
        db.executemany("UPDATE photos SET path = ? WHERE sha256 = ?", (
            (found[sha256], sha256) for sha256, path in rows if found[sha256] != path))
        db.executemany("DELETE FROM photos WHERE sha256 = ?", gone)
        db.execute("UPDATE photos SET folder = ?", (str(folder),))
    if gone:
        terminal.say(f"{len(gone)} staged photos are gone from {folder}; they are fetched again")


def rename_old(state: State, folder: Path) -> None:
    """Photos of an earlier version take their names of today. A kill leaves names that `check` finds again."""
    rows = state.all("SELECT sha256, path FROM photos WHERE SUBSTR(path, 4, 64) != sha256")
    with terminal.progress(len(rows), "renaming", "photos") as bar:
        for sha256, path in rows:
            kind, _ = download.look(folder / path)
            wanted = download.place(sha256, kind) if kind else f"{sha256[:2]}/{sha256}{Path(path).suffix.lower()}"
            os.replace(folder / path, folder / wanted)
            with state.writing() as db:
                db.execute("UPDATE photos SET path = ? WHERE sha256 = ?", (wanted, sha256))
            bar.update()


def orphans(state: State, folder: Path) -> list[Path]:
    """Files of assets that the last listing does not show (any more): photos, recorded or not, and parts."""
    kept = {path for path, in state.all(
        "SELECT path FROM photos WHERE sha256 IN (SELECT sha256 FROM assets WHERE run = ?)", state.run)}
    unknown = [folder / name for name in sorted(staged_files(folder) - kept) if NAME.fullmatch(name)]
    parts = sorted((folder / ".part").glob("*.part"))
    begun = {download.part_stem(asset.id, source) for asset in state.walk("outcome IN ('wanted', 'ask', 'error')")
             for source in ("original", "preview")} if parts else set()
    return unknown + [part for part in parts if ".".join(part.name.split(".")[:2]) not in begun]


def prune(state: State, found: list[Path]) -> None:
    """Remove what `orphans` found, and what is recorded of such assets."""
    for path in found:
        path.unlink(missing_ok=True)
    with state.writing() as db:
        db.execute("PRAGMA secure_delete = ON")
        db.execute("DELETE FROM photos WHERE sha256 NOT IN (SELECT sha256 FROM assets WHERE run = ?)", (state.run,))
        db.execute("DELETE FROM assets WHERE run < ?", (state.run,))


def staged_files(folder: Path) -> set[str]:
    """The photos in `folder`, as state.db names them: "ab/ab12….jpg"."""
    folders = [sub for sub in folder.iterdir() if len(sub.name) == 2 and sub.is_dir()] if folder.is_dir() else []
    return {f"{sub.name}/{name}" for sub in folders for name in os.listdir(sub)}
