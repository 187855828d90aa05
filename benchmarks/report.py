"""How long the report takes to make and to open, and what the page weighs, for a made-up library.

Run     python benchmarks/report.py [--facesets 1000] [--faces 60]
Needs   Chromium and the packages of the test lock for the second half (first paint, search, sort); prints without.
The pictures are drawn and few, and linked again and again; the embeddings are made up. Times are of this machine, now.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests"), str(CHECKOUT / "tests/report")]

import report_library  # noqa: E402

from facesets.operations import status  # noqa: E402
from facesets.report import make  # noqa: E402

Result = TypeVar("Result")
LOADS = 5
PAINT = """() => { const load = performance.getEntriesByType("navigation")[0];
    return [performance.getEntriesByName("first-contentful-paint")[0].startTime, load.domContentLoadedEventEnd,
            document.getElementsByTagName("*").length]; }"""
CHANGE = """([id, value]) => { const field = document.getElementById(id), began = performance.now();
    field.value = value; field.dispatchEvent(new Event("input")); document.body.offsetHeight;
    return performance.now() - began; }"""


def timed(what: str, work: Callable[[], Result]) -> Result:
    began = time.perf_counter()
    result = work()
    print(f"  {what:<44} {time.perf_counter() - began:8.2f} s")
    return result


def opened(page: Path) -> None:
    from playwright.sync_api import sync_playwright
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        rows = []
        for _ in range(LOADS):
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            tab.goto(page.as_uri())
            tab.wait_for_timeout(500)
            paint, ready, nodes = tab.evaluate(PAINT)
            rows.append((paint, ready, tab.evaluate(CHANGE, ["q", "anna 2014"]), tab.evaluate(CHANGE, ["q", ""]),
                         tab.evaluate(CHANGE, ["sort", "name"])))
            tab.close()
        for what, values in zip(("first contentful paint", "ready", "search", "search cleared", "sort"),
                                zip(*rows, strict=True), strict=True):
            print(f"  {what:<44} {sorted(values)[LOADS // 2]:8.0f} ms (of {LOADS}: {min(values):.0f} to "
                  f"{max(values):.0f})")
        print(f"  {'elements':<44} {nodes:8,}")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facesets", type=int, default=1000)
    parser.add_argument("--faces", type=int, default=60, help="most of one faceset; the least is 6")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root, work = Path(place) / "lib", Path(place) / "work"
        library = report_library.make_library(root, args.facesets, faces=(6, args.faces), drawn=280)
        report_library.make_work(work)
        print(f"{args.facesets:,} facesets")
        made = timed("report, first time", lambda: make.make(root, work, 0.1))
        timed("report, nothing new", lambda: make.make(root, work, 0.1))
        timed("status", lambda: status.status(work, library))
        print(f"  {'pictures':<44} {made.pictures:8,}")
        print(f"  {'page without pictures':<44} {(root / make.PAGE).stat().st_size / 1e6:8.2f} MB")
        weight = sum(path.stat().st_size for path in (root / "_report").glob("*.webp"))
        print(f"  {'contact sheets, fetched as one scrolls':<44} {weight / 1e6:8.2f} MB")
        try:
            opened(root / make.PAGE)
        except (ImportError, StopIteration):
            print("  no Chromium or playwright here: not opened")


if __name__ == "__main__":
    main()
