"""apply: carry out what a person decided in the report page of an earlier version, as one run.

Names first, then faces that are somebody else, then merges, then drops. What was applied before, or is so already, is
passed over, so the same file twice changes nothing; what no longer fits the library stops it before anything changed.
"""

from ..common.errors import Failure
from ..export import draft as drafts
from ..export.draft import Options
from ..export.swap import OpenDetector
from ..formats.decisions import Decisions, final, short_key
from ..library.folder import Record
from ..library.run import Run
from . import consolidate, edit


def carry_out(run: Run, decided: Decisions, options: Options, open_detector: OpenDetector) -> None:
    """Everything in `decided`, within `run`. Raises Failure for a face or faceset that the library does not know."""
    for folder, name in decided.names.items():
        if (entry := _entry(run, folder)) and entry.name != name:
            if entry.name == decided.was.get(folder, entry.name):
                edit.name(run, folder, name)
            else:
                run.notes.append(f"{folder} was called {entry.name!r} since the page was made, and stays so; "
                                         f"else: sort_faces.py name {folder} {name!r}")
    for folder, faces in decided.not_this.items():
        if _entry(run, folder):
            _not_this(run, folder, faces, options, open_detector)
    groups: dict[str, list[str]] = {}
    for folder in decided.merges:
        if _entry(run, folder):
            groups.setdefault(final(decided, folder), []).append(folder)
    for into, others in groups.items():
        if _entry(run, into):
            consolidate.merge(run, into, others, options, open_detector)
    for folder in decided.drops:
        if _entry(run, folder):
            edit.drop(run, folder, "dropped in the report")


def _entry(run: Run, folder: str) -> Record | None:
    """The canonical faceset `folder`; None, with a note, where it is merged or dropped already."""
    manifest = run.manifest
    for entry in manifest.facesets:
        if entry.folder == folder:
            return entry
    for aside in (*manifest.merged, *manifest.dropped, *manifest.masked):
        if aside.folder.rpartition("/")[2] == folder:
            run.notes.append(f"{folder} is {aside.reason or 'set aside'} already: passed over")
            return None
    raise Failure(f"there is no {folder} in {run.library.root}; make the report again, and decide there")


def _not_this(run: Run, folder: str, faces: list[str], options: Options, open_detector: OpenDetector) -> None:
    """Faces of the faceset go; one that is not in it (its whole key is given) never joins."""
    contents = drafts.existing(run, folder)[1]
    mine = {name: key for key in contents.keys for name in (key, short_key(key))}
    refused = run.manifest.not_this.get(folder, ())
    before = {name for key in refused for name in (key, short_key(key))}
    wrong = [mine.get(face, face) for face in faces if face in mine or face not in before]
    unknown = [face for face in wrong if "@" not in face]
    if unknown:
        raise Failure(f"{folder} has no face {unknown[0]}; make the report again, and decide there")
    if wrong:
        edit.not_this(run, folder, wrong, options, open_detector)
