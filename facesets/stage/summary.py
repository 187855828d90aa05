"""queue.json and the summary, both derived from state.db, so that a killed run and an undisturbed one end alike."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..common import files, terminal
from ..common.errors import Failure
from ..formats import queue as queues
from ..formats.summary import OUTCOMES, TWINS, took
from ..immich.gate import Verdict
from . import choice
from .run import Stage
from .state import Asset, State

LONG = 10_000       # photos; written in about a second
WORDS = {"staged_count": "staged", "deduped_against_staged": TWINS,
         **{name: words for name, words, _ in OUTCOMES.values()},
         "skipped_download_error": "could not be read", "pending": "not asked for yet"}
SMALLER = 60        # pixels; what --min-face-px is most worth a try with: such faces are still told apart
ALMOST = f"big_enough_at_{SMALLER}_px"
NAMED = 20          # assets that are named of each kind


def last(path: Path) -> dict[str, Any]:
    """The summary of the run before, {} where there is none that can be read."""
    try:
        return files.read_json(path)
    except Failure:
        return {}


def last_time(before: dict[str, Any], faces_by: str) -> str:
    """How long the last run took to know all faces, and by what else than now; "" where its summary does not say."""
    try:
        seconds, way = float(before["seconds_before_downloads"]), terminal.safe(before["faces_by"], 40)
    except (LookupError, TypeError, ValueError):
        return ""
    return f", {seconds:,.0f} s with the listing last time" + (f" by {way}" if way != faces_by else "")


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


def figures(stage: Stage, elapsed: float) -> dict[str, Any]:
    """What a run did, as summary.json has it."""
    asked, gate = stage.client.counts, stage.gate or Verdict(held=False)
    return {
        **counts(stage.state), ALMOST: almost(stage.state), "requests": asked.requests,
        "requests_before_downloads": stage.listing_requests or asked.requests,
        "seconds_before_downloads": stage.listing_seconds, "elapsed": round(elapsed, 3),
        "bytes_downloaded": asked.bytes, "bytes_saved": stage.bytes_saved,
        "faces_by": stage.server.faces_by, **{f"gate_{name}": value for name, value in asdict(gate).items()},
        "orphaned_files": stage.orphans, "pruned": stage.pruned,
        **({"who_is_there": stage.chosen.as_json()} if stage.chosen else {}),
    }


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


def lines(values: dict[str, Any], state: State, url: str, prune: bool) -> Iterator[str]:
    """The summary as a person reads it: what became of every asset, what that took, and what can be done."""
    yield f"{values['total_assets_seen']:,} assets, after {values['elapsed']:,.1f} s"
    yield from (f"  {values[name]:>9,} {words}" for name, words in WORDS.items() if values[name])
    yield from took(values)
    yield from (f"  {differs}" for differs in values["gate_differ"][:NAMED])
    yield from (f"  in the timeline, but not to be found: {url}/photos/{one}" for one in values["gate_missing"][:NAMED])
    yield from (f"  found, but not in the timeline: {url}/photos/{one}" for one in values["gate_extra"][:NAMED])
    for outcome, name, reason in state.all(
            "SELECT outcome, name, reason FROM assets WHERE run = ? AND outcome IN ('error', 'rejected') "
            "ORDER BY outcome DESC, taken, id LIMIT ?", state.run, NAMED):
        yield f"  {outcome}: {terminal.safe(name, 80)}: {terminal.safe(reason, 200)}"
    if values[ALMOST]:
        yield (f"no face big enough in {values['skipped_no_big_face']}: --min-face-px {SMALLER} would stage "
               f"{values[ALMOST]} more")
    found = state.counts()
    if later := found.get("later", 0):
        enough = state.count(f"outcome = 'later' AND reason = '{choice.ENOUGH}'")
        more = f"more --pictures fetches up to {enough} of them, " if enough else ""
        yield f"not needed yet: {later}; {more}a run without --backup all"
    if left := found.get("error", 0):
        yield f"could not be read: {left}; left for the next run, the same command asks for them again"
    if refused := found.get("rejected", 0):
        yield f"refused by the server: {refused}; given up, --retry-rejected asks for them again"
    if orphans := values["orphaned_files"]:
        what = "removed" if values["pruned"] else "kept, since photos may be missing from the list" if prune \
            else "--prune removes them"
        yield f"files of photos that the server no longer has: {orphans}; {what}"
