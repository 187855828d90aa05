"""status: one screen for every user and stage, out of what the stages leave on disk; quick, however large the library.

What the stages leave is read by facesets.report.runs, as the report does; here it becomes lines and the next command.
"""

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.errors import Failure
from ..formats import cache
from ..formats.faceset import FACES
from ..formats.summary import OUTCOMES
from ..library import folder as folders
from ..library import journal
from ..library.store import CANONICAL, Library
from ..report import runs
from . import forget

LATER = OUTCOMES["later"][1]      # photos that a backup says are not needed


@dataclass
class Stage:
    """What one stage left, and what there is to do."""

    done: bool = False
    when: float = 0.0       # seconds since the epoch, of the file
    text: str = "not begun"
    left: int = 0           # assets or photos that the same command would take up
    failed: dict[str, int] = field(default_factory=dict)    # reason -> how many


@dataclass
class User:
    label: str
    stage: Stage = field(default_factory=Stage)
    embed: Stage = field(default_factory=Stage)
    cluster: Stage = field(default_factory=Stage)
    again: str = ""         # what stages this user
    next: str = ""          # the command to run


@dataclass
class Status:
    users: list[User] = field(default_factory=list)
    caches: dict[str, int] = field(default_factory=dict)    # others than the users' -> photos
    library: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    next: str = ""          # the one command to run now
    flags: str = ""         # the folders that it needs, and every other command


def status(data_root: Path, library: Library, flags: str = "") -> Status:
    """Everything that `sort_faces.py status` shows. A file that cannot be read is a problem, not an end."""
    found, made = Status(flags=flags), runs.users(data_root)
    for user in made:
        if user.label != runs.OWN:
            waiting = _try(lambda user=user: user.waiting(library), Counter(), found.problems)
            found.users.append(_user(user, waiting))
        found.problems += user.problems
    theirs = {runs.cache_of(data_root, user.label) for user in found.users}
    for path in sorted({*(data_root / "cache").glob("*.npz")} - theirs):
        found.caches[path.stem] = _try(lambda path=path: len(cache.processed(path)), 0, found.problems)
    found.library = _try(lambda: _library(library, found.problems), {}, found.problems)
    found.next = (next((one.next for one in found.users if one.next), "")
                  or _try(lambda: _proposed(made, library), "", found.problems) or _afterwards(found)
                  or _once_more(found))
    found.next = _with(found.next, flags)
    for one in found.users:
        one.next = _with(one.next, flags)
    return found


def _with(command: str, flags: str) -> str:
    """A command with the folders that it does not name yet, before what is said of it."""
    words, gap, told = command.partition("    #")
    named = not words or "--data-root" in words or "--library" in words
    return command if named else f"{words}{flags}{gap}{told}"


def _proposed(users: list[runs.User], library: Library) -> str:
    """What the newest clustering, which looks at all caches, found and is in no faceset yet."""
    manifest = library.manifest()
    found = max(((user.proposed.created, user.label, user.proposed) for user in users if user.proposed), default=None,
                key=lambda one: one[0])
    if not found:
        return ""
    _, label, newest = found
    if newest.facesets and not manifest.runs:       # not carried out yet, or the library was removed since
        return "python sort_faces.py export-swap" if label == runs.OWN else f"bash finalize_immich.sh {label}"
    dropped = {Path(entry.folder).name for entry in manifest.dropped}
    keys = {face.face for folder, faces in newest.extend.items() if Path(folder).name not in dropped
            for face in faces if face.face not in manifest.not_this.get(folder, ())}
    waiting = len(keys.difference(library.settled())) if keys else 0
    return f"python sort_faces.py extend    # {waiting:,} faces of people who have a faceset" if waiting else ""


