"""What the template gets: every part of the page as plain values, in the words that a person reads."""

import base64
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import terminal
from ..formats import proposal
from ..formats.summary import SHOWN
from ..library.store import Library, Manifest
from . import charts, runs, sheets, shelf
from .alike import Pair, pairs
from .sheets import Sheet

FACES_IN_PAGE = 48_000      # faces that can be looked at in large, in all; 8 characters each
LISTED = (18, 60)           # of one faceset, at least and at most
MOST = 40                   # pairs on the page; more than that is a threshold to change, not a list to read
LAST_RUNS = 12
NAMED = 12                  # files named of those that could not be read
STAGES = {"stage": "Staged", "embed": "Embedded", "cluster": "Clustered"}
UNREADABLE, SELDOM = "Photos that could not be read", "People seen too seldom for a faceset"
POOR, ONCE = "Faces too poor to tell whose they are", "Seen once or twice, or far from all"
LEFT_OUT = "Left out of a faceset"


@dataclass
class Gathered:
    """Everything that the page shows, before any picture is made."""

    manifest: Manifest
    sets: list[shelf.Set]
    unreadable: list[str]                       # a line for each folder that could not be read
    users: list[runs.User]
    pairs: list[Pair]                           # of facesets that look alike
    plans: list[tuple[Sheet, Sheet | None]]     # the contact sheets of each set: the best faces, the odd ones

    def all_sheets(self) -> Iterator[tuple[shelf.Set, Sheet]]:
        """Every contact sheet that the page shows, and whose it is."""
        return ((item, sheet) for item, plan in zip(self.sets, self.plans, strict=True) for sheet in plan
                if sheet)

    @property
    def touched(self) -> set[int]:
        return {index for pair in self.pairs for index in (pair.one, pair.other)}


def gather(library: Library, data_root: Path, alike: float) -> Gathered:
    """`alike`: cos-dist beyond known_distance at which two facesets are still shown side by side."""
    manifest = library.manifest()
    sets, unreadable = shelf.read(library.root, manifest)
    return Gathered(manifest, sets, unreadable, runs.users(data_root),
                    pairs(sets, manifest.known_distance, manifest.known_distance + alike, manifest),
                    list(map(sheets.plan, sets)))


def context(gathered: Gathered, folders: str) -> dict[str, Any]:
    """Everything the template asks for."""
    manifest, sets, touched = gathered.manifest, gathered.sets, gathered.touched
    latest = {user.proposed.run for user in gathered.users if user.proposed} or {
        run["run"] for run in manifest.runs[-1:]}
    cards = [_card(item, *plan, item.run in latest, index in touched)
             for index, (item, plan) in enumerate(zip(sets, gathered.plans, strict=True))]
    years = [year for item in sets for year in item.years if item.years[year]]
    users = sorted({user for item in sets for user in item.users})
    shown, drawn, left_out = gathered.pairs[:MOST], charts.all_of(sets), _left_out(sets, gathered.users)
    views = [("facesets", "Facesets", len(cards), True), ("check", "To check", len(shown), bool(cards)),
             ("charts", "Charts", 0, bool(drawn)),
             ("runs", "Runs", 0, bool(gathered.users or manifest.runs or gathered.unreadable)),
             ("left-out", "Left out", 0, bool(left_out))]
    return {
        "folders": folders, "cards": cards, "tile": sheets.TILE, "users": users, "known": manifest.known_distance,
        "counted": terminal.many, "pictures": sum(len(item.faces) for item in sets),
        "subtitle": " · ".join(filter(None, [
            _span(years), ", ".join(users), f"made {time.strftime('%d %B %Y, %H:%M').lstrip('0')}"])),
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "views": [{"id": name, "title": title, "count": count} for name, title, count, holds in views if holds],
        "pairs": shown, "more_pairs": len(gathered.pairs) - len(shown),
        "charts": drawn, "problems": gathered.unreadable, "left_out": left_out,
        "work": gathered.users, "stages": STAGES, "ago": runs.ago, "most_people": SHOWN,
        "library_runs": [_run(run) for run in reversed(manifest.runs[-LAST_RUNS:])],
        "data": data(gathered, users, latest)}


