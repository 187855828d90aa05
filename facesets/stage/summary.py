"""queue.json and the summary, both derived from state.db, so that a killed run and an undisturbed one end alike."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..common import terminal
from ..common.errors import Failure
from ..common.paths import safe_name
from ..formats import queue as queues
from .state import State

LONG = 10_000       # photos; written in about a second
SUMMARY_SCHEMA = 1  # of summary.json: the figures of the last run


def check_photos(state: State, folder: Path) -> None:
    """Forget staged files that are gone from `folder`, so that they are fetched again; refuse if all of them are."""
    count = state.all("SELECT COUNT(*) FROM photos")[0][0]
    if not count:
        return
    here = staged_files(folder)
    by_hash = {path[:19]: path for path in here}        # "ab/" and the sixteen digits that begin every name
    missing = [(by_hash.get(path[:19], ""), sha256) for sha256, path in state.all("SELECT sha256, path FROM photos")
               if path not in here]
    gone = [(sha256,) for found, sha256 in missing if not found]
    if len(gone) == count:
        raise Failure(f"none of the {count} staged photos is below {folder}; is the share mounted, is STAGE_DIR right? "
                      f"(to stage all of them again, move {state.path} aside)")
    with state.writing() as db:
        db.executemany("UPDATE photos SET path = ? WHERE sha256 = ?", (pair for pair in missing if pair[0]))
        db.executemany("DELETE FROM photos WHERE sha256 = ?", gone)
        db.execute("UPDATE photos SET folder = ?", (str(folder),))
    if gone:
        terminal.say(f"{len(gone)} staged photos are gone from {folder}; they are fetched again")


def staged_files(folder: Path) -> set[str]:
    """The photos in `folder`, as state.db names them: "ab/name"."""
    folders = [sub for sub in folder.iterdir() if len(sub.name) == 2] if folder.is_dir() else []
    return {f"{sub.name}/{name}" for sub in folders for name in os.listdir(sub)}


def is_long(state: State) -> bool:
    """Would writing the queue take longer than somebody who pressed Ctrl-C waits?"""
    return bool(state.all("SELECT COUNT(*) FROM photos")[0][0] > LONG)


def settle_names(state: State, folder: Path) -> None:
    """Name files after the first asset of their bytes, whichever of its twins came first, until a complete run is done.

    So a file that a paused run handed over may have another name in the next queue, from which the embed worker takes
    names and paths anew. A kill between renaming and recording leaves the new name on disk, which the next run finds.
    """
    for sha256, path, source, name in state.all(
            "SELECT photos.sha256, photos.path, source, name FROM photos JOIN assets USING (sha256) "
            "WHERE NOT published AND run = ? AND outcome = 'have' AND NOT EXISTS (SELECT 1 FROM assets AS other WHERE "
            "other.sha256 = assets.sha256 AND other.run = assets.run AND other.outcome = 'have' "
            "AND (other.taken, other.id) < (assets.taken, assets.id))", state.run):
        name = name if source == "original" else Path(name).stem + ".preview.jpg"
        wanted = f"{sha256[:2]}/{sha256[:16]}_{safe_name(name)}"
        if wanted != path:
            if (folder / path).exists():
                os.replace(folder / path, folder / wanted)
            with state.writing() as db:
                db.execute("UPDATE photos SET path = ? WHERE sha256 = ?", (wanted, sha256))


def keep_names(state: State) -> None:
    """From now on photos keep their names: caches point to them. Not while an asset that may be the first of its bytes
    waits for the next run, unless it has been waiting for long.
    """
    if not state.one("SELECT 1 FROM assets WHERE run = ? AND outcome = 'error' AND tries < 3 LIMIT 1", state.run):
        with state.writing() as db:
            db.execute("UPDATE photos SET published = 1 WHERE NOT published")


def write_queue(state: State, path: Path, user: str, server: str, folder: Path,
                to_windows: Callable[[Path], str]) -> None:
    queues.write_streamed(path, user, server, _entries(state, folder, to_windows), _known(state))


def _entries(state: State, folder: Path, to_windows: Callable[[Path], str]) -> Iterator[queues.Entry]:
    """Photos in the order of their first asset; the same bytes again are its aliases."""
    for asset in state.walk("outcome = 'have'"):
        twins = state.all("SELECT id, path FROM assets WHERE sha256 = ? AND run = ? AND outcome = 'have' "
                          "ORDER BY taken, id", asset.sha256, state.run)
        photo = state.one("SELECT path, bytes, source FROM photos WHERE sha256 = ?", asset.sha256)
        if photo is None or twins[0][0] != asset.id:
            continue
        place = folder / photo[0]
        yield queues.Entry(
            asset.id, str(place), to_windows(place), asset.sha256, photo[1], photo[2], asset.taken, asset.width,
            asset.height, tuple(queues.Alias(*twin) for twin in twins[1:]),
            tuple(queues.ImmichFace((face[0], face[1], face[2], face[3]), face[4], face[5])
                  for face in json.loads(asset.faces)))


def _known(state: State) -> Iterator[queues.Known]:
    for asset in state.walk("outcome = 'known'"):
        yield queues.Known(asset.id, asset.path, asset.sha256)


def counts(state: State) -> dict[str, int]:
    """How many assets of the last listing ended where; every one is in exactly one of these."""
    by = state.counts()
    photos = state.all("SELECT COUNT(DISTINCT sha256) FROM assets WHERE run = ? AND outcome = 'have'", state.run)[0][0]
    return {
        "total_assets_seen": sum(by.values()),
        "staged_count": photos,
        "deduped_against_existing": by.get("known", 0),
        "deduped_against_staged": by.get("have", 0) - photos,
        "skipped_no_big_face": by.get("small", 0),
        "skipped_no_faces": by.get("none", 0),
        "skipped_excluded": by.get("excluded", 0),
        "skipped_foreign_owner": by.get("foreign", 0),
        "skipped_download_error": by.get("error", 0) + by.get("rejected", 0),
        "pending": by.get("wanted", 0) + by.get("ask", 0),
    }


def errors(state: State, most: int = 20) -> list[tuple[str, str, str]]:
    """(name, outcome, reason) of assets that could not be staged."""
    return [(row[0], row[1], row[2]) for row in state.all(
        "SELECT name, outcome, reason FROM assets WHERE run = ? AND outcome IN ('error', 'rejected') "
        "ORDER BY outcome DESC, taken, id LIMIT ?", state.run, most)]


def text(values: dict[str, Any]) -> str:
    """The summary as a person reads it: one line a figure."""
    shown = {name: f"{value:.1f}" if isinstance(value, float) else value for name, value in values.items()
             if not isinstance(value, list)}
    return "\n".join(f"  {name:<26} {value}" for name, value in shown.items())
