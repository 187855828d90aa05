"""All or nothing: the journal that makes a change of many files and folders one change, and takes it back.

A change lies in a folder of its own inside the library, on the same file system, and is nothing but renames:

    .pending/<id>/new/...       what will appear, laid out as in the library
    .pending/<id>/old/<i>       what was taken away: replaced, removed, or on its way to another place
    .pending/<id>/plan.json     {"schema", "verb", "takes": [[path, slot]], "puts": [[source, path]],
                                 "files": {path: SHA-256 of every file that appears},
                                 "folders": [folders that the puts make], "had_manifest", "final"}
    .pending/<id>/phase         one word, replaced atomically; while it is absent the change never happened

    taking   path -> old/<i>      done when old/<i> exists
    putting  source -> path       done when the source is gone; manifest.json replaces its predecessor last
    done     the folder moves to .undo/<id>, and is what `undo` needs
    unputting, untaking           the same backwards, in .undo/<id>

Each phase can be repeated from any point in it, so `recover` ends whatever a kill left: rolled back where there is no
phase yet, rolled forward where there is. Pictures that a person put in the way are moved aside, never overwritten.
"""

import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..common import files
from ..common.errors import Failure

SCHEMA = 1
PENDING, UNDO, UNDONE = ".pending", ".undo", "_undone"
ASIDE = ("_thin", "_masked", "_merged", "_dropped")     # folders of the library that hold facesets
MANIFEST = "manifest.json"
KEEP = 10       # runs that can be taken back, one after the other; their replaced files stay on disk that long


@dataclass
class Plan:
    verb: str
    takes: list[tuple[str, str]] = field(default_factory=list)      # path in the library -> old/<i>
    puts: list[tuple[str, str]] = field(default_factory=list)       # source in the folder -> path in the library
    files: dict[str, str] = field(default_factory=dict)             # path -> SHA-256 of what we put there
    folders: list[str] = field(default_factory=list)                # made on the way, outermost first
    had_manifest: bool = False
    final: bool = False     # cannot be taken back, nor can what was done before: `forget`


def begin(root: Path, folder: Path, plan: Plan) -> None:
    """Decide: from the moment that the phase is written, the change will happen."""
    if hasattr(os, "sync"):
        os.sync()       # one flush for all that was staged, not one fsync a picture
    files.write_json(folder / "plan.json", {"schema": SCHEMA, **asdict(plan)})
    _set_phase(folder, "taking")
    _forward(root, folder, plan)


def recover(root: Path) -> list[str]:
    """End every change that was cut short; what was done, one line each. The caller holds the library's lock."""
    said = []
    for folder in sorted((root / PENDING).glob("*")):
        if not folder.is_dir() or _phase(folder) is None:
            _remove(folder)
            said.append(f"{folder.name} was cut short: what it left is cleared away")
        else:
            _forward(root, folder, _plan(folder))
            said.append(f"{folder.name} was cut short: carried to its end")
    for folder in _kept(root):
        if _phase(folder) is None:
            _remove(folder)
        elif _phase(folder) != "done":
            _backward(root, folder, _plan(folder))
            said.append(f"the undo of {folder.name} was cut short: carried to its end")
    _clear_if_empty(root / PENDING)
    _clear_if_empty(root / UNDO)
    return said


def unfinished(root: Path) -> bool:
    """Whether `recover` has something to do."""
    return any((root / PENDING).glob("*")) or any(_phase(folder) != "done" for folder in _kept(root))


def in_motion(root: Path) -> bool:
    """Whether a change is between its first rename and its last; while one is only being made, all is as it was."""
    return (any(_phase(folder) for folder in (root / PENDING).glob("*"))
            or any(_phase(folder) in ("unputting", "untaking") for folder in _kept(root)))


def history(root: Path) -> list[Path]:
    """Folders of the runs that can be taken back, oldest first."""
    return [folder for folder in _kept(root) if _phase(folder) == "done"]


def _kept(root: Path) -> list[Path]:
    return sorted(folder for folder in (root / UNDO).glob("*") if folder.is_dir())


def undo(root: Path) -> tuple[str, list[str]]:
    """Take back the last change; its verb, and where files lie that a person had put into what it made."""
    folders = history(root)
    if not folders:
        raise Failure("there is no run to take back")
    folder, plan = folders[-1], _plan(folders[-1])
    _check_undo(root, folder, plan)
    _set_phase(folder, "unputting")
    return plan.verb, _backward(root, folder, plan)


