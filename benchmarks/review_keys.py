"""A review by keyboard alone, in a real browser; what is in the library afterwards.

Run     python benchmarks/review_keys.py                        1,000 made-up facesets, 200 answers; minutes
        python benchmarks/review_keys.py --labelled DIR         the photos in ../shared, to the end; DIR keeps their
                                                                embeddings, as benchmarks/identities.py
        ... --person                                            no faster than a person, by the model below

The reviewer knows who everybody is. Half way the server is killed and started again, and at the end the last ten
answers are taken back and given once more. review_libraries.py says what is wrong with the libraries.

Prints  answers of each kind, keys, and what the server took for an answer; whether the library holds what the script
        had in mind, and how many of its faces lie with their own person, before and after; and the time of a person by
        the keystroke-level model of Card, Moran and Newell: .28 s a key, 1.35 s to make up one's mind for each question
        and for each face that is marked, and what the server takes
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), *(str(CHECKOUT / "tests" / room) for room in ("", "report", "review"))]

from chromium import CHROMIUM, FLAGS  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from review_libraries import LARGE, NOBODY, made_up, of_labelled_photos, options  # noqa: E402
from test_review_browser import Tab, mostly  # noqa: E402

from facesets.formats import cache, proposal  # noqa: E402
from facesets.library.store import Library  # noqa: E402
from facesets.review.desk import NAME, Desk  # noqa: E402
from facesets.review.holdings import Holdings  # noqa: E402
from facesets.review.server import Server  # noqa: E402

KEY, MIND = 0.28, 1.35      # seconds, of the keystroke-level model
UNDONE = 10                 # answers that are taken back
DIGITS = 10                 # faces that have a key of their own
ENOUGH = 6                  # faces of one person that are made a faceset
Shelf = dict[str, tuple[frozenset[str], str]]       # folder -> short keys, name


def serve(place: Path, models: Path, link: Connection) -> None:
    library, faces = Library(place / "library"), cache.read(place / "faces.npz")
    held = Holdings(library, [faces], [proposal.read(place / "refine.json")], [], options(faces, models))
    server = Server(Desk(library.root / NAME, held), held)
    link.send(server.link)
    server.run()


class Reviewer:
    """Hands that count keys, and a head that knows what the library must hold afterwards."""

    def __init__(self, place: Path, models: Path, truth: dict[str, str], browser: Any, person: bool) -> None:
        self.place, self.models, self.truth, self.browser, self.person = place, models, truth, browser, person
        library = Library(place / "library")
        self.shelf, self.next = shelf(place), library.highest(library.manifest()) + 1
        self.keys = self.minds = 0
        self.said, self.took = Counter[str](), list[float]()
        self.past: list[tuple[Shelf, int]] = []
        self.open()

    def open(self) -> None:
        mine, theirs = multiprocessing.get_context("spawn").Pipe()
        self.server = multiprocessing.get_context("spawn").Process(
            target=serve, args=(self.place, self.models, theirs))
        self.server.start()
        self.tab = Tab(self.browser.new_context(viewport={"width": 1280, "height": 900}), mine.recv())
        self.tab.page.on("requestfinished", self._timed)

    def _timed(self, request: Any) -> None:
        if request.method == "POST":
            self.took.append((request.timing["responseStart"] - request.timing["requestStart"]) / 1000)

    def kill(self) -> None:
        self.server.kill()
        self.server.join()
        self.tab.page.context.close()
        self.open()

    def settle(self) -> None:
        while self.tab.now()["waiting"]:
            time.sleep(0.2)

    def press(self, what: str, *keys: str, marked: Sequence[int] = (), name: str = "") -> None:
        self.past.append((dict(self.shelf), self.next))
        before = self.keys
        for at in marked:
            self.mark(at)
        self.keys, self.minds = self.keys + len(keys) + len(name) + 2 * bool(name), self.minds + 1 + len(marked)
        if self.person:
            time.sleep(MIND * (1 + len(marked)) + KEY * (self.keys - before))
        self.said[what] += 1
        if name:
            self.tab.name(name)
        else:
            self.tab.say(*keys)

    def mark(self, at: int) -> None:
        """By its digit, or by going to it."""
        if at < DIGITS:
            self.keys += 1
            return self.tab.keys(str((at + 1) % DIGITS))
        tile = self.tab.page.locator(".tile .pick").nth(at)
        while not tile.evaluate("tile => tile === document.activeElement"):
            self.keys += 1
            self.tab.keys("Tab")
        self.keys += 2
        self.tab.keys("Enter", "Escape")

    def holder(self, face: str) -> str:
        return next(folder for folder, (faces, _) in self.shelf.items() if face in faces)

    def answer(self) -> bool:
        """False where nothing is asked any more."""
        question = self.tab.now()["question"]
        if not question:
            return False
        faces = [face["id"] for face in question["faces"]]
        who = mostly(self.truth, faces)
        strangers = [at for at, face in enumerate(faces) if self.truth[face] != who]
        likes = [mostly(self.truth, other["faces"]) for other in question["alike"]]
        keys = ("m", str(likes.index(who) + 1)) if who in likes else ()
        beside = self.holder(question["alike"][likes.index(who)]["faces"][0]) if keys else ""
        if question["kind"] == "loose":
            self.of_nobody(faces, keys if who != NOBODY and not strangers else (), beside,
                           who != NOBODY and not strangers and len(faces) >= ENOUGH)
        else:
            self.of_somebody(question, self.holder(faces[0]), who, frozenset(faces[at] for at in strangers), strangers,
                             keys, beside)
        return True

    def of_nobody(self, faces: list[str], keys: Sequence[str], beside: str, enough: bool) -> None:
        if keys:
            self.press("given to somebody", *keys)
            self.shelf[beside] = (self.shelf[beside][0] | set(faces), self.shelf[beside][1])
        elif enough:
            self.press("promoted", "f")
            self.found(frozenset(faces))
        else:
            self.press("left out", " ")

    def of_somebody(self, question: dict[str, Any], of: str, who: str, out: frozenset[str], marked: list[int],
                    keys: Sequence[str], beside: str) -> None:
        mine, name = self.shelf[of]
        if who == NOBODY:
            self.press("dropped", "d")
            del self.shelf[of]
        elif keys:
            self.press("merged", *keys)
            self.merge(of, beside)
        elif question["kind"] == "same":
            self.press("two people", " ")
        elif not name and len(question["faces"]) >= LARGE:
            called = [folder for folder, (_, theirs) in self.shelf.items() if theirs == who]
            self.press("merged by name" if called else "named", name=who)
            self.shelf[of] = (mine, who)
            for other in called:
                self.merge(of, other)
        elif len(out) > 1 and len({self.truth[face] for face in out}) == 1:
            self.press("split", "s", marked=() if set(question["suspects"]) == out else marked)     # have a border
            self.shelf[of] = (mine - out, name)
            self.found(out)
        else:
            self.press("wrong face out" if marked else "right", " ", marked=marked)
            self.shelf[of] = (mine - out, name)

    def found(self, faces: frozenset[str]) -> None:
        self.shelf[f"faceset_{self.next:03d}"] = (faces, "")
        self.next += 1

    def merge(self, one: str, other: str) -> None:
        keeps, gone = sorted((one, other), key=lambda folder: (not self.shelf[folder][1], folder))
        theirs, their_name = self.shelf.pop(gone)
        self.shelf[keeps] = (self.shelf[keeps][0] | theirs, self.shelf[keeps][1] or their_name)

    def undo(self) -> bool:
        """Take the last answers back and give them again; whether the library was as before them in between."""
        before = self.said.copy()
        for _ in range(UNDONE):
            self.tab.say("z")
            self.shelf, self.next = self.past.pop()
        self.settle()
        library = Library(self.place / "library")
        self.next = library.highest(library.manifest()) + 1     # a number is never given twice
        as_it_was = self.holds_what_it_must()
        for _ in range(UNDONE):
            self.answer()
        self.said = before
        return as_it_was

    def holds_what_it_must(self) -> bool:
        there = shelf(self.place)
        for folder in sorted(there.keys() | self.shelf.keys()):
            (one, name), (other, must) = there.get(folder, (frozenset(), "")), self.shelf.get(folder, (frozenset(), ""))
            if (one, name) != (other, must):
                print(f"{folder} {name!r}: {len(one)} faces, {len(one - other)} too many, {len(other - one)} missing; "
                      f"should be {must!r}")
        return there == self.shelf

    def end(self) -> None:
        self.settle()
        self.server.kill()
        self.server.join()


def shelf(place: Path) -> Shelf:
    """What the library holds."""
    return {item.folder: (frozenset(map(cache.short_key, item.face_keys)), item.name)
            for item in Library(place / "library").canonical()}


def pure(place: Path, truth: dict[str, str]) -> str:
    """How many faces lie with the person that most of their faceset are."""
    held = [Counter(truth[face] for face in faces) for faces, _ in shelf(place).values()]
    own = sum(max(count for who, count in of.items() if who != NOBODY) for of in held if set(of) != {NOBODY})
    return f"{own} of {sum(map(Counter.total, held))}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facesets", type=int, default=1000, metavar="N")
    parser.add_argument("--labelled", type=Path, metavar="DIR")
    parser.add_argument("--answers", type=int, default=200, metavar="N", help="or fewer, if no more is asked")
    parser.add_argument("--person", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the made library is kept for another time")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        kept = args.keep or Path(folder, "made")
        if not (kept / "truth.json").exists():
            kept.mkdir(parents=True, exist_ok=True)
            of_labelled_photos(kept, args.labelled) if args.labelled else made_up(kept, args.facesets)
        place, truth = Path(folder, "here"), json.loads((kept / "truth.json").read_text())
        shutil.copytree(kept, place, ignore=shutil.ignore_patterns("photos"))
        before = pure(place, truth), len(shelf(place))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        reviewer = Reviewer(place, args.labelled or kept, truth, browser, args.person)
        try:
            half = min(args.answers, reviewer.tab.now()["open"]) // 2
            for number in range(args.answers):
                if number == half:
                    reviewer.kill()
                if not reviewer.answer():
                    break
            keys, minds, took = reviewer.keys, reviewer.minds, list(reviewer.took)
            now = reviewer.tab.now()
            as_it_was = reviewer.undo()
        finally:
            reviewer.end()
        p50, p95 = np.percentile(took, (50, 95))
        model = KEY * keys + MIND * minds + sum(took)
        print(f"{before[1]} facesets, {reviewer.said.total()} answers, {keys} keys: "
              + ", ".join(f"{count} {what}" for what, count in reviewer.said.most_common()))
        print(f"server: p50 {1000 * p50:.0f} ms, p95 {1000 * p95:.0f} ms, load {os.getloadavg()[0]:.0f}; "
              f"expected to lie right then: {100 * now['right']:.1f} %, {now['open']} questions open")
        print(f"keystroke-level model: {model / 60:.1f} min")
        equal = reviewer.holds_what_it_must()
        print(f"faces with their own person: {before[0]} before, {pure(place, truth)} after")
        print(f"the last {UNDONE} taken back: the library was as before them: {as_it_was}; at the end it holds "
              f"what the script had in mind: {equal}")
        return int(not (as_it_was and equal))


if __name__ == "__main__":
    sys.exit(main())
