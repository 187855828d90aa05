"""queue.json and the summary, both derived from state.db, so that a killed run and an undisturbed one end alike."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..common import files, terminal
from ..common.errors import Failure
from ..formats import queue as queues
from ..formats.summary import OUTCOMES, TWINS, took
from .state import Asset, State

LONG = 10_000       # photos; written in about a second
WORDS = {"staged_count": "staged", "deduped_against_staged": TWINS,
         **{name: words for name, words, _ in OUTCOMES.values()},
         "skipped_download_error": "could not be read", "pending": "not asked for yet"}
SMALLER = 60        # pixels; what --min-face-px is most worth a try with: such faces are still told apart


def last_time(path: Path, faces_by: str) -> str:
    """How long the last run took to know all faces, and by what else than now; "" where its summary does not say."""
    try:
        last = files.read_json(path)
        seconds, way = float(last["seconds_before_downloads"]), terminal.safe(last["faces_by"], 40)
    except (Failure, LookupError, TypeError, ValueError):
        return ""
    return f", {seconds:,.0f} s with the listing last time" + (f" by {way}" if way != faces_by else "")


def has_choice(path: Path) -> bool:
    """Whether the last run that is summed up fetched photos, and chose them by a backup."""
    try:
        last = files.read_json(path)
        return bool(last.get("who_is_there")) and not last["dry_run"]
    except (Failure, LookupError, TypeError, AttributeError):
        return False


def is_long(state: State) -> bool:
    """Would writing the queue take longer than somebody who pressed Ctrl-C waits?"""
    return bool(state.all("SELECT COUNT(*) FROM photos")[0][0] > LONG)


def write_queue(state: State, path: Path, queue: queues.Queue, folder: Path, to_windows: Callable[[Path], str]) -> None:
    """`queue`, which says whose it is, with all that the last listing found."""
    queues.write(path, queue, _entries(state, folder, to_windows), _known(state))


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
            asset.height, tuple(queues.Alias(*twin) for twin in twins[1:]), _faces(asset), asset.name)


def _known(state: State) -> Iterator[queues.Known]:
    for asset in state.walk("outcome = 'known'"):
        yield queues.Known(asset.id, asset.path, asset.sha256, _faces(asset))


def _faces(asset: Asset) -> tuple[queues.ImmichFace, ...]:
    return tuple(queues.ImmichFace((x1, y1, x2, y2), person, name)
                 for x1, y1, x2, y2, person, name in json.loads(asset.faces))


def counts(state: State) -> dict[str, int]:
    """How many assets of the last listing ended where; every one is in exactly one of these."""
    found = dict.fromkeys(("total_assets_seen", *WORDS), 0)
    for outcome, count in state.counts().items():
        found["total_assets_seen"] += count
        found[OUTCOMES[outcome][0]] += count
    photos = state.all("SELECT COUNT(DISTINCT sha256) FROM assets WHERE run = ? AND outcome = 'have'", state.run)[0][0]
    return {**found, "staged_count": photos, "deduped_against_staged": found["staged_count"] - photos}


def almost(state: State) -> int:
    """How many of the assets without a big enough face have one of SMALLER pixels, as far as sizes are known."""
    return sum(any(min((face[2] - face[0]) * asset.width, (face[3] - face[1]) * asset.height) >= SMALLER
                   for face in json.loads(asset.faces)) for asset in state.walk("outcome = 'small'"))


def errors(state: State, most: int = 20) -> list[tuple[str, str, str]]:
    """(name, outcome, reason) of assets that could not be staged."""
    return [(row[0], row[1], row[2]) for row in state.all(
        "SELECT name, outcome, reason FROM assets WHERE run = ? AND outcome IN ('error', 'rejected') "
        "ORDER BY outcome DESC, taken, id LIMIT ?", state.run, most)]


def differences(values: dict[str, Any], url: str, most: int = 20) -> list[str]:
    """Where the server counts other assets than it lists, in words."""
    return [*values["gate_differ"][:most],
            *(f"in the timeline, but not to be found: {url}/photos/{one}" for one in values["gate_missing"][:most]),
            *(f"found, but not in the timeline: {url}/photos/{one}" for one in values["gate_extra"][:most])]


def lines(values: dict[str, Any]) -> list[str]:
    """The summary as a person reads it: what became of every asset, and what that took."""
    ended = [f"  {values[name]:>9,} {words}" for name, words in WORDS.items() if values[name]]
    return [f"{values['total_assets_seen']:,} assets, after {values['elapsed']:,.1f} s", *ended, *took(values)]
