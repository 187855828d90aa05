"""What an answer does to the books: the same as its verb does to the library, at once and in memory. Pure.

ANSWER  {"do": "right", "of", "out", "seen"}    {"do": "merge", "of", "into", "out", "from"}
        {"do": "two-people", "of", "other", "out"}      {"do": "name", "of", "name", "out"}
        {"do": "drop", "of", "out"}
        {"do": "split", "of", "faces", "new": the name of the new one till then}
        {"do": "this-is", "of": loose, "into"}  {"do": "leave", "of": loose}    {"do": "promote", "of": loose, "new"}
A faceset is named by its folder, a face by its short key. A name comes with "was", the one that it takes the place of.
"out" are faces that are somebody else, of the faceset "from" or, without that, "of"; "seen" those that were shown.
"""

from dataclasses import replace
from typing import Any

from ..common import terminal
from ..common.errors import UsageError
from .people import NEW, Person
from .questions import Books, pair

Answer = dict[str, Any]
FIELDS = {"right": ("of", "out"), "merge": ("of", "into", "out"), "two-people": ("of", "other", "out"),
          "split": ("of", "faces"), "name": ("of", "name", "out"), "drop": ("of", "out"), "this-is": ("of", "into"),
          "leave": ("of",), "promote": ("of",)}
FACESETS = ("of", "into", "other", "from")      # where a faceset is named
OF_LOOSE = ("this-is", "leave", "promote")


def read(books: Books, value: Any) -> Answer:
    """An answer as the page sent it, checked against the books. Raises UsageError for anything that is none."""
    if not isinstance(value, dict) or value.get("do") not in FIELDS:
        raise UsageError("that is no answer")
    answer: Answer = {"do": value["do"]}
    for name in FIELDS[value["do"]]:
        answer[name] = given = value.get(name, [] if name == "out" else None)
        if name in ("out", "faces"):
            if not isinstance(given, list) or not all(isinstance(face, str) for face in given):
                raise UsageError(f"{name} is no list of faces")
        elif not isinstance(given, str):
            raise UsageError(f"{name} is no text")
    _check(books, answer)
    if answer["do"] == "right":
        answer["seen"] = [face for face in books.people[answer["of"]].faces if face not in answer["out"]]
    if answer["do"] == "merge":
        answer["from"] = answer["of"]
        if _rank(books.people[answer["of"]]) < _rank(books.people[answer["into"]]):
            answer["of"], answer["into"] = answer["into"], answer["of"]
    if answer["do"] in OF_LOOSE:
        answer["group"] = list(books.loose[answer["of"]].faces)
    if answer["do"] in ("split", "promote"):
        answer["new"] = f"{NEW}{books.added + 1}"
    return answer


def _rank(person: Person) -> tuple[bool, bool, int, str]:
    """Of two that become one, the lower one keeps its folder: the one with a name, else with the lower number."""
    return not person.name, person.folder.startswith(NEW), len(person.folder), person.folder


def _check(books: Books, answer: Answer) -> None:
    kind = answer["do"]
    if answer["of"] not in (books.loose if kind in OF_LOOSE else books.people):
        raise UsageError("this is not in the library any more")
    for name in ("into", "other"):
        if name in answer and (answer[name] not in books.people or answer[name] == answer["of"]):
            raise UsageError("that faceset is not in the library any more")
    if "name" in answer:
        answer["name"] = terminal.name(answer["name"])
        if not answer["name"]:
            raise UsageError("the name is empty")
        answer["was"] = books.people[answer["of"]].name
    chosen = answer.get("out", answer.get("faces"))
    if chosen is not None:
        mine = set(books.people[answer["of"]].faces)
        if not mine.issuperset(chosen) or len(mine) == len(set(chosen)) or (kind == "split" and not chosen):
            raise UsageError("mark some of its faces, not all; to take it away, drop it")


def carry(books: Books, answer: Answer) -> Books:
    """The books after an answer."""
    people, loose, of = dict(books.people), dict(books.loose), answer["of"]
    two, added = books.two, books.added
    if out := answer.get("out"):
        wrong = str(answer.get("from", of))
        people[wrong] = people[wrong].without(out)
    match answer["do"]:
        case "right":
            people[of] = replace(people[of], seen=people[of].seen | set(people[of].faces))
        case "merge":
            gone, into = people.pop(of), people[answer["into"]]
            people[answer["into"]] = replace(into.having(gone.faces, gone.rows, gone.seen, gone.behind),
                                             name=into.name or gone.name, proposed=into.proposed or gone.proposed)
            both = (pair(*(answer["into"] if name == of else name for name in one)) for one in two)
            two = frozenset((one, other) for one, other in both if one != other)
        case "two-people":
            two |= {pair(of, answer["other"])}
        case "split":
            person, chosen = people[of], set(answer["faces"])
            rest = [face for face in person.faces if face not in chosen]
            people[of] = person.without(chosen)
            people[answer["new"]] = replace(person.without(rest), folder=answer["new"], name="", proposed="")
            two, added = two | {pair(of, answer["new"])}, added + 1
        case "name":
            people[of] = replace(people[of], name=answer["name"])
        case "drop":
            del people[of]
        case "this-is":
            group = loose.pop(of)
            people[answer["into"]] = people[answer["into"]].having(group.faces, group.rows, group.faces)
        case "leave":
            del loose[of]
        case "promote":
            group = loose.pop(of)
            people[answer["new"]] = Person(answer["new"], group.faces, group.rows, photos=group.photos)
            added += 1
    return replace(books, people=people, loose=loose, two=two, added=added)


def words(books: Books, answer: Answer) -> str:
    """What was said, for the toast: with the books from before it."""
    if answer["do"] in OF_LOOSE:
        faces = len(books.loose[answer["of"]].faces)
        what = "1 face" if faces == 1 else f"{faces} faces"
        return {"this-is": f"{what}: {books.people[answer['into']].title}" if "into" in answer else "",
                "leave": f"{what}: left out", "promote": f"{what}: a faceset of their own"}[answer["do"]]
    person = books.people[answer["of"]]
    title, out = person.title, len(answer.get("out", ()))
    also = f"; {out} out" if out else ""
    match answer["do"]:
        case "right":
            return f"{title}: {out} out, the rest is right" if out else f"{title} is right ({len(person.faces)})"
        case "merge":
            return f"{title} is {books.people[answer['into']].title}{also}"
        case "two-people":
            return f"{title} and {books.people[answer['other']].title} are two people{also}"
        case "split":
            return f"{len(answer['faces'])} faces of {title} are somebody else"
        case "name":
            return f"{title} is called {answer['name']}{also}"
        case _:
            return f"dropped {title} ({len(person.faces) - out}){also}"
