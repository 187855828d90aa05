"""apply: carry out a decisions.json, which the report page of an earlier version saved, as one run.

    {"schema": 1, "library": ID, "made": ISO 8601, "decisions": [DECISION, ...]}

DECISION    {"do": "not-this", "faceset": FOLDER, "face": FACE, "file": "0007.png" or ""}
            {"do": "name", "faceset": FOLDER, "name": TEXT, "was": the name that the page showed}
            {"do": "merge", "faceset": FOLDER, "into": FOLDER}
            {"do": "drop", "faceset": FOLDER}
FOLDER      "faceset_012", a canonical one      FACE    a face key of formats.cache, or its `short_key`

The file comes from a browser, a mail or anywhere: nothing in it is believed before it was checked. What was applied
before, or is so already, is passed over, so the same file twice changes nothing; what no longer fits the library stops
it before anything changed.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import files, terminal
from ..common.errors import Failure
from ..export import draft as drafts
from ..export.draft import Options
from ..formats.cache import FACE_KEY, short_key
from ..library.folder import Record
from ..library.run import Run
from . import consolidate, edit

MADE_BY = "Save decisions in the report"
FOLDER = re.compile(r"faceset_\d{3,9}")
FACE = re.compile("[0-9a-f]{12}|" + FACE_KEY.pattern, re.ASCII)
Decision = dict[str, str]


@dataclass(frozen=True)
class Decisions:
    library: str            # `Library.id`
    all: list[Decision]

    def of(self, kind: str) -> list[Decision]:
        return [item for item in self.all if item["do"] == kind]

    def end(self, folder: str) -> str:
        """Where the faces of `folder` end up after all merges; one that is merged itself where they go in a circle."""
        merges, seen = {item["faceset"]: item["into"] for item in self.of("merge")}, set[str]()
        while folder in merges and folder not in seen:
            seen.add(folder)
            folder = merges[folder]
        return folder


def read(path: Path) -> Decisions:
    """The decisions in `path`. Raises Failure, in words, for anything that is none or contradicts itself."""
    value = files.read_json(path, 1, MADE_BY)
    with files.understood(path, "a file of decisions", f"; {MADE_BY} again"):
        found = Decisions(value["library"], [_decision(item) for item in value["decisions"]])
    merged, dropped = ({item["faceset"] for item in found.of(kind)} for kind in ("merge", "drop"))
    for item in found.of("merge"):
        if {item["faceset"], item["into"]} & dropped:
            raise Failure(f"{path} merges {item['faceset']} into {item['into']} and drops one of them; decide again")
        if found.end(item["faceset"]) in merged:
            raise Failure(f"{path} merges {item['faceset']} into itself; decide again")
    return found


def _decision(item: dict[str, Any]) -> Decision:
    found = {**files.texts(item, "do"), "faceset": _matching(FOLDER, item["faceset"])}
    match found["do"]:
        case "not-this":
            found["face"] = _matching(FACE, item["face"])
        case "name":
            found |= files.texts(item, "name", *(["was"] if "was" in item else []))
            clean = terminal.name(found["name"])
            if not clean or clean != " ".join(found["name"].split()):
                raise ValueError(f"{terminal.safe(found['name'], 40)!r} is no name: 1 to {terminal.LONGEST_NAME} "
                                 "characters of one line")
        case "merge":
            found["into"] = _matching(FOLDER, item["into"])
        case other if other != "drop":
            raise ValueError(f"{other!r:.40} is nothing to do")
    return found


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{terminal.safe(value, 40)!r} is not of the form of {pattern.pattern:.24}")
    return value


def carry_out(run: Run, decided: Decisions, options: Options) -> None:
    """Names first, then faces that are somebody else, then merges, then drops.

    Raises Failure for a face or faceset that the library does not know.
    """
    for item in decided.of("name"):
        folder, name = item["faceset"], terminal.name(item["name"])
        if (entry := _entry(run, folder)) and entry.name != name:
            if entry.name == item.get("was", entry.name):
                edit.name(run, folder, name)
            else:
                run.notes.append(f"{folder} was called {entry.name!r} since the page was made, and stays so; "
                                 f"else: sort_faces.py name {folder} {name!r}")
    wrong: dict[str, list[str]] = {}
    for item in decided.of("not-this"):
        wrong.setdefault(item["faceset"], []).append(item["face"])
    for folder, faces in wrong.items():
        if _entry(run, folder):
            _not_this(run, folder, faces, options)
    groups: dict[str, list[str]] = {}
    for folder in dict.fromkeys(item["faceset"] for item in decided.of("merge")):
        if _entry(run, folder):
            groups.setdefault(decided.end(folder), []).append(folder)
    for into, others in groups.items():
        if _entry(run, into):
            consolidate.merge(run, into, others, options)
    for folder in dict.fromkeys(item["faceset"] for item in decided.of("drop")):
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


def _not_this(run: Run, folder: str, faces: list[str], options: Options) -> None:
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
        edit.not_this(run, folder, wrong, options)
