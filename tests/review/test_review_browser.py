"""The review in a real browser, by keyboard alone: the library ends as somebody who knows the truth had in mind.

Needs Chromium (Debian: apt-get install chromium) and the packages of the test lock; skipped, with a reason, without.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from busy import LIMIT
from drawn import contents
from test_review_server import CHECKOUT, start

from facesets.formats.cache import short_key

MOST = 60       # keys and questions until everything must be answered


class Tab:
    """A page of the review, and hands that know only the keyboard."""

    def __init__(self, context: Any, link: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(1000 * LIMIT)
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and "409" not in said.text
                     and self.wrong.append(said.text))
        self.page.goto(link)
        self.page.wait_for_selector("body[data-version]")

    @property
    def version(self) -> str:
        return str(self.page.get_attribute("body", "data-version"))

    def now(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.page.context.request.get(self.page.url + "now").text())
        return found

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def say(self, *keys: str) -> None:
        """Press keys of which the last one is an answer, and wait for the next question."""
        before = self.version
        self.keys(*keys)
        self.page.wait_for_selector(f'body:not([data-version="{before}"])')

    def name(self, name: str) -> None:
        before = self.version
        self.keys("n")
        self.page.keyboard.type(name)
        self.keys("Enter")
        self.page.wait_for_selector(f'body:not([data-version="{before}"])')


@pytest.fixture
def tab(browser: Any, lab: Any) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = Tab(context, lab.serve().link)
    yield opened
    assert not opened.wrong
    context.close()


def mostly(truth: dict[str, str], faces: list[str]) -> str:
    return Counter(truth[face] for face in faces).most_common(1)[0][0]


def decide(tab: Tab, truth: dict[str, str]) -> bool:
    """One answer of somebody who knows who everybody is; False when nothing is asked any more."""
    question = tab.now()["question"]
    if not question:
        return False
    faces = [face["id"] for face in question["faces"]]
    who = mostly(truth, faces)
    others = [mostly(truth, other["faces"]) for other in question["alike"]]
    strangers = [at for at, face in enumerate(faces) if truth[face] != who]
    if who == "junk":
        tab.say("d")
    elif question["kind"] == "loose" and who in others:
        tab.say("m", str(others.index(who) + 1))
    elif question["kind"] == "loose":
        tab.say("f" if len(faces) >= 6 else " ")
    elif who in others:
        tab.say("m", str(others.index(who) + 1))
    elif question["kind"] == "same":
        tab.say(" ")
    elif question["name"] != who:
        tab.name(who)
    else:
        together = len(strangers) > 1
        tab.say(*(str((at + 1) % 10) for at in strangers), "s" if together else " ")
    return True


TRUTH = {"faceset_001": ["Ada"], "faceset_002": ["Bea"], "faceset_004": ["Cleo"], "faceset_005": ["Emil"],
         "faceset_006": ["Finn"], "Dora": ["Dora"], "Hugo": ["Hugo"]}


def by_name(lab: Any) -> dict[str, list[str]]:
    names = {entry.folder: entry.name for entry in lab.library.manifest().facesets}
    return {folder if int(folder[-3:]) <= 7 else names[folder]: who for folder, who in lab.who().items()}


def test_by_keyboard_alone_the_library_becomes_what_the_reviewer_knows(lab: Any, tab: Tab) -> None:
    for _ in range(MOST):
        if not decide(tab, lab.truth):
            break
    assert tab.page.inner_text("#asked") == "Nothing is left to ask"
    assert "100.0 %" in tab.page.inner_text("#outlook")
    lab.close()
    assert by_name(lab) == TRUTH
    manifest = lab.library.manifest()
    assert {entry.name for entry in manifest.facesets} == {"Ada", "Bea", "Cleo", "Dora", "Emil", "Finn", "Hugo"}
    assert [entry.folder for entry in manifest.dropped] == ["_dropped/faceset_007"]
    assert [entry.folder for entry in manifest.merged] == ["_merged/faceset_003"]
    assert not (lab.library.root / ".review.jsonl").exists()


def test_the_last_ten_answers_are_taken_back_one_by_one_and_each_goes_back_to_its_question(lab: Any, tab: Tab) -> None:
    before, asked = contents(lab.library.root), []
    for _ in range(10):
        asked.append(tab.now()["question"]["id"])
        decide(tab, lab.truth)
    for question in reversed(asked):
        tab.say("z")
        assert tab.now()["question"]["id"] == question
    assert tab.now()["back"] == 0 and not tab.page.is_visible("[data-do=undo]")
    lab.close()
    assert contents(lab.library.root) == before


def test_the_toast_takes_back_what_it_tells_of(lab: Any, tab: Tab) -> None:
    shown = tab.page.inner_text("#asked")
    tab.say("d")
    assert tab.page.inner_text("#toast span").startswith("dropped ")
    before = tab.version
    tab.page.click("#toast button")
    tab.page.wait_for_selector(f'body:not([data-version="{before}"])')
    assert tab.page.inner_text("#asked") == shown and tab.page.inner_text("#toast").startswith("Taken back: dropped ")
    lab.close()
    assert len(lab.library.canonical()) == 7


def test_later_comes_last_and_says_nothing(lab: Any, tab: Tab) -> None:
    first, count = tab.now()["question"]["id"], tab.now()["open"]
    tab.say("b")
    seen = [tab.now()["question"]["id"]]
    for _ in range(count - 1):
        tab.say("b")
        seen.append(tab.now()["question"]["id"])
    assert seen[-1] == first and len(set(seen)) == count
    lab.close()
    assert [run["verb"] for run in lab.library.manifest().runs] == ["export-swap"]


def test_of_two_tabs_the_one_that_is_behind_shows_what_is_so_and_answers_nothing(lab: Any, tab: Tab) -> None:
    other = Tab(tab.page.context, tab.page.url)
    shown = other.page.inner_text("#asked")
    tab.page.bring_to_front()
    tab.say("d")
    other.keys("d")
    other.page.wait_for_selector(f'body[data-version="{tab.version}"]')
    assert other.page.inner_text("#asked") == tab.page.inner_text("#asked") != shown
    lab.close()
    assert len(lab.library.canonical()) == 6


def test_a_name_that_exists_offers_the_merge(lab: Any, tab: Tab) -> None:
    while tab.now()["question"]["about"] != "faceset_002":
        tab.say("b")
    tab.name("Bea")
    while tab.now()["question"]["about"] != "faceset_003":
        tab.say("b")
    tab.keys("n")
    tab.page.keyboard.type("Bea")
    assert tab.page.inner_text("#merge-name") == "Merge with Bea"
    assert tab.page.locator("#names option").evaluate_all("all => all.map(one => one.value)") == ["Bea"]
    before = tab.version
    tab.keys("Enter")
    tab.page.wait_for_selector(f'body:not([data-version="{before}"])')
    lab.close()
    assert [entry.folder for entry in lab.library.manifest().merged] == ["_merged/faceset_003"]


def test_the_photo_says_when_who_and_why_and_marks_the_face(lab: Any, tab: Tab) -> None:
    tab.keys("p")
    facts = tab.page.inner_text("#facts")
    assert "from anna" in facts and "from the middle of faceset_" in facts and facts[:4].isdecimal()
    width = tab.page.evaluate("async () => { const image = document.getElementById('whole'); await image.decode();"
                              " return image.naturalWidth; }")
    assert width == 640
    tab.keys("ArrowRight", "Escape")
    assert not tab.page.is_visible("#photo")
    while tab.now()["question"]["kind"] not in ("faces", "name"):
        tab.say("b")
    faces = [face["id"] for face in tab.now()["question"]["faces"]]
    for keys, face in (("3",), 2), (("Tab", "Tab", "Tab"), 1):      # the one marked last, the one that has the focus
        tab.keys(*keys, "p")
        assert str(tab.page.get_attribute("#whole", "src")).endswith(faces[face])
        tab.keys("Escape")


def test_a_face_between_two_is_asked_with_their_names_and_without_the_years_of_somebody_else(
        lab: Any, tab: Tab) -> None:
    while tab.now()["question"]["kind"] != "loose" or tab.now()["question"]["count"] > 1:
        tab.say("b")
    assert tab.page.inner_text("#hint").startswith("In no faceset: as near to faceset_001 as to faceset_002. Same")
    assert not tab.page.is_visible("#years")
    tab.say("b")
    assert tab.page.inner_text("#years small:first-child").isdecimal()


def test_a_face_without_a_digit_is_marked_by_keyboard_and_space_answers_again(lab: Any, tab: Tab) -> None:
    while tab.now()["question"]["kind"] == "loose":
        tab.say("b")
    tab.keys("Tab", "Enter", "Escape")
    assert tab.page.get_attribute(".tile .pick", "aria-pressed") == "true"
    tab.keys("Tab", " ", "Escape")
    assert tab.page.get_attribute(".tile .pick", "aria-pressed") == "false"
    tab.say(" ")


def test_by_mouse_a_face_goes_out_and_the_rest_is_right(lab: Any, tab: Tab) -> None:
    while tab.now()["question"]["about"] != "faceset_001" or tab.now()["question"]["kind"] == "same":
        tab.say("b")
    question = tab.now()["question"]
    gil = next(at for at, face in enumerate(question["faces"]) if lab.truth[face["id"]] == "Gil")
    tab.page.click(f".tile:nth-child({gil + 1}) .pick")
    assert tab.page.get_attribute(f".tile:nth-child({gil + 1}) .pick", "aria-pressed") == "true"
    before = tab.version
    tab.page.click("[data-do=right]")
    tab.page.wait_for_selector(f'body:not([data-version="{before}"])')
    lab.close()
    assert lab.who()["faceset_001"] == ["Ada"]


def test_after_a_mark_by_mouse_space_answers(lab: Any, tab: Tab) -> None:
    while tab.now()["question"]["kind"] not in ("faces", "name"):
        tab.say("b")
    face = tab.now()["question"]["faces"][2]["id"]
    tab.page.click(".tile:nth-child(3) .pick")
    tab.keys("1", "1")
    tab.say(" ")
    lab.close()
    assert [short_key(key) for keys in lab.library.manifest().not_this.values() for key in keys] == [face]


def test_what_is_marked_where_two_may_be_one_goes_out_with_the_answer(lab: Any, tab: Tab) -> None:
    while tab.now()["question"]["kind"] != "same":
        tab.say("b")
    face = tab.now()["question"]["faces"][0]["id"]
    tab.say("1", "m", "1")
    lab.close()
    manifest = lab.library.manifest()
    assert manifest.merged and [short_key(key) for keys in manifest.not_this.values() for key in keys] == [face]


def test_a_key_that_is_held_down_answers_once(lab: Any, tab: Tab) -> None:
    before = tab.version
    tab.page.keyboard.down("d")
    tab.page.wait_for_selector(f'body:not([data-version="{before}"])')
    tab.page.keyboard.down("d")
    tab.page.keyboard.up("d")
    tab.say("b")
    lab.close()
    assert len(lab.library.canonical()) == 6


def test_by_touch_a_face_is_marked_its_photo_opened_and_the_question_answered(browser: Any, lab: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = Tab(context, lab.serve().link).page
    page.tap(".tile .look")
    page.tap("#out")
    page.tap("#photo [data-close]")
    assert page.get_attribute(".tile .pick", "aria-pressed") == "true"
    page.tap(".tile .pick")
    assert page.get_attribute(".tile .pick", "aria-pressed") == "false"
    before = page.get_attribute("body", "data-version")
    page.tap("[data-do=drop]")
    page.wait_for_selector(f'body:not([data-version="{before}"])')
    lab.close()
    assert len(lab.library.canonical()) == 6
    context.close()


def test_a_kill_in_the_middle_and_the_review_goes_on(browser: Any, lab: Any) -> None:
    """As the command: its detector finds no drawn face, so only answers that make no new picture are given."""
    run, link = start(lab)
    context = browser.new_context()
    tab = Tab(context, link)
    tab.name("Somebody")
    named = tab.now()["question"]["about"]
    tab.say("b")
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=LIMIT)
    tab.keys(" ")
    tab.page.wait_for_selector("#problem:not([hidden])")
    assert "What you said is kept" in tab.page.inner_text("#problem")
    again, link = start(lab)
    assert link or again.stderr is None, again.stderr.read()
    other = Tab(browser.new_context(), link)
    assert other.now()["names"]["Somebody"] == named
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=LIMIT)
    assert lab.library.manifest().entry(named).name == "Somebody"


def test_twenty_facesets_by_keyboard_with_a_kill_and_ten_undone_end_as_the_script_had_in_mind() -> None:
    """The small version of the benchmark, whose long one has a thousand facesets."""
    run = subprocess.run([sys.executable, CHECKOUT / "benchmarks" / "review_keys.py", "--facesets", "20", "--answers",
                          "20"], capture_output=True, text=True, timeout=LIMIT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert all(f" {what}" in run.stdout for what in ("right", "wrong face out", "merged", "split", "dropped", "named"))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing(browser: Any, lab: Any, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 844}, bypass_csp=True)
    tab = Tab(context, lab.serve().link)

    def check(state: str) -> None:
        found = axe.Axe().run(tab.page).response["violations"]
        assert not [(state, item["id"], [node["html"][:120] for node in item["nodes"]]) for item in found]
    kinds = set[str]()
    for _ in range(tab.now()["open"]):
        if (kind := tab.now()["question"]["kind"]) not in kinds:
            check(kind)
        kinds.add(kind)
        tab.say("b")
    assert kinds == {"two", "same", "faces", "loose"}
    tab.keys("1", "m")
    check("marked")
    tab.keys("Escape", "p")
    check("photo")
    tab.keys("Escape", "n")
    check("naming")
    tab.keys("Escape", "?")
    check("keys")
    tab.keys("Escape")
    tab.say("d")
    check("toast")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
