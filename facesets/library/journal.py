"""All or nothing: the journal that makes a change of many facesets one change, and takes it back.

A change replaces units: whole faceset folders, and files at the top of the library. The new ones are built beside and
then swapped in, each with two renames on one file system:

    .pending/<id>/new/<unit>    what will be there
    .pending/<id>/old/<unit>    what was there
    .pending/<id>/plan.json     {"schema", "verb", "command", "takes": [units that go],
                                 "puts": {unit that comes: the unit that it was made of, or ""},
                                 "files": {path: SHA-256 of a file that the change made, "" of one that it left alone},
                                 "final"}
    .pending/<id>/phase         one word, replaced atomically; while it is absent the change never happened

    doing    swapped in, one unit after the other, manifest.json last
    done     when the command that asked has heard of it, it moves to .undo/<id>, and is what `undo` needs
    undoing  in .undo/<id>: swapped out again
    undone   when the command that asked has heard of it, it is removed

A swap can be repeated from any point in it, so `recover` ends whatever a kill left: cleared away where there is no
phase yet, carried to its end where there is. Where the system refuses a rename half way, the others are taken back, so
an OSError says that nothing has changed. What is done but was not heard of is how a repeated command is recognised.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..common import files
from ..common.errors import Failure
from . import handwork

SCHEMA = 2
PENDING, UNDO, UNDONE = ".pending", ".undo", "_undone"
ASIDE = ("_thin", "_masked", "_merged", "_dropped")     # folders of the library that hold facesets
MANIFEST, PLAN = "manifest.json", "plan.json"
KEEP = 10       # runs that can be taken back, one after the other; their replaced files stay on disk that long


@dataclass
class Plan:
    verb: str
    command: str = ""       # tells a repeat of the same command; "" never is one
    takes: list[str] = field(default_factory=list)
    puts: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    final: bool = False     # cannot be taken back, nor can what was done before: `forget`


def begin(root: Path, folder: Path, plan: Plan) -> None:
    """Decide: from the moment that the phase is written, the change happens. OSError: it did not."""
    if not os.access(files.private_folder(root / UNDO), os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "may not be written", str(root / UNDO))
    if hasattr(os, "sync") and set(plan.puts) != {MANIFEST}:
        os.sync()       # one flush for all that was built, not one fsync a picture
    _write_plan(folder, plan)
    _set_phase(folder, "doing")
    _forward(root, folder, plan)


def undo(root: Path) -> tuple[str, list[str]]:
    """Take back the last change; its verb, and where files lie that a person had put in the place of others."""
    folders = history(root)
    if not folders:
        raise Failure("there is no run to take back")
    folder, plan = folders[-1], _plan(folders[-1])
    _set_phase(folder, "undoing")
    return plan.verb, _backward(root, folder, plan)


def would_undo(root: Path) -> dict[str, list[str]]:
    """What `undo` would do: the run, the folders that change, by what they do, and the runs before it, newest first."""
    unheard = [folder for folder in _folders(root / PENDING) if _phase(folder) == "done" and not _plan(folder).final]
    folders = [*history(root), *unheard][::-1]
    plan = _plan(folders[0]) if folders else Plan("")
    verbs = [folder.name.partition("-")[2] for folder in folders]
    units = sorted({*plan.takes, *plan.puts} - {MANIFEST})
    return {"would_take_back": verbs[:1],
            "as_before": [unit for unit in units if plan.puts.get(unit) == unit],
            "comes_back": [unit for unit in units if unit in plan.takes and plan.puts.get(unit) != unit],
            "goes": [unit for unit in units if unit not in plan.takes and not plan.puts[unit]],
            "runs_before_it": verbs[1:]}


def recover(root: Path) -> list[str]:
    """End every change that was cut short; what was done, one line each. The caller holds the library's lock."""
    said = []
    for folder in (*_folders(root / PENDING), *_folders(root / UNDO)):
        phase = _phase(folder)
        if phase == "done":
            if folder.parent.name == PENDING:
                _purge(root, folder, _plan(folder))
        elif phase is None:
            _discard(folder)
            said.append(f"{folder.name} was cut short: what it left is cleared away")
        elif phase != "undone":
            act, what = (_forward, folder.name) if phase == "doing" else (_backward, f"the undo of {folder.name}")
            try:
                act(root, folder, _plan(folder))
                said.append(f"{what} was cut short: carried to its end")
            except OSError as error:
                said.append(f"{what} was cut short, and is taken back: {error.filename}: {error.strerror}")
    clear_if_empty(root / PENDING, root / UNDO)
    return said