def _card(item: shelf.Set, best: Sheet, odd: Sheet | None, new: bool, check: bool) -> dict[str, Any]:
    users = [f"{user} {count}" for user, count in sorted(item.users.items())] if len(item.users) > 1 else item.users
    facts = [terminal.many(len(item.faces), "picture"), _span([year for year in item.years if item.years[year]])]
    more = [f"spread {item.spread:.2f}", ", ".join(filter(None, users))]
    first, last = (min(item.years), max(item.years)) if item.years else (0, -1)
    return {"folder": item.folder, "number": item.number, "name": item.name, "title": item.title,
            "best": best if best.faces else None, "odd": odd, "new": new, "check": check,
            "rest": len(item.faces) - len(best.faces) <= sheets.ODD,
            "facts": [fact for fact in facts if fact], "more": [fact for fact in more if fact],
            "immich": ", ".join(f"{name} ({count})" for name, count in Counter(item.names).most_common()),
            "spark": [item.years.get(year, 0) for year in range(first, last + 1)][-60:]}


def data(gathered: Gathered, users: Sequence[str], latest: set[str]) -> dict[str, Any]:
    """What the page's script needs, as short as it can be: thousands of facesets go into one page."""
    fewest, most = LISTED
    listed = max(fewest, min(most, FACES_IN_PAGE // max(len(gathered.sets), 1)))
    place = {user: number for number, user in enumerate(users)}
    touched, sets = gathered.touched, []
    for index, (item, (best, odd)) in enumerate(zip(gathered.sets, gathered.plans, strict=True)):
        odd_faces = odd.faces if odd else ()
        first = [face for face in range(len(item.faces)) if face not in odd_faces][:listed - len(odd_faces)]
        order = sorted([*first, *odd_faces])
        qualities = [face.quality for face in item.faces]
        sets.append({
            "f": item.folder, "n": item.number, "t": item.name, "p": item.proposed, "i": list(item.names),
            "s": len(item.faces), "d": round(item.spread, 4), "q": round(sum(qualities) / max(len(qualities), 1), 3),
            "y": sorted(year for year in item.years if item.years[year]),
            "u": [[place[user], count] for user, count in sorted(item.users.items())],
            "k": packed([item.faces[face] for face in order], place), "b": len(best.faces),
            "o": [order.index(face) for face in odd_faces],
            "new": int(item.run in latest), "c": int(index in touched)})
    return {"users": list(users), "sets": sets}


def packed(faces: Iterable[shelf.Face], users: dict[str, int]) -> str:
    """Faces as the page's `facesOf` reads them: 6 bytes each, base64."""
    out = bytearray()
    for face in faces:
        rank = int(face.file.removesuffix(".png")) if face.file.removesuffix(".png").isdecimal() else 0
        out += min(rank, 65535).to_bytes(2, "big")
        out += bytes([round(255 * min(max(face.quality, 0), 1)), round(127.5 * min(max(face.distance, 0), 2)),
                      face.year - 1900 if 1900 < face.year < 2156 else 0, min(users.get(face.user, 255), 255)])
    return base64.b64encode(bytes(out)).decode("ascii")


def _run(run: dict[str, Any]) -> dict[str, str]:
    changed = [str(folder) for folder in run.get("facesets", [])]
    return {"at": str(run.get("at", "")).replace("T", " ").removesuffix("Z"), "verb": str(run.get("verb", "")),
            "facesets": ", ".join(changed[:6]) + (f" and {len(changed) - 6} more" if len(changed) > 6 else ""),
            "counts": ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in run.get("counts", {}).items())}


def _left_out(sets: Sequence[shelf.Set], users: Sequence[runs.User]) -> list[dict[str, Any]]:
    """Faces and photos that made it into no faceset, by kind and reason, the most frequent reason first."""
    found = {title: Counter[str]() for title in (UNREADABLE, POOR, SELDOM, LEFT_OUT, ONCE)}
    unread = {photo.sha256: photo for user in users for photo in user.photos if photo.status == "error"}
    files: dict[str, list[str]] = {}
    for photo in unread.values():
        files.setdefault(photo.reason or "could not be read", []).append(Path(photo.path).name)
    found[UNREADABLE].update({reason: len(names) for reason, names in files.items()})
    for made in proposal.newest(user.proposed for user in users if user.proposed):
        found[POOR].update(face.reason for face in made.rejected)
        found[ONCE].update(face.reason for face in made.leftover)
        for group in made.thin:
            found[SELDOM][shelf.without_numbers(group.reason)] += len(group.faces)
    for item in sets:
        found[LEFT_OUT].update(item.left_out)
    return [{"title": title, "count": reasons.total(), "reasons": [
        {"words": words, "count": count, "files": files.get(words, [])[:NAMED] if title == UNREADABLE else []}
        for words, count in reasons.most_common()]} for title, reasons in found.items() if reasons]


def _span(years: Sequence[int]) -> str:
    if not years:
        return ""
    return str(min(years)) if min(years) == max(years) else f"{min(years)}–{max(years)}"
