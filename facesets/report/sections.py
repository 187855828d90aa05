"""What the template gets: every part of the page as plain values, in the words that a person reads."""

import base64
import time
from collections.abc import Iterable, Sequence
from typing import Any

from . import charts, checks, commands, figures, left_out, runs, sheets, shelf
from .gathered import Gathered, halves_of

FACES_IN_PAGE = 48_000      # faces that can be looked at in large, in all; 8 characters each
LISTED = (18, 60)           # of one faceset, at least and at most
LAST_RUNS = 12
STAGES = {"stage": "Staged", "embed": "Embedded", "cluster": "Clustered"}


def context(gathered: Gathered, workers: int) -> dict[str, Any]:
    """Everything the template asks for; cuts out the examples on the way."""
    books, work = gathered.books, gathered.work
    latest = {made.run for made in work.proposals.values()} or {run["run"] for run in books.manifest.runs[-1:]}
    touched = gathered.findings.touched()
    cards = [card(item, gathered.plans[index], item.run in latest, index in touched)
             for index, item in enumerate(books.sets)]
    rows = runs.rows_by_key(work)
    torn, torn_in_all = left_out.torn(work, {item.folder for item in books.sets}, checks.MOST)
    reasons = left_out.reasons(books, work)
    wanted = left_out.cuttings([key for reason in reasons for key in reason.keys] + [face.key for face in torn], rows)
    done = sheets.cut(books.root, list(wanted.values()), workers)
    pictures = {key: cutting.name for key, cutting in wanted.items() if cutting.name in done}
    years = [year for item in books.sets for year in item.years if item.years[year]]
    users = sorted({user for item in books.sets for user in item.users})
    found = gathered.findings
    shown = _findings(found, cards, books.sets)
    to_check = len(torn) + sum(map(len, shown.values()))
    return {
        "cards": cards, "tile": sheets.TILE, "users": users, "known": gathered.known, "counted": counted,
        "pictures": sum(len(item.faces) for item in books.sets),
        "subtitle": " · ".join(filter(None, [
            _span(years), ", ".join(users), f"made {time.strftime('%d %B %Y, %H:%M').lstrip('0')}"])),
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "views": [{"id": "facesets", "title": "Facesets", "count": len(cards)},
                  {"id": "check", "title": "To check", "count": to_check},
                  {"id": "charts", "title": "Charts", "count": 0},
                  {"id": "runs", "title": "Runs", "count": 0}, {"id": "left-out", "title": "Left out", "count": 0}],
        "findings": shown, "torn": _torn(torn, cards, pictures),
        "more": {"pairs": _more(found.pairs), "mixed": _more(found.mixed), "conflicts": _more(found.conflicts),
                 "torn": torn_in_all - len(torn)},
        "charts": figures.all_of(gathered), "problems": books.unreadable, "work": [_user(user) for user in work.users],
        "library_runs": [_run(run) for run in reversed(books.manifest.runs[-LAST_RUNS:])],
        "left_out": _left_out(reasons, pictures), "data": data(gathered, users, latest, touched)}


def card(item: shelf.Set, pictures: sheets.Sheets, new: bool, check: bool) -> dict[str, Any]:
    users = [f"{user} {count}" for user, count in sorted(item.users.items())] if len(item.users) > 1 else item.users
    facts = [counted(len(item.faces), "picture"), _span([year for year in item.years if item.years[year]])]
    more = [f"spread {item.spread:.2f}", ", ".join(filter(None, users))]
    first, last = (min(item.years), max(item.years)) if item.years else (0, -1)
    return {"folder": item.folder, "number": item.number, "name": item.name, "title": item.title,
            "best": pictures.best if pictures.best.faces else None, "odd": pictures.odd, "new": new, "check": check,
            "rest": len(item.faces) - len(pictures.best.faces) <= sheets.ODD,
            "facts": [fact for fact in facts if fact], "more": [fact for fact in more if fact],
            "immich": _names(item.names),
            "spark": charts.spark([item.years.get(year, 0) for year in range(first, last + 1)][-60:])}