def _user(read: runs.User, waiting: Counter[str]) -> User:
    """The stages of one user, and the command that goes on with them; `waiting`: faceset -> photos not fetched."""
    user, queue, made = User(read.label), read.queue, read.proposed
    listed, embedded, clustered = (read.stage(name) for name in ("stage", "embed", "cluster"))
    later = _later(listed, waiting) if listed else ""
    if listed:
        user.stage = Stage(False, listed.at, f"{listed.total:,} assets listed{later}",
                           listed.left + listed.count(OUTCOMES["error"][1]), listed.reasons)
    if queue is not None:
        previews = sum(entry.source == "preview" for entry in queue.entries)
        user.stage.done = True
        user.stage.text = (f"{len(queue.entries):,} photos" + (f", {previews:,} as previews" if previews else "")
                           + (f" of {listed.total:,} assets{later}" if listed else ""))
    if embedded:
        done = embedded.total - embedded.left
        user.embed = Stage(done > 0 and not embedded.left and not read.unfolded, embedded.at if done else 0.0,
                           f"{done:,} photos" if done else "not begun", embedded.left, embedded.reasons)
    if made is not None and clustered:
        counts = Counter(made.counts)
        user.cluster = Stage(True, clustered.at, (
            f"{counts['faces']:,} faces: {counts['held'] + counts['known']:,} known, {counts['new']:,} in "
            f"{len(made.facesets):,} new facesets, {counts['ambiguous']:,} ambiguous, {counts['rejected']:,} rejected"))
    user.again = (listed.again if listed else "") or f"python immich_stage.py --user {user.label}"
    stale = user.cluster.done and user.embed.when > user.cluster.when
    if not user.stage.done or (listed and listed.left):
        user.next = user.again
    elif queue and queue.entries and (not user.embed.done or not user.cluster.done or stale):
        user.next = f"bash finalize_immich.sh {user.label}"
    return user


def _later(listed: runs.Stage, waiting: Counter[str]) -> str:
    """What a backup spared so far, and how much of it shows people who have a faceset: a photo may show several."""
    photos = listed.count(LATER)
    number = f"{'up to ' if len(waiting) > 1 else ''}{min(waiting.total(), photos):,}"
    known = f" ({number} of people you have; to fetch them: {listed.more})" if waiting and listed.more else ""
    return f", {photos:,} {LATER}{known}" if photos else ""


def _afterwards(found: Status) -> str:
    """What to do once every user's photos are in facesets: look at those that nobody has looked at."""
    shelf = found.library
    if not shelf.get("facesets"):
        if found.caches:
            return "python sort_faces.py cluster"
        return "" if found.users else "python immich_stage.py --user LABEL    # or: bash finalize_immich.sh --demo"
    if shelf["unseen"]:
        return f"python sort_faces.py review    # {shelf['unseen']:,} facesets that nobody has looked at"
    return "" if shelf["report"] == "there" else "python sort_faces.py report"


def _once_more(found: Status) -> str:
    """The server may have mended what failed, which is worth a try once nothing else is left."""
    return next((f"{one.again}    # {one.stage.left:,} that could not be read"
                 for one in found.users if one.stage.left), "")


def _library(library: Library, problems: list[str]) -> dict[str, Any]:
    manifest = library.manifest()
    sets = manifest.facesets
    gone = [entry.folder for entry in sets if not (library.root / entry.folder / FACES).exists()]
    if (library.root / forget.BEGUN).exists():
        problems.append("a `sort_faces.py forget` was cut short; the same command ends it")
    listed = {entry.folder for entry in manifest.entries}
    copies = [path.name for path in sorted(library.root.glob("faceset_*"))
              if CANONICAL.fullmatch(path.name) and path.name not in listed]
    if copies:
        problems.append(f"{', '.join(copies[:5])}: a copy made by hand, which is nobody to every command; move it out "
                        "of the library")
    if gone:
        problems.append(f"{len(gone)} facesets are not in their folders any more, e.g. {gone[0]}: if a folder was "
                        "renamed, give it that name again (`sort_faces.py name` is for people's names); if it was "
                        f"removed: sort_faces.py drop {gone[0]}")
    return {"root": str(library.root), "facesets": len(sets),
            "named": sum(bool(entry.name) for entry in sets),
            "unseen": sum(_unseen(library.root / entry.folder, manifest.reviewed.get(entry.folder, ()), entry.pictures)
                          for entry in sets),
            "faces": sum(entry.members for entry in sets), "pictures": sum(entry.pictures for entry in sets),
            "eras": len(manifest.eras),
            "aside": {name: len(getattr(manifest, name)) for name in ("thin_eras", "masked", "merged", "dropped")},
            "model": (manifest.model or {}).get("name", ""), "last_run": manifest.runs[-1] if manifest.runs else None,
            "undoable": journal.is_ours(library.root), "report": _report(library.root)}


