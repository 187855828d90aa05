"""What becomes of an asset: the rules, and the rows of state.db that they make of what a search shows."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..common.errors import Failure, SettingsError
from ..immich import boxes
from ..immich.client import understanding
from ..immich.listing import Item
from .duplicates import is_content_checksum
from .state import Asset, State

LARGEST = 1 << 50               # bytes of a file; what is said to be larger has no size


@dataclass(frozen=True)
class Rules:
    """What makes an asset wanted."""

    owner: str
    min_face_px: float
    excluded: Callable[[str], object]   # is this path on the server that of no photo?
    boxes_in_search: bool               # False (3.x): faces are asked for afterwards


class Kept:
    """What this run has listed so far."""

    def __init__(self, state: State, rules: Rules) -> None:
        self.state, self.rules = state, rules
        with state.writing() as db:
            for table, columns in (("peopled", "id TEXT PRIMARY KEY, people TEXT"), ("refaced", "id TEXT PRIMARY KEY")):
                db.execute(f"CREATE TEMP TABLE IF NOT EXISTS {table} ({columns}) WITHOUT ROWID")
                db.execute(f"DELETE FROM {table}")

    def keep(self, items: Iterable[Item]) -> None:
        items = list(items)
        with understanding("the search"):
            rows = [row(item, self.rules) for item in items]
            people = {} if self.rules.boxes_in_search else {item["id"]: _people(item) for item in items}
        self.state.put(rows)
        if people:
            self._rename(people)

    def gone(self, asset_id: str) -> None:
        """The server does not have it any more."""
        with self.state.writing() as db:
            db.execute("UPDATE assets SET run = run - 1 WHERE id = ?", (asset_id,))

    def months(self, visibility: str) -> Counter[str]:
        rows = self.state.all(f"SELECT month, COUNT(*) {OURS} GROUP BY month", self.state.run, visibility)
        return Counter(dict(rows))

    def ids(self, visibility: str, month: str = "") -> set[str]:
        rows = self.state.all(f"SELECT id {OURS} AND ? IN (month, '')", self.state.run, visibility, month)
        return {one for one, in rows}

    def _rename(self, people: dict[str, dict[str, str]]) -> None:
        """3.x: a search names the people of an asset, without boxes. One with any is `peopled`, JSON {id: name}.
        Names given since are taken over; an asset that shows others than before is `refaced`: its faces are asked for
        again.
        """
        chosen = ", ".join("?" * len(people))
        staged = self.state.all(        # of an edited picture the boxes are not kept
            f"SELECT id, faces FROM assets WHERE id IN ({chosen}) AND edited = '' AND sha256 != ''", *people)
        with self.state.writing() as db:
            db.executemany("INSERT OR REPLACE INTO peopled VALUES (?, ?)", (
                (one, json.dumps(people[one])) for one in people if people[one]))
            for asset_id, text in staged:
                faces, now = json.loads(text), people[asset_id]
                if {face[4] for face in faces if face[4]} != set(now):
                    db.execute("INSERT OR IGNORE INTO refaced VALUES (?)", (asset_id,))
                elif any(face[5] != now.get(face[4], "") for face in faces):
                    named = json.dumps([[*face[:5], now.get(face[4], "")] for face in faces])
                    db.execute("UPDATE assets SET faces = ? WHERE id = ?", (named, asset_id))


OURS = "FROM assets WHERE run = ? AND visibility = ? AND outcome != 'foreign'"


def row(item: Item, rules: Rules) -> Asset:
    """One search item as a row of state.db, with its outcome as far as the item tells."""
    exif = item.get("exifInfo") or {}
    width, height = boxes.upright_size(item)
    edited = boxes.edited_size(item)
    path, checksum = text(item, "originalPath"), text(item, "checksum")
    size = exif.get("fileSizeInByte")
    outcome, reason, faces = "ask", "", "[]"
    found = boxes.faces_of(item)
    if item["ownerId"] != rules.owner:
        outcome = "foreign"
    elif rules.excluded(path):
        outcome = "excluded"
    elif item.get("isOffline"):
        outcome, reason = "error", "the server says that its file is offline"
    elif rules.boxes_in_search:
        if found is None:
            raise Failure("the search gives no face boxes although this server should; is it really Immich 2.x?")
        outcome, faces = judge(found, (width, height), rules.min_face_px)
    elif not item.get("thumbhash"):
        outcome = "none"        # Immich looks for faces in the preview, which it has not made yet
    elif width and min(width, height) < rules.min_face_px:
        outcome = "small"
    return Asset(item["id"], item["fileCreatedAt"], text(item, "localDateTime")[:7], text(item, "visibility"),
                 text(item, "originalFileName"), path, checksum,
                 is_content_checksum(checksum, path, item.get("libraryId")),
                 size if isinstance(size, int) and 0 < size < LARGEST else 0, width, height,
                 f"[{edited[0]}, {edited[1]}]" if all(edited) else "", faces, outcome, reason)


def judge(found: Iterable[Item], size: boxes.Size, least: float, placed: bool = True) -> tuple[str, str]:
    """Outcome by faces, and the boxes as state.db keeps them; `size` and `placed` as in boxes.measure."""
    found = boxes.visible(found)
    if not found:
        return "none", "[]"
    largest, kept = boxes.measure(found, size, placed)
    return ("wanted" if largest >= least else "small"), json.dumps([
        [*face.box, face.person_id, face.person_name] for face in kept])


def text(item: Item, name: str) -> str:
    """A text as the server gives it, "" where there is none; lone surrogates cannot be stored."""
    return str(item.get(name) or "").encode("utf-8", "replace").decode("utf-8")


def _people(item: Item) -> dict[str, str]:
    """Names of the people whom a search of 3.x shows in an asset, by their ids."""
    return {text(person, "id"): text(person, "name") for person in item.get("people") or ()}


def excluding(globs: Iterable[str]) -> Callable[[str], object]:
    """Whether a path matches any of `globs`, which mean what they mean in .gitignore."""
    try:
        pattern = re.compile("|".join(map(_regex, globs)) or r"(?!)", re.DOTALL)
    except re.error as error:
        raise SettingsError(f"--exclude: {error.pattern!r:.80} is no glob ({error})") from None
    return lambda path: pattern.fullmatch(path.lstrip("/"))


SIGNS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
SIGN = re.compile(r"\*\*/|\*\*|\*|\?|\[(?P<but>!?)(?P<of>[^]/]+)\]|\\?(?P<plain>.)", re.DOTALL)


def _regex(glob: str) -> str:
    """`*` and `?` stay within a folder, `**/` is any folders or none, `[a-c]` is one of these, `\\*` is a star.

    With a slash but at its end a glob begins at the root, without it anywhere. What is in a folder that matches matches
    too; with a slash at its end a glob matches folders alone.
    """
    if glob.startswith("!"):
        raise SettingsError(f"--exclude {glob}: a glob cannot take another one back")
    begin = "" if "/" in glob.rstrip("/") else "(?:.*/)?"
    return begin + SIGN.sub(_sign, glob.strip("/")) + ("/.*" if glob.endswith("/") else "(?:/.*)?")


def _sign(match: re.Match[str]) -> str:
    if match["of"]:
        inside = match["of"].replace("\\", "\\\\").replace("[", "\\[")
        return f"[{'^/' if match['but'] else ''}{inside}]"
    return SIGNS.get(match[0]) or re.escape(match["plain"])
