"""decisions.json: what a person decided in the page of an earlier version, which `sort_faces.py apply` carries out.

    {"schema": 1, "library": ID, "made": ISO 8601, "decisions": [DECISION, ...]}

DECISION    {"do": "not-this", "faceset": FOLDER, "face": FACE, "file": "0007.png" or ""}
            {"do": "name", "faceset": FOLDER, "name": TEXT, "was": the name that the page showed}
            {"do": "merge", "faceset": FOLDER, "into": FOLDER}
            {"do": "drop", "faceset": FOLDER}
FOLDER      "faceset_012", a canonical one
FACE        a face key of formats.cache, or the first 12 hex digits of the SHA-256 of one (`short_key`), which is
            enough within a faceset

The page comes from us, the file from a browser, a mail or anywhere: nothing in it is believed before it was checked.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common import files, terminal
from ..common.errors import Failure
from .cache import FACE_KEY

SCHEMA = 1
MADE_BY = "Save decisions in the report"
FOLDER = re.compile(r"faceset_\d{3,9}")
FACE = re.compile("[0-9a-f]{12}|" + FACE_KEY.pattern, re.ASCII)


@dataclass
class Decisions:
    """All of a file, each faceset by its folder."""

    library: str = ""
    not_this: dict[str, list[str]] = field(default_factory=dict)    # folder -> faces that are somebody else
    names: dict[str, str] = field(default_factory=dict)             # folder -> name
    was: dict[str, str] = field(default_factory=dict)               # folder -> name that it had in the page
    merges: dict[str, str] = field(default_factory=dict)            # folder -> folder that takes its faces
    drops: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.not_this.values())) + len(self.names) + len(self.merges) + len(self.drops)


def short_key(face_key: str) -> str:
    """12 hex digits that name a face within its faceset: face keys are long, and a page holds thousands."""
    return hashlib.sha256(face_key.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def library_id(root: Path) -> str:
    """Names a library in a browser's memory, without saying where it lies."""
    return hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def read(path: Path) -> Decisions:
    """The decisions in `path`. Raises Failure, in words, for anything that is none or contradicts itself."""
    value = files.read_json(path, SCHEMA, MADE_BY)
    found = Decisions()
    try:
        found.library = _text(value["library"])
        for item in value["decisions"]:
            _add(found, item)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Failure(f"{path} holds no decisions ({type(error).__name__}: {terminal.safe(error, 120)}); "
                      f"{MADE_BY} again") from None
    _check(found, path)
    return found


def _add(found: Decisions, item: dict[str, Any]) -> None:
    folder = _matching(FOLDER, item["faceset"])
    match item["do"]:
        case "not-this":
            faces = found.not_this.setdefault(folder, [])
            if (face := _matching(FACE, item["face"])) not in faces:
                faces.append(face)
        case "name":
            found.names[folder] = name(item["name"])
            if "was" in item:
                found.was[folder] = _text(item["was"])
        case "merge":
            found.merges[folder] = _matching(FOLDER, item["into"])
        case "drop":
            if folder not in found.drops:
                found.drops.append(folder)
        case other:
            raise ValueError(f"{other!r:.40} is nothing to do")


def name(text: Any) -> str:
    """A name as a person gives it: one line, not endless, nothing that steers a terminal."""
    clean = terminal.name(_text(text))
    if not clean or clean != " ".join(text.split()):
        raise ValueError(f"{terminal.safe(text, 40)!r} is no name: 1 to {terminal.LONGEST_NAME} characters of one line")
    return clean


def _check(found: Decisions, path: Path) -> None:
    for folder, into in found.merges.items():
        if folder in found.drops or into in found.drops:
            raise Failure(f"{path} merges {folder} into {into} and drops one of them; decide again")
        seen = {folder}
        while into in found.merges:
            if into in seen:
                raise Failure(f"{path} merges {folder} into itself; decide again")
            seen.add(into)
            into = found.merges[into]
        if into == folder:
            raise Failure(f"{path} merges {folder} into itself; decide again")


def final(found: Decisions, folder: str) -> str:
    """Where the faces of `folder` end up after all merges."""
    while folder in found.merges:
        folder = found.merges[folder]
    return folder


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not pattern.fullmatch(text := _text(value)):
        raise ValueError(f"{terminal.safe(text, 40)!r} is not of the form of {pattern.pattern:.24}")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value