def _unseen(folder: Path, seen: Collection[str], pictures: int) -> bool:
    """Whether a faceset has a picture that nobody has looked at. Most were seen whole, or not at all: that is quick."""
    if len(seen) < pictures:
        return True
    try:
        faces = folders.read_record(folder / folders.MANIFEST).faces
    except Failure:     # not there, or damaged, so that nobody can look
        return False
    return not {cache.short_key(item["face"]) for item in faces} <= set(seen)


def _report(root: Path) -> str:
    """How the report stands to the library: "", "old" where the library changed since, or "there"."""
    page, manifest = root / "index.html", root / journal.MANIFEST
    if not page.exists():
        return ""
    return "old" if manifest.exists() and manifest.stat().st_mtime > page.stat().st_mtime else "there"


def _try(read: Any, otherwise: Any, problems: list[str]) -> Any:
    try:
        return read()
    except (Failure, OSError, TypeError, AttributeError, ValueError) as error:
        problems.append(str(error))
        return otherwise


def text(found: Status, now: float | None = None) -> list[str]:
    """The screen, line by line."""
    now = time.time() if now is None else now
    lines = []
    for user in found.users:
        lines.append(user.label)
        for name, stage in (("stage", user.stage), ("embed", user.embed), ("cluster", user.cluster)):
            mark = "done" if stage.done else "    "
            left = f", {stage.left:,} to go" if stage.left else ""
            when = f" ({runs.ago(stage.when, now)})" if stage.when else ""
            lines.append(f"  {name:<8} {mark}  {stage.text}{left}{when}")
            if stage.failed:
                lines.append(f"  {'':<8}       {sum(stage.failed.values()):,} failed: {_reasons(stage.failed)}")
    for name, photos in found.caches.items():
        lines.append(f"{name}: {photos:,} photos of your own")
    shelf = found.library
    if shelf.get("facesets") or shelf.get("last_run"):
        aside = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in shelf["aside"].items() if count)
        lines.append(f"library: {shelf['facesets']:,} facesets ({shelf['unseen']:,} that nobody has looked at, "
                     f"{shelf['facesets'] - shelf['named']:,} without a name), {shelf['pictures']:,} pictures of "
                     f"{shelf['faces']:,} faces" + (f"; aside: {aside}" if aside else ""))
    if shelf.get("last_run"):
        run = shelf["last_run"]
        lines.append(f"last run: {run.get('verb')} at {run.get('at')}"
                     + (f"; `sort_faces.py undo{found.flags}` takes it back" if shelf["undoable"] else ""))
        again = f"python sort_faces.py report{found.flags}"
        lines.append("report: " + {"there": f"{shelf['root']}/index.html", "": f"none yet: {again}",
                                   "old": f"older than the library: {again}"}[shelf["report"]])
    return [*(lines or ["nothing here yet"]), *(f"problem: {problem}" for problem in found.problems),
            f"next: {found.next}" if found.next else "nothing left to do"]


def _reasons(failed: dict[str, int], most: int = 3) -> str:
    """The most frequent reasons, on one line."""
    shown = [f"{reason or 'no reason given'} ({count:,})" for reason, count in list(failed.items())[:most]]
    return "; ".join([*shown, *(["…"] if len(failed) > most else [])])
