"""How far every user's work has come, stage by stage, in numbers that add up: every asset, photo and face once.

Read from the files that the stages leave, never from what a run said while it ran:
    state.db            what became of every asset of the last listing
    summary.json        what the last stage run asked for and received
    queue.json          what is handed to the embed worker
    immich_<user>.npz   what became of every photo (and, while it works, its .parts)
    refine.json         who every face is
"""

import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..common import files
from ..common.errors import Failure
from ..formats import boxes, cache, proposal, summary
from ..formats import queue as queues
from ..formats.summary import Person
from ..library.store import Library

# Outcome -> how the report calls it, and the CSS class of its share.
EMBED = {"faces": ("with faces", "use"), "noface": ("no face found", "rest"), "error": ("unreadable", "bad"),
         "left": ("not embedded yet", "todo")}
SAME = 0.5              # overlap (IoU) from which on a face of a backup is one of a faceset
OWN = "own folders"     # what sort_faces.py embed and cluster did, without a server; no label has a space


@dataclass(frozen=True)
class Part:
    words: str
    count: int
    kind: str       # use, known, rest, bad, todo


@dataclass
class Stage:
    """What became of the things one stage had before it."""

    name: str               # "stage", "embed", "cluster"
    what: str               # what is counted: "assets", "photos", "faces"
    total: int
    parts: list[Part]
    at: float               # when it last wrote, seconds since 1970
    reasons: dict[str, int] = field(default_factory=dict)   # of failures
    notes: list[str] = field(default_factory=list)
    again: str = ""         # the command, where it is more than usual
    people: list[Person] = field(default_factory=list)      # who was there by a backup

    @property
    def more(self) -> str:
        """The command that fetches all photos of everybody whom the backup knows."""
        return re.sub(r" --pictures[ =]\S+", "", self.again) + " --pictures 0" if self.again else ""

    @property
    def adds_up(self) -> bool:
        return sum(part.count for part in self.parts) == self.total

    @property
    def left(self) -> int:
        return sum(part.count for part in self.parts if part.kind == "todo")

    def count(self, words: str) -> int:
        return sum(part.count for part in self.parts if part.words == words)


class Outcome(NamedTuple):
    """What became of a photo, as a cache says."""

    sha256: str
    status: str
    reason: str
    path: str


@dataclass
class User:
    label: str
    stages: list[Stage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)       # files that could not be read, one line each
    queue: queues.Queue | None = None
    proposed: proposal.Proposal | None = None
    photos: list[Outcome] = field(default_factory=list)
    unfolded: bool = False      # a worker is at work, or was stopped: parts lie beside the cache

    @property
    def people(self) -> list[Person]:
        return [one for stage in self.stages for one in stage.people]

    def waiting(self, library: Library) -> Counter[str]:
        """Faceset -> photos of that person that a backup says are not needed yet. Somebody who was new to the backup is
        the faceset that holds most of the faces.
        """
        people = [one for one in self.people if one.photos > one.fetched]
        sets = library.canonical() if people else []
        photos = {one: (entry.sha256, entry.source == "preview", len(entry.faces))
                  for entry in (self.queue.entries if self.queue else ())
                  for one in (entry.asset_id, *(alias.asset_id for alias in entry.aliases))}
        photos |= {one.asset_id: (one.sha256, False, 0) for one in (self.queue.known if self.queue else ())}
        held = {one.folder: cache.boxes_of(one.face_keys) for one in sets}

        def holds(folder: str, sha256: str, preview: bool, faces: int, box: np.ndarray) -> bool:
            """A preview has pixels of its own, so it tells of somebody who is alone in it."""
            theirs = held[folder].get(sha256)
            return theirs is not None and (faces < 2 if preview else bool(boxes.overlap(theirs, box).max() >= SAME))
        found = Counter[str]()
        for one in people:
            faces = [(*photos[asset], box) for asset, box in cache.boxes_of(one.witnesses).items() if asset in photos]
            votes = Counter({folder: sum(holds(folder, *face) for face in faces) for folder in held})
            (best, most), (_, second) = [*votes.most_common(2), ("", 0), ("", 0)][:2]
            if one.faceset in held or most > max(second, len(faces) / 2):
                found[one.faceset if one.faceset in held else best] += one.photos - one.fetched
        return found

    def stage(self, name: str) -> Stage | None:
        return next((stage for stage in self.stages if stage.name == name), None)


def cache_of(data_root: Path, label: str) -> Path:
    return data_root / "cache" / ("nl_full.npz" if label == OWN else f"immich_{label}.npz")


def users(data_root: Path) -> list[User]:
    """How far everybody's work has come; faces are not read. A file that cannot be read is one line among `problems`,
    never the end."""
    labels = {item.name for item in (data_root / "immich").glob("[!.]*") if item.is_dir()}
    labels |= {item.stem.removeprefix("immich_") for item in (data_root / "cache").glob("immich_*.npz")}
    found = [_user(label, data_root / "immich" / label, cache_of(data_root, label)) for label in sorted(labels)]
    if cache_of(data_root, OWN).exists() or (data_root / "refine.json").exists():
        found.append(_user(OWN, data_root, cache_of(data_root, OWN)))
    return found


