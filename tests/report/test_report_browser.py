"""The report in a real browser: opened from disk, searched, marked, saved and applied; by keys and for a screen reader.

Needs Chromium (Debian: apt-get install chromium) and the packages of the test lock; skipped, with a reason, without.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_library as made_up
from busy import LIMIT

import sort_faces
from facesets.library import store
from facesets.report import make

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, of the test lock, is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; Debian: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    made_up.make_library(root / "lib", 14, faces=(6, 40), size=96)
    made_up.make_work(root / "work")
    make.make(root / "lib", root / "work", 0.1)
    return root


@pytest.fixture
def library(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "copy")
    make.make(tmp_path / "copy" / "lib", tmp_path / "copy" / "work", 0.1)   # the page knows where its library lies
    return tmp_path / "copy" / "lib"


@pytest.fixture
def page(browser: Any, pristine: Path) -> Iterator[Any]:
    """The report, open; at the end nothing may have gone wrong in it and nothing may have left the machine."""
    yield from opened(browser, pristine / "lib")


@pytest.fixture
def own_page(browser: Any, library: Path) -> Iterator[Any]:
    """The report of a library that the test may change."""
    yield from opened(browser, library)


def opened(browser: Any, library: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(1000 * LIMIT)
    page, wrong = context.new_page(), []

    def note(request: Any) -> None:
        if not request.url.startswith(("file:", "blob:")):
            wrong.append(request.url)

    def failed(request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":       # a picture on its way when the page was left
            wrong.append(f"{request.url}: {request.failure}")
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", failed)
    page.on("request", note)
    page.goto((library / "index.html").as_uri())
    yield page
    context.close()
    assert wrong == []


def visible(page: Any) -> list[str]:
    return list(page.eval_on_selector_all(".card", "cards => cards.filter(card => !card.hidden).map(card => card.id)"))


def test_search_sort_and_filter_show_what_was_asked_for(page: Any) -> None:
    assert len(visible(page)) == 14
    page.fill("#q", "uncle theo")
    assert visible(page) == ["faceset_005"]
    page.fill("#q", "7")
    assert "faceset_007" in visible(page)
    page.fill("#q", "")
    page.select_option("#show", "unnamed")
    assert visible(page) and all(int(name[-3:]) % 2 == 0 or int(name[-3:]) % 3 == 0 for name in visible(page))
    page.select_option("#show", "")
    page.select_option("#sort", "newest")
    assert visible(page)[0] == "faceset_014"
    page.select_option("#sort", "size")
    sizes = page.eval_on_selector_all(".card .facts p", "all => all.map(one => parseInt(one.textContent))")
    assert sizes == sorted(sizes, reverse=True)


def test_marks_are_kept_saved_as_a_file_and_applied(own_page: Any, library: Path, tmp_path: Path) -> None:
    page = own_page
    card = page.locator("#faceset_001")
    card.locator("[data-act=name]").click()
    card.locator("input").fill("Tante <b>Käthe</b>")
    card.locator("button[type=submit]").click()
    page.locator("#faceset_003 [data-act=drop]").click()
    page.locator("#faceset_002 .face").nth(1).click()
    page.get_by_role("button", name="Not this person").click()
    page.keyboard.press("Escape")
    page.locator("#faceset_006 [data-act=merge]").click()
    page.locator("#merging input").fill("8")
    page.locator("#merging button[type=submit]").click()
    page.reload()
    assert page.locator("#tray p").inner_text().startswith("4 decisions · 3 of 14 looked at")
    assert page.locator("#faceset_001 .name").inner_text() == "Tante <b>Käthe</b>"
    page.get_by_role("button", name="Save decisions").click()
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "decisions.json"
    download.value.save_as(tmp_path / "decisions.json")
    saved = json.loads((tmp_path / "decisions.json").read_text(encoding="utf-8"))
    assert [item["do"] for item in saved["decisions"]] == ["not-this", "name", "merge", "drop"]
    places = ["--library", str(library), "--data-root", str(library.parent / "work")]
    assert sort_faces.main(["apply", str(tmp_path / "decisions.json"), *places]) == 0
    manifest = store.Library(library).manifest()
    assert {"faceset_003", "faceset_006"}.isdisjoint(entry.folder for entry in manifest.facesets)
    assert manifest.facesets[0].name == "Tante <b>Käthe</b>" and len(manifest.not_this["faceset_002"]) == 1
    assert sort_faces.main(["report", *places]) == 0
    page.goto((library / "index.html").as_uri())
    page.reload()
    assert page.evaluate("marks.decisions()") == []


def test_a_faceset_is_reviewed_with_the_keyboard_alone(page: Any) -> None:
    for key in ("j", "a", "d", "n"):
        page.keyboard.press(key)
    page.keyboard.type("Onkel Theo")
    page.keyboard.press("Enter")
    page.keyboard.press("m")
    page.keyboard.press("Enter")
    now = page.evaluate("marks.now")
    assert list(now["ok"]) == ["faceset_001"] and list(now["drop"]) == ["faceset_002"]
    assert now["name"] == {"faceset_003": "Onkel Theo"} and list(now["merge"]) == ["faceset_004"]
    page.keyboard.press("u")
    assert page.evaluate("marks.now.merge") == {}
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"


def test_a_review_goes_on_where_it_was_although_what_was_looked_at_is_hidden(page: Any) -> None:
    page.select_option("#show", "todo")
    page.locator("#faceset_004").click(position={"x": 5, "y": 5})
    for _ in range(3):
        page.keyboard.press("a")
    assert list(page.evaluate("marks.now.ok")) == ["faceset_004", "faceset_005", "faceset_006"]
    assert page.evaluate("here.id") == "faceset_007" and len(visible(page)) == 11


def test_all_names_in_sight_are_accepted_at_once_but_those_that_two_share(page: Any) -> None:
    page.get_by_role("button", name="Accept the names shown").click()
    named = page.evaluate("marks.now.name")
    shared = page.evaluate("""DATA.sets.filter(one => one.p && DATA.sets.some(
        other => other !== one && (other.t || other.p) === one.p)).map(set => set.f)""")
    wanted = page.evaluate("DATA.sets.filter(set => set.p && !set.t).map(set => set.f)")
    assert set(named) == set(wanted) - set(shared) != set()
    assert page.locator("#accept").is_hidden()


def test_a_focused_face_is_refused_with_one_key_and_looked_at_with_another(page: Any) -> None:
    face = page.locator("#faceset_005 .face").nth(2)
    face.focus()
    page.keyboard.press("x")
    assert face.get_attribute("aria-label").endswith("marked as not this person")
    page.keyboard.press("Enter")
    assert page.locator("#large img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    assert len(page.evaluate("marks.now.not.faceset_005")) == 2


def test_what_to_check_can_be_decided_on_the_spot(page: Any) -> None:
    page.click("nav a[data-view=check]")
    page.locator("#check [data-one]").first.click()
    page.locator("#check [data-half]").first.click()
    page.locator("#check [data-notthis]").first.click()
    kinds = [item["do"] for item in page.evaluate("marks.decisions()")]
    assert kinds.count("merge") == 1 and kinds.count("not-this") > 3
    assert page.locator("li.check.settled").count() == 3


@pytest.mark.parametrize("name", ["__proto__", "</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_a_hostile_name_typed_in_stays_text(page: Any, name: str) -> None:
    page.on("dialog", lambda dialog: pytest.fail("a name ran as a script"))
    card = page.locator("#faceset_001")
    card.locator("[data-act=name]").click()
    card.locator("input").fill(name)
    card.locator("button[type=submit]").click()
    assert card.locator(".name").inner_text() == name
    assert page.evaluate("marks.decisions()") == [
        {"do": "name", "faceset": "faceset_001", "name": name, "was": "Paul"}]


def test_marks_that_somebody_else_left_in_the_browser_do_no_harm(page: Any) -> None:
    page.evaluate("""() => localStorage.setItem(PLACE, JSON.stringify({
        name: {faceset_001: 5, nobody: "x"}, drop: [1], merge: {faceset_001: "faceset_001", faceset_002: "gone"},
        not: {faceset_001: {"nonsense": ""}}, extra: 1}))""")
    page.reload()
    assert len(visible(page)) == 14
    assert page.evaluate("marks.decisions()") == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_serious_in_any_view(browser: Any, pristine: Path, width: int, scheme: str) -> None:
    package = pytest.importorskip("axe_playwright_python", reason="axe, of the test lock, is not installed")
    axe = (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    context.set_default_timeout(1000 * LIMIT)
    page = context.new_page()
    page.goto((pristine / "lib" / "index.html").as_uri())
    page.evaluate(axe)
    found = []
    largest = page.evaluate("DATA.sets.reduce((one, other) => other.s > one.s ? other : one).f")
    steps = {**{view: f"nav a[data-view={view}]" for view in ("charts", "runs", "left-out", "check", "facesets")},
             "drop": "#faceset_003 [data-act=drop]", "more": f"#{largest} [data-act=more]",
             "name": "#faceset_004 [data-act=name]", "large": "#faceset_001 .face",
             "merge": "#faceset_001 [data-act=merge]", "save": "#tray button.main"}
    for view, place in steps.items():
        page.evaluate("for (const open of document.querySelectorAll('dialog[open]')) open.close()")
        page.locator(place.split(" ")[0]).scroll_into_view_if_needed()
        page.locator(place).first.click()
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert len(result["passes"]) > 10
        found += [(view, item["id"], item["nodes"][0]["target"]) for item in result["violations"]
                  if item["impact"] in ("serious", "critical")]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} is wider than the screen"
    context.close()
    assert found == []


def test_the_pictures_are_there_without_javascript(browser: Any, pristine: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((pristine / "lib" / "index.html").as_uri())
    assert page.locator(".card .sheet img").count() > 14
    assert page.locator("#check li").first.is_visible() and page.locator("#runs table").first.is_visible()
    context.close()