def data(gathered: Gathered, users: Sequence[str], latest: set[str], touched: set[int]) -> dict[str, Any]:
    """What the page's script needs, as short as it can be: thousands of facesets go into one page."""
    books = gathered.books
    fewest, most = LISTED
    listed = max(fewest, min(most, FACES_IN_PAGE // max(len(books.sets), 1)))
    place = {user: number for number, user in enumerate(users)}
    sets = []
    for index, item in enumerate(books.sets):
        odd = gathered.plans[index].odd
        odd_faces = odd.faces if odd else ()
        first = [face for face in range(len(item.faces)) if face not in odd_faces][:listed - len(odd_faces)]
        order = sorted([*first, *odd_faces])
        qualities = [face.quality for face in item.faces]
        sets.append({
            "f": item.folder, "n": item.number, "t": item.name, "p": item.proposed, "i": list(item.names),
            "s": len(item.faces), "d": round(item.spread, 4), "q": round(sum(qualities) / max(len(qualities), 1), 3),
            "y": sorted(year for year in item.years if item.years[year]),
            "u": [[place[user], count] for user, count in sorted(item.users.items())],
            "k": packed([item.faces[face] for face in order], place), "b": len(gathered.plans[index].best.faces),
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


def pictures_in(gathered: Gathered, page: dict[str, Any]) -> set[str]:
    """Every file in `_report/` that the page shows."""
    shown = {sheet.file for _, sheet in gathered.all_sheets()}
    shown |= {face["picture"] for face in page["torn"]}
    return shown | {picture for group in page["left_out"] for reason in group["reasons"] for picture in reason.pictures}


def counted(count: int, word: str, words: str = "") -> str:
    return f"{count:,} {word if count == 1 else words or word + 's'}"


def _findings(found: checks.Findings, cards: list[dict[str, Any]], sets: list[shelf.Set]) -> dict[str, Any]:
    pairs = [{"one": cards[pair.one], "other": cards[pair.other], "distance": pair.distance, "near": pair.near,
              "same_name": pair.same_name,
              "command": commands.merge(cards[pair.one]["folder"], cards[pair.other]["folder"])}
             for pair in found.pairs[:checks.MOST]]
    mixed = []
    for item in found.mixed[:checks.MOST]:
        whole, one = sets[item.index], cards[item.index]
        mixed.append({
            "card": one, "distance": item.distance, "names": _names(dict(item.names)),
            "halves": [{**one, "best": half} for half in halves_of(whole)] if item.distance else [one],
            "smaller": len(whole.halves.smaller), "command": commands.split(whole.folder)})
    named = []
    for conflict in found.conflicts[:checks.MOST]:
        folders = [cards[index]["folder"] for index in conflict.members]
        named.append({"name": conflict.name, "why": conflict.why,
                      "cards": [cards[index] for index in conflict.members],
                      "command": commands.merge(*folders) if len(folders) > 1
                      else commands.name(folders[0], conflict.better)})
    return {"pairs": pairs, "mixed": mixed, "conflicts": named}


def _torn(faces: Sequence[left_out.Torn], cards: list[dict[str, Any]],
          pictures: dict[str, str]) -> list[dict[str, Any]]:
    by_folder = {item["folder"]: item for item in cards}
    found = []
    for face in faces:
        between = [by_folder[folder] for folder in face.candidates]
        found.append({"picture": pictures.get(face.key, ""), "cards": between,
                      "commands": [commands.not_this(item["folder"], face.key) for item in between]})
    return found


def _user(user: runs.User) -> dict[str, Any]:
    return {"label": user.label, "problems": user.problems, "stages": [{
        "title": STAGES[stage.name], "what": stage.what, "when": runs.ago(stage.at), "parts": stage.parts,
        "total": stage.total, "adds_up": stage.adds_up, "sum": sum(part.count for part in stage.parts),
        "notes": stage.notes, "reasons": stage.reasons,
        "reasons_title": "Why some are too poor" if stage.name == "cluster" else "Why some failed",
        "bar": charts.shares([(part.words, part.count, part.kind) for part in stage.parts])} for stage in user.stages]}


def _run(run: dict[str, Any]) -> dict[str, str]:
    changed = [str(folder) for folder in run.get("facesets", [])]
    return {"at": str(run.get("at", "")).replace("T", " ").removesuffix("Z"), "verb": str(run.get("verb", "")),
            "facesets": ", ".join(changed[:6]) + (f" and {len(changed) - 6} more" if len(changed) > 6 else ""),
            "counts": ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in run.get("counts", {}).items())}


def _left_out(reasons: Sequence[left_out.Reason], pictures: dict[str, str]) -> list[dict[str, Any]]:
    groups: dict[str, list[left_out.Reason]] = {}
    for reason in reasons:
        reason.pictures = [pictures[key] for key in reason.keys if key in pictures]
        groups.setdefault(reason.where, []).append(reason)
    return [{"title": left_out.TITLES[where], "count": sum(reason.count for reason in groups[where]),
             "reasons": groups[where]} for where in left_out.TITLES if where in groups]


def _names(names: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(names.items(), key=lambda item: -item[1]))


def _span(years: Sequence[int]) -> str:
    if not years:
        return ""
    return str(min(years)) if min(years) == max(years) else f"{min(years)}–{max(years)}"


def _more(found: Sequence[object]) -> int:
    return max(len(found) - checks.MOST, 0)