def unheard(root: Path) -> set[str]:
    """The commands that asked for what is done, and have not heard of it."""
    undone = {"undo" for folder in _folders(root / UNDO) if _phase(folder) == "undone"}
    return undone | {_plan(folder).command for folder in _folders(root / PENDING) if _phase(folder) == "done"} - {""}


def acknowledge(root: Path) -> None:
    """Close what is done. What cannot be closed now is closed another time."""
    for folder in _folders(root / PENDING):
        if _phase(folder) == "done":
            if _plan(folder).final:
                _discard(folder)
            else:
                with contextlib.suppress(OSError):
                    os.rename(folder, files.private_folder(root / UNDO) / folder.name)
    for folder in _folders(root / UNDO):
        if _phase(folder) == "undone":
            _discard(folder)
    for folder in history(root)[:-KEEP]:
        _discard(folder)
    clear_if_empty(root / PENDING, root / UNDO)


def wrote(root: Path, path: str) -> None:
    """We wrote a file anew that a change had made: for its undo it is still the one of that change."""
    for folder in (*_folders(root / PENDING)[::-1], *history(root)[::-1]):
        plan = _plan(folder)
        if path in plan.files:
            plan.files[path] = files.sha256_of(root / path)
            _write_plan(folder, plan)
            return


def unfinished(root: Path) -> set[str | None]:
    """The phases of changes that `recover` has to end; None: it is only being made, and all is as it was."""
    return {_phase(folder) for place in (PENDING, UNDO) for folder in _folders(root / place)} - {"done", "undone"}


def history(root: Path) -> list[Path]:
    """Folders of the runs that can be taken back, oldest first."""
    return [folder for folder in _folders(root / UNDO) if _phase(folder) == "done"]


def is_ours(root: Path) -> bool:
    """Whether there is a last run, and one that this version can take back."""
    try:
        return bool(history(root)) and bool(_plan(history(root)[-1]))
    except Failure:
        return False


def next_id(root: Path, verb: str) -> str:
    """The name of the next change; they sort as they were made, and what an undo of one kept is no other's."""
    numbers = [int(folder.name[:6]) for place in (PENDING, UNDO, UNDONE) for folder in _folders(root / place)
               if folder.name[:6].isdecimal()]
    return f"{max(numbers, default=0) + 1:06d}-{verb}"


def unit_of(path: str) -> str:
    """The part of the library that is swapped as a whole when `path` changes."""
    parts = path.split("/")
    return "/".join(parts[:2 if parts[0] in ASIDE else 1])


def out_of_the_way(path: Path) -> None:
    """Where nothing is expected, a person may have put something since: it is kept under another name."""
    number = 0
    while os.path.lexists(path):
        number += 1
        aside = path.with_name(f"{path.name}.kept{number}")
        if not os.path.lexists(aside):
            os.rename(path, aside)


def clear_if_empty(*folders: Path) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _forward(root: Path, folder: Path, plan: Plan) -> None:
    with _whole(lambda: _swap(root, folder, plan, None)):
        _swap(root, folder, plan, "done")
    _purge(root, folder, plan)


def _backward(root: Path, folder: Path, plan: Plan) -> list[str]:
    with _whole(lambda: _swap(root, folder, plan, "done")):
        still = {unit: origin for unit, origin in plan.puts.items() if not os.path.lexists(folder / "new" / unit)}
        kept = handwork.keep(root, folder / "old", still, plan.files, root / UNDONE / folder.name)
        _swap(root, folder, plan, "undone")
    return kept