def _user(label: str, folder: Path, npz: Path) -> User:
    """The stages whose files lie in `folder`, and the cache `npz` with its parts."""
    user = User(label)

    def reading(path: Path, load: Callable[[Path], Any]) -> Any:
        try:
            return load(path) if path.exists() else None
        except Failure as error:
            user.problems.append(str(error))
            return None
    if listed := reading(folder / "state.db", staged):
        listed.notes, listed.people = reading(folder / "summary.json", last_run) or ([], [])
        user.stages.append(listed)
    user.queue = reading(folder / "queue.json", queues.read)
    parts = sorted(npz.with_name(npz.name + ".parts").glob("*.npz"))
    user.unfolded = bool(parts)
    user.photos = [photo for path in (npz, *parts) for photo in reading(path, outcomes) or ()]
    if user.queue is not None or user.photos:
        newest = parts[-1] if parts else npz if npz.exists() else folder / "queue.json"
        user.stages.append(embedded(user.queue, user.photos, _when(newest)))
    user.proposed = reading(folder / "refine.json", proposal.read)
    if user.proposed is not None:
        user.stages.append(clustered(user.proposed, _when(folder / "refine.json")))
    return user


def outcomes(path: Path) -> list[Outcome]:
    return [Outcome(*map(str, row)) for row in cache.columns(path, *Outcome._fields)]


def staged(path: Path) -> Stage:
    """What became of the assets of the last listing, from a state.db that a run may be writing."""
    try:
        db = sqlite3.connect(f"file:{path.as_posix().replace('?', '%3f').replace('#', '%23')}?mode=ro", uri=True,
                             timeout=5)
        try:
            run = "(SELECT value FROM meta WHERE key = 'run')"
            counts = dict(db.execute(f"SELECT outcome, COUNT(*) FROM assets WHERE run = {run} GROUP BY outcome"))
            own = db.execute(f"SELECT COUNT(DISTINCT sha256) FROM assets WHERE run = {run} AND outcome = 'have'"
                             ).fetchone()[0]
            reasons = dict(db.execute(f"SELECT reason, COUNT(*) FROM assets WHERE run = {run} AND outcome IN "
                                      "('error', 'rejected') GROUP BY reason ORDER BY 2 DESC LIMIT 20"))
            again = (db.execute("SELECT value FROM meta WHERE key = 'again'").fetchone() or ("",))[0]
        finally:
            db.close()
    except sqlite3.Error as error:
        raise Failure(f"{path} cannot be read ({error})") from None
    total, twins = sum(counts.values()), counts.get("have", 0) - own
    parts = [Part(words, counts.get(outcome, 0), kind) for outcome, (_, words, kind) in summary.OUTCOMES.items()]
    parts[:1] = [replace(parts[0], count=own), Part(summary.TWINS, twins, "known")]
    return Stage("stage", "assets", total, [part for part in parts if part.count], _when(path), reasons, again=again)


def last_run(path: Path) -> tuple[list[str], list[Person]]:
    """What the last stage run took, in two lines, and who was there by its backup, if it had one."""
    value: dict[str, Any] = files.read_json(path, summary.SCHEMA, "immich_stage.py")
    almost = value.get("big_enough_at_60_px") or 0
    smaller = [f"--min-face-px 60 would stage {almost:,} more"] if almost else []
    with files.understood(path, "the summary of a stage run", "; run immich_stage.py again"):
        asked, gate = summary.took(value)
        there = value.get("who_is_there") or {"people": []}
        people = [Person(**{**one, **{name: int(one[name]) for name in ("faces", "fetched", "photos")}})
                  for one in there["people"]]
        sentence = [str(there["sentence"])] if people else []
    return [*sentence, f"last run: {asked}", gate, *smaller], people


def embedded(queue: queues.Queue | None, photos: Sequence[Outcome], at: float) -> Stage:
    """What became of the photos of the queue, and of photos that are only in the cache."""
    status = {photo.sha256: photo.status for photo in photos}
    wanted = {entry.sha256 for entry in queue.entries} if queue else set()
    counts = Counter(status.get(sha256, "left") for sha256 in wanted | set(status))
    reasons = Counter(photo.reason for photo in photos if photo.status == "error")
    return Stage("embed", "photos", sum(counts.values()),
                 [Part(words, counts[status], kind) for status, (words, kind) in EMBED.items() if counts[status]], at,
                 dict(reasons.most_common(20)))


def clustered(made: proposal.Proposal, at: float) -> Stage:
    """Who the faces are, as the last clustering proposed it."""
    parts = [Part(words, made.counts.get(name, 0), kind) for name, (words, kind) in proposal.COUNTS.items()
             if made.counts.get(name, 0)]
    notes = [f"{len(made.facesets):,} new facesets, {len(made.thin):,} thin",
             *([f"of {len(made.caches)} caches together"] if len(made.caches) > 1 else [])]
    return Stage("cluster", "faces", made.counts.get("faces", sum(part.count for part in parts)), parts, at,
                 dict(Counter(face.reason for face in made.rejected).most_common()), notes)


def ago(then: float, now: float | None = None) -> str:
    """How long ago, in words."""
    seconds = max((time.time() if now is None else now) - then, 0)
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now"


def _when(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0

