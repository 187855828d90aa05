"""A review by keyboard alone, in a real browser, of a made-up library; what is in the library afterwards.

Run     python benchmarks/review_keys.py --facesets 1000 --answers 200      minutes: the facesets are made first

Of twenty facesets each three have one wrong face, two are one person, two are look-alikes, one is two people, one is
rubbish and two want a name; the rest are right. The reviewer knows who everybody is. Half way the server is killed and
started again, and the last ten answers are taken back and given once more.

Prints  answers of each kind, keys, and what the server took for an answer; whether the library holds what the script
        had in mind; and the time of a person by the keystroke-level model of Card, Moran and Newell: .28 s a key,
        1.35 s to make up one's mind for each question and for each face that is marked, and what the server takes
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
from drawn import LOOKS, face_of, person, photo  # noqa: E402
from drawn import _cache as as_cache  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from test_review_browser import Tab, mostly  # noqa: E402

from facesets.export import swap  # noqa: E402
from facesets.export.draft import Options  # noqa: E402
from facesets.formats import cache  # noqa: E402
from facesets.formats.proposal import Face, Group, Proposal  # noqa: E402
from facesets.library.store import Library  # noqa: E402
from facesets.review.desk import NAME, Desk  # noqa: E402
from facesets.review.holdings import Holdings  # noqa: E402
from facesets.review.server import Server  # noqa: E402

KEY, MIND = 0.28, 1.35      # seconds, of the keystroke-level model
EACH, UNDONE = 7, 10        # faces of a faceset; answers that are taken back
OPTIONS = Options(lambda: LOOKS, image_size=128)
Shelf = dict[str, tuple[frozenset[str], str]]       # folder -> short keys, name


def people_of(number: int) -> tuple[list[str], dict[str, tuple[str, float]]]:
    """Who the faces of a faceset are, and whom they look like, how much."""
    mine, other = f"P{number}", f"Q{number}"
    match number % 20:
        case 1 | 2 | 3:
            return [*[mine] * (EACH - 1), other], {other: (mine, 0.75)}
        case 5:
            return [f"P{number - 1}"] * EACH, {}
        case 7:
            return [mine] * EACH, {mine: (f"P{number - 1}", 0.8)}
        case 9:
            return [*[mine] * (EACH - 3), *[other] * 3], {other: (mine, 0.5)}
        case 11:
            return ["rubbish"] * EACH, {}
    return [mine] * EACH, {}


def wants_name(who: str) -> bool:
    return int(who[1:]) % 20 in (13, 14) if who[0] == "P" else False


def build(place: Path, count: int) -> dict[str, str]:
    """Short key -> who."""
    photos: list[cache.Photo] = []
    rows, names = [], []
    for number in range(1, count + 1):
        who, like = people_of(number)
        for name in who:
            base, share = like.get(name, (name, 0.0))
            middle = share * vector(base) + (1 - share**2) ** 0.5 * vector(name)
            at, spread = len(names), 1.2 if name == "rubbish" else 0.6
            path, box = place / "photos" / f"{number}" / f"{at}.png", (200.0, 120.0, 360.0 + at % EACH, 280.0)
            photos.append(cache.Photo(str(path), photo(path, [box], at), "faces", taken_at=f"{2010 + at % EACH}-06-01",
                                      width=640, height=480, user="anna"))
            rows.append((at, box, face_of(middle / np.linalg.norm(middle), at, spread), number))
            names.append(name)
    faces = as_cache(photos, rows)
    cache.write(place / "faces.npz", faces)
    keys = cache.face_keys(faces)
    made = Proposal("20260101-000000-made", "made", "2099-01-01T00:00:00Z", {}, (), facesets=tuple(
        Group(tuple(map(Face, keys[EACH * at:EACH * (at + 1)]))) for at in range(count)))
    swap.export(Library(place / "library"), made, [faces], OPTIONS)
    return dict(zip(map(cache.short_key, keys), names, strict=True))


def vector(name: str) -> np.ndarray:
    return person(7 if name == "rubbish" else 10 * int(name[1:]) + (name[0] == "Q"))


def serve(place: Path, link: Connection) -> None:
    library = Library(place / "library")
    held = Holdings(library, [cache.read(place / "faces.npz")], [], [], OPTIONS)
    server = Server(Desk(library.root / NAME, held), held)
    link.send(server.link)
    server.run()


class Reviewer:
    """Hands that count keys, and a head that knows what the library must hold afterwards."""

    def __init__(self, place: Path, truth: dict[str, str], browser: Any) -> None:
        self.place, self.truth, self.browser = place, truth, browser
        self.shelf, self.next = shelf(place), len(truth) // EACH + 1
        self.keys = self.minds = 0
        self.said, self.took = Counter[str](), list[float]()
        self.past: list[tuple[Shelf, int]] = []
        self.open()

    def open(self) -> None:
        mine, theirs = multiprocessing.get_context("spawn").Pipe()
        self.server = multiprocessing.get_context("spawn").Process(target=serve, args=(self.place, theirs))
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

    def press(self, what: str, *keys: str, minds: int = 1, name: str = "") -> None:
        self.past.append((dict(self.shelf), self.next))
        self.keys, self.minds = self.keys + len(keys) + len(name) + 2 * bool(name), self.minds + minds
        self.said[what] += 1
        if name:
            self.tab.name(name)
        else:
            self.tab.say(*keys)

    def answer(self) -> None:
        question = self.tab.now()["question"]
        if question["folder"].startswith("new "):       # what a split makes has no folder before it is carried out
            self.settle()
            question = self.tab.now()["question"]
        faces, of = [face["id"] for face in question["faces"]], question["folder"]
        who = mostly(self.truth, faces)
        likes = [mostly(self.truth, other["faces"]) for other in question["alike"]]
        strangers = [at for at, face in enumerate(faces) if self.truth[face] != who]
        marks = [str((at + 1) % 10) for at in strangers]
        out = frozenset(faces[at] for at in strangers)
        mine, name = self.shelf[of]
        if who == "rubbish":
            self.press("dropped", "d")
            del self.shelf[of]
        elif who in likes:
            other = question["alike"][likes.index(who)]["folder"]
            self.press("merged", "m", str(likes.index(who) + 1))
            keeps = min(of, other, key=lambda folder: (not self.shelf[folder][1], folder))
            gone = other if keeps == of else of
            theirs, their_name = self.shelf.pop(gone)
            self.shelf[keeps] = (self.shelf[keeps][0] | theirs, self.shelf[keeps][1] or their_name)
        elif question["kind"] == "same":
            self.press("two people", " ")
        elif wants_name(who) and not name:
            self.press("named", name=who)
            self.shelf[of] = (mine, who)
        elif len(strangers) > 1:
            keys = () if set(question["suspects"]) == out else marks        # who has a border need not be marked
            self.press("split", *keys, "s", minds=1 + len(keys))
            self.shelf |= {of: (mine - out, name), f"faceset_{self.next:03d}": (out, "")}
            self.next += 1
        else:
            self.press("wrong face out" if marks else "right", *marks, " ", minds=1 + len(marks))
            self.shelf[of] = (mine - out, name)

    def undo(self) -> bool:
        """Take the last answers back and give them again; whether the library was as before them in between."""
        before = self.said.copy()
        for _ in range(UNDONE):
            self.tab.say("z")
            self.shelf, self.next = self.past.pop()
        self.settle()
        library = Library(self.place / "library")
        self.next = library.highest(library.manifest()) + 1     # a number is never given twice
        as_it_was = shelf(self.place) == self.shelf
        for _ in range(UNDONE):
            self.answer()
        self.said = before
        return as_it_was

    def end(self) -> None:
        self.settle()
        self.server.kill()
        self.server.join()


def shelf(place: Path) -> Shelf:
    """What the library holds."""
    return {item.folder: (frozenset(map(cache.short_key, item.face_keys)), item.name)
            for item in Library(place / "library").canonical()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facesets", type=int, default=1000, metavar="N")
    parser.add_argument("--answers", type=int, default=200, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the made library is kept for another time")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        kept = args.keep or Path(folder, "made")
        if not (kept / "truth.json").exists():
            truth = build(kept, args.facesets)
            (kept / "truth.json").write_text(json.dumps(truth))
        place = Path(folder, "here")
        shutil.copytree(kept / "library", place / "library")
        shutil.copy(kept / "faces.npz", place)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        reviewer = Reviewer(place, json.loads((kept / "truth.json").read_text()), browser)
        try:
            for number in range(args.answers):
                if number == args.answers // 2:
                    reviewer.kill()
                reviewer.answer()
            keys, minds, took = reviewer.keys, reviewer.minds, list(reviewer.took)
            now = reviewer.tab.now()
            as_it_was = reviewer.undo()
        finally:
            reviewer.end()
        p50, p95 = np.percentile(took, (50, 95))
        model = KEY * keys + MIND * minds + sum(took)
        print(f"{args.facesets} facesets, {args.answers} answers, {keys} keys: "
              + ", ".join(f"{count} {what}" for what, count in reviewer.said.most_common()))
        print(f"server: p50 {1000 * p50:.0f} ms, p95 {1000 * p95:.0f} ms, load {os.getloadavg()[0]:.0f}; "
              f"expected to lie right then: {100 * now['right']:.1f} %")
        print(f"keystroke-level model: {model / 60:.1f} min for {args.answers} answers")
        equal = shelf(place) == reviewer.shelf
        print(f"the last {UNDONE} taken back: the library was as before them: {as_it_was}; at the end it holds "
              f"what the script had in mind: {equal}")
        return int(not (as_it_was and equal))


if __name__ == "__main__":
    sys.exit(main())