@contextlib.contextmanager
def _whole(back: Callable[[], None]) -> Iterator[None]:
    """All or nothing: where it is refused half way, `back` takes back what was done, and the refusal is raised."""
    try:
        yield
    except (OSError, Failure):
        try:
            back()
        except OSError as error:
            raise Failure(f"{error.filename}: {error.strerror}; the library is half changed: mend that, and the next "
                          "command ends it") from None
        raise


def _swap(root: Path, folder: Path, plan: Plan, phase: str | None) -> None:
    """Swap a change in, where it is to be done, else out again; what of it is swapped already is passed over."""
    there: tuple[Collection[str], Path] = plan.takes, folder / "old"
    here: tuple[Collection[str], Path] = plan.puts, folder / "new"
    (goes, to), (comes, source) = (there, here) if phase == "done" else (here, there)
    for unit in sorted({*goes, *comes}, key=lambda unit: (unit == MANIFEST, unit)):
        place, gone, coming = root / unit, to / unit, source / unit
        if unit in goes and not os.path.lexists(gone) and os.path.lexists(place) and (
                unit not in comes or os.path.lexists(coming)):
            files.private_folder(gone.parent)
            os.rename(place, gone)
        if unit in comes and os.path.lexists(coming):
            out_of_the_way(place)
            files.private_folder(place.parent)
            os.rename(coming, place)
    files.sync_folder(root)
    if phase != "done":
        clear_if_empty(*((root / unit).parent for unit in goes if "/" in unit))
    _set_phase(folder, phase)


def _purge(root: Path, folder: Path, plan: Plan) -> None:
    """After a final change, nothing of what was there before is left."""
    if plan.final:
        try:
            for place in (*_folders(root / UNDO), root / UNDONE, folder / "old"):
                files.remove(place)
        except OSError as error:
            raise Failure(f"{error.filename}: {error.strerror}; {plan.verb} is done, but what could be taken back is "
                          "still there: mend that, and the next command removes it") from None


def _plan(folder: Path) -> Plan:
    value = files.read_json(folder / PLAN)
    if value.get("schema") != SCHEMA:
        raise Failure(f"{folder} was written by another version of this program, which alone can end it or take it "
                      "back")
    with files.understood(folder / PLAN, "a journal"):
        plan = Plan(str(value["verb"]), str(value["command"]), [str(unit) for unit in value["takes"]],
                    {str(unit): str(origin) for unit, origin in value["puts"].items()},
                    {str(path): str(digest) for path, digest in value["files"].items()}, bool(value["final"]))
        for path in (*plan.takes, *plan.puts, *plan.puts.values(), *plan.files):
            if Path(path).is_absolute() or ".." in Path(path).parts or "\0" in path:
                raise ValueError(f"{path!r:.80} leads out of the library")
        if not all(unit and unit == unit_of(unit) for unit in (*plan.takes, *plan.puts)):
            raise ValueError("more or less than a unit is swapped")
        return plan


def _write_plan(folder: Path, plan: Plan) -> None:
    files.write_json(folder / PLAN, {"schema": SCHEMA, **asdict(plan)})


def _folders(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if place.is_dir() else []


def _phase(folder: Path) -> str | None:
    try:
        return (folder / "phase").read_text(encoding="ascii")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _set_phase(folder: Path, phase: str | None) -> None:
    if phase is None:
        (folder / "phase").unlink()
    else:
        files.write_bytes(folder / "phase", phase.encode("ascii"))


def _discard(folder: Path) -> None:
    """Remove a change, its phase first: without one it is rubbish, and what cannot be removed now goes another time."""
    with contextlib.suppress(OSError):
        if folder.is_dir():
            (folder / "phase").unlink(missing_ok=True)
        files.remove(folder)
