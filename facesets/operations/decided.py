"""apply: carry out a decisions.json, which the report page of an earlier version saved, as one run.

    {"schema": 1, "library": ID, "made": ISO 8601, "decisions": [DECISION, ...]}

DECISION    {"do": "not-this", "faceset": FOLDER, "face": FACE, "file": "0007.png" or ""}
            {"do": "name", "faceset": FOLDER, "name": TEXT, "was": the name that the page showed}
            {"do": "merge", "faceset": FOLDER, "into": FOLDER}
            {"do": "drop", "faceset": FOLDER}
FOLDER      "faceset_012", a canonical one      FACE    a face key of formats.cache, or its `short_key`

The file comes from a browser, a mail or anywhere: faces and facesets in it are looked up, and never become a path. What
was applied before, or is so already, is passed over, so the same file twice changes nothing; what no longer fits the
library stops it before anything changed.
"""

from pathlib import Path

from ..common import files, terminal
from ..common.errors import Failure
from ..export import draft as drafts
from ..export.draft import Options
from ..formats.cache import FACE_KEY, short_key
from ..library.folder import Record
from ..library.run import Run
from . import consolidate, edit

INSTEAD = "`sort_faces.py review` asks anew"
DOES = {"name": ("name",), "not-this": ("face",), "merge": ("into",), "drop": ()}      # what each says more, in order
Decision = dict[str, str]


def read(path: Path) -> tuple[str, list[Decision]]:
    """`Library.id` and the decisions in `path`. Raises Failure, in words, for anything that is none."""
    value = files.read_json(path, 1)
    with files.understood(path, "a file of decisions"):
        return value["library"], [files.texts(item, "do", "faceset", *DOES[item["do"]], *({"was"} & item.keys()))
                                  for item in value["decisions"]]


def carry_out(run: Run, decisions: list[Decision], options: Options) -> None:
    """Names first, then faces that are somebody else, then merges, then drops.

    Raises Failure for a face or faceset that the library does not know.
    """
    into = {item["faceset"]: item["into"] for item in decisions if item["do"] == "merge"}
    groups: dict[str, list[str]] = {}
    for item in sorted(decisions, key=lambda item: list(DOES).index(item["do"])):
        if item["do"] == "drop" or not (entry := _entry(run, item["faceset"])):
            continue
        match item["do"]:
            case "name":
                name = terminal.name(item["name"])
                if entry.name not in (name, item.get("was", entry.name)):
                    run.notes.append(f"{entry.folder} was called {entry.name!r} since the page was made, and stays so; "
                                     f"else: sort_faces.py name {entry.folder} {name!r}")
                elif entry.name != name:
                    edit.name(run, entry.folder, name)
            case "not-this":
                _not_this(run, entry.folder, item["face"], options)
            case "merge":
                groups.setdefault(_end(entry.folder, into), []).append(entry.folder)
    for folder, others in groups.items():
        if _entry(run, folder):
            consolidate.merge(run, folder, others, options)
    for item in decisions:
        if item["do"] == "drop" and (entry := _entry(run, item["faceset"])):
            edit.drop(run, entry.folder, "dropped in the report")


def _entry(run: Run, folder: str) -> Record | None:
    """The canonical faceset `folder`; None, with a note, where it is merged or dropped already."""
    manifest = run.manifest
    for entry in manifest.facesets:
        if entry.folder == folder:
            return entry
    for aside in (*manifest.merged, *manifest.dropped, *manifest.masked):
        if Path(aside.folder).name == folder:
            run.notes.append(f"{folder} is {aside.reason or 'set aside'} already: passed over")
            return None
    raise Failure(f"there is no {folder} in {run.library.root}; {INSTEAD}")


def _end(folder: str, into: dict[str, str]) -> str:
    """Where the faces of `folder` end up after all merges. Raises Failure where they go in a circle."""
    left, end = dict(into), folder
    while end in left:
        end = left.pop(end)
    if end == folder:
        raise Failure(f"{folder} would be merged into itself; {INSTEAD}")
    return end


def _not_this(run: Run, folder: str, face: str, options: Options) -> None:
    """A face of the faceset goes; one that is not in it (its whole key is given) never joins."""
    def is_it(key: str) -> bool:
        return face in (key, short_key(key))
    key = next(filter(is_it, drafts.existing(run, folder)[1].keys), "")
    if not key and any(map(is_it, run.manifest.not_this.get(folder, ()))):
        return      # said before
    if not key and not FACE_KEY.fullmatch(face):
        raise Failure(f"{folder} has no face {face}; {INSTEAD}")
    edit.not_this(run, folder, [key or face], options)
