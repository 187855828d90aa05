"""The report in a real browser: opened from disk, searched, sorted, looked at; by keys and for a screen reader.

Needs Chromium (Debian: apt-get install chromium) and the packages of the test lock; skipped, with a reason, without.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_library as made_up
from busy import LIMIT

from facesets.report import make


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    made_up.make_library(root / "lib", 14, faces=(6, 40), size=96)
    made_up.make_work(root / "work")
    make.make(root / "lib", root / "work", 0.1)
    return root


@pytest.fixture
def page(browser: Any, pristine: Path) -> Iterator[Any]:
    """The report, open; at the end nothing may have gone wrong in it and nothing may have left the machine."""
    yield from opened(browser, pristine / "lib")


def opened(browser: Any, library: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
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


def test_where_no_faceset_is_like_that_the_page_says_so_and_shows_all_again(page: Any) -> None:
    assert not page.locator("#none").is_visible()
    page.fill("#q", "nobody like that")
    page.select_option("#show", "named")
    assert page.locator("#none").inner_text().startswith("No faceset is like that.") and visible(page) == []
    page.click("#clear")
    assert len(visible(page)) == 14 and not page.locator("#none").is_visible() and not page.input_value("#q")


@pytest.mark.parametrize("width", [1280, 390])
def test_every_filter_says_what_it_is_and_cards_side_by_side_are_as_tall(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    labels = page.locator(".bar label > span")
    assert labels.all_inner_texts() == ["Search", "Show", "From", "Sort by"]
    for box, below in zip(labels.all(), page.locator(".bar :is(input, select)").all(), strict=True):
        place, control = box.bounding_box(), below.bounding_box()
        assert place["height"] > 10 and place["width"] > 20 and place["y"] + place["height"] <= control["y"] + 1
    rows = page.evaluate("""Object.values(Object.groupBy(cards.map(card => card.getBoundingClientRect()),
        box => Math.round(box.top))).map(boxes => boxes.map(box => Math.round(box.height)))""")
    assert max(map(len, rows)) == (2 if width > 1000 else 1) and all(len(set(row)) == 1 for row in rows), rows


def test_a_face_is_looked_at_in_large_and_the_keys_walk(page: Any) -> None:
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("here.id") == "faceset_002"
    page.locator("#faceset_005").scroll_into_view_if_needed()       # its faces are buttons once it is near
    page.locator("#faceset_005 .face").nth(2).focus()
    page.keyboard.press("Enter")
    assert page.locator("#large img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    page.keyboard.press("ArrowRight")
    assert page.locator("#large img").get_attribute("alt").startswith("Face 4 of ")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"


def test_the_page_decides_nothing_and_keeps_nothing_in_the_browser(page: Any) -> None:
    page.click("nav a[data-view=check]")
    assert page.locator("#check code").first.inner_text() == "python sort_faces.py review"
    assert not page.locator("main form:not([role=search]), main input:not([type=search]), #check input").count()
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


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
             "more": f"#{largest} [data-act=more]", "large": "#faceset_001 .face"}
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


def test_it_is_printed_dark_on_white_whatever_the_screen_is(browser: Any, pristine: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.set_default_timeout(1000 * LIMIT)
    page.goto((pristine / "lib" / "index.html").as_uri())
    ink = "[...getComputedStyle(document.body).color.matchAll(/[0-9]+/g)].map(Number)"
    assert min(page.evaluate(ink)) > 150
    page.emulate_media(media="print", color_scheme="dark")
    assert max(page.evaluate(ink)) < 100
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.close()


def test_the_pictures_are_there_without_javascript(browser: Any, pristine: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(1000 * LIMIT)
    page = context.new_page()
    page.goto((pristine / "lib" / "index.html").as_uri())
    assert page.locator(".card .sheet img").count() > 14
    assert page.locator("#check li").first.is_visible() and page.locator("#runs table").first.is_visible()
    context.close()