def _forward(root: Path, folder: Path, plan: Plan) -> None:
    if _phase(folder) == "taking":
        for path, slot in plan.takes:
            if not _exists(folder / slot) and _exists(root / path):     # gone: a person took it first
                os.rename(root / path, folder / slot)
        _set_phase(folder, "putting")
    if _phase(folder) == "putting":
        for path in plan.folders:
            (root / path).mkdir(mode=files.FOLDER_MODE, exist_ok=True)
        for source, path in plan.puts:
            if _exists(folder / source):
                _out_of_the_way(root / path)
                files.private_folder((root / path).parent)
                os.rename(folder / source, root / path)
        if _exists(folder / "new" / MANIFEST):
            os.replace(folder / "new" / MANIFEST, root / MANIFEST)
        files.sync_folder(root)
        _set_phase(folder, "done")
    if plan.final:
        for old in (*_kept(root), root / UNDONE, folder):
            _remove(old)
        _clear_if_empty(root / PENDING)
        _clear_if_empty(root / UNDO)
        return
    files.private_folder(root / UNDO)
    os.rename(folder, root / UNDO / folder.name)
    _clear_if_empty(root / PENDING)
    for old in history(root)[:-KEEP]:
        _remove(old)


def _backward(root: Path, folder: Path, plan: Plan) -> list[str]:
    kept = []
    if _phase(folder) == "unputting":
        for source, path in reversed(plan.puts):
            if _exists(root / path) and not _exists(folder / source):
                kept += _keep_foreign(root, folder, path, source, plan.files)
                files.private_folder((folder / source).parent)
                os.rename(root / path, folder / source)
        _set_phase(folder, "untaking")
    for path, slot in reversed(plan.takes):
        if _exists(folder / slot):
            _out_of_the_way(root / path)
            files.private_folder((root / path).parent)
            os.rename(folder / slot, root / path)
    for path in reversed(plan.folders):
        _clear_if_empty(root / path)
    if _exists(folder / "old" / MANIFEST):
        os.replace(folder / "old" / MANIFEST, root / MANIFEST)
    elif not plan.had_manifest:
        (root / MANIFEST).unlink(missing_ok=True)
    files.sync_folder(root)
    _remove(folder)
    _clear_if_empty(root / UNDO)
    return kept


def _keep_foreign(root: Path, folder: Path, path: str, source: str, ours: dict[str, str]) -> list[str]:
    """Copy to _undone/ what a person changed in, or added to, the thing that this run had put at `path`."""
    if source.startswith("old/"):
        return []       # moved here, and moves back with everything in it
    place, kept = root / path, []
    for item in sorted(place.rglob("*")) if place.is_dir() else [place]:
        name = item.relative_to(root).as_posix()
        if item.is_file() and ours.get(name) != files.sha256_of(item):
            target = root / UNDONE / folder.name / name
            files.private_folder(target.parent)
            shutil.copy2(item, target)
            kept.append(target.relative_to(root).as_posix())
    return kept


def _check_undo(root: Path, folder: Path, plan: Plan) -> None:
    """Refuse an undo that would run over what a person did since, before anything moves."""
    moved = [path for source, path in plan.puts if source.startswith("old/") and not _exists(root / path)]
    if moved:
        raise Failure(f"{plan.verb} cannot be taken back: {moved[0]} is no longer where it was put")


def _out_of_the_way(path: Path) -> None:
    """Where the journal expects nothing, a person may have put something since: it is kept under another name."""
    number = 0
    while _exists(path):
        number += 1
        aside = path.with_name(f"{path.name}.kept{number}")
        if not _exists(aside):
            os.rename(path, aside)


def _plan(folder: Path) -> Plan:
    value = files.read_json(folder / "plan.json", SCHEMA)
    try:
        for path in [*(path for pair in (*value["takes"], *value["puts"]) for path in pair), *value["folders"]]:
            if Path(path).is_absolute() or ".." in Path(path).parts:
                raise ValueError(f"{path!r:.80} leads out of the library")
        return Plan(str(value["verb"]), [(str(a), str(b)) for a, b in value["takes"]],
                    [(str(a), str(b)) for a, b in value["puts"]],
                    {str(path): str(digest) for path, digest in value["files"].items()},
                    [str(path) for path in value["folders"]], bool(value["had_manifest"]), bool(value["final"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Failure(f"{folder / 'plan.json'} is not a journal ({type(error).__name__}: {error!s:.200})") from None


def _phase(folder: Path) -> str | None:
    try:
        return (folder / "phase").read_text(encoding="ascii")
    except FileNotFoundError:
        return None


def _set_phase(folder: Path, phase: str) -> None:
    files.write_bytes(folder / "phase", phase.encode("ascii"))


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _remove(path: Path) -> None:
    """Remove a change, its phase first: without one it is rubbish, and a kill on the way leaves only rubbish."""
    if path.is_dir():
        (path / "phase").unlink(missing_ok=True)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _clear_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass
