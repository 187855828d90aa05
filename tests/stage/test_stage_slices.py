"""Libraries in which many assets share a date: the slices of other dates lose nothing and take few requests."""

import math
import os
import random
from itertools import accumulate
from operator import itemgetter
from typing import Any

import pytest
from stage_lab import NEEDED, Lab, laboratory

from facesets.common.errors import Failure
from facesets.fake_immich.library_model import iso, milliseconds
from facesets.immich.client import Access
from facesets.immich.listing import PAGE, Listing

LONG = bool(os.environ.get("FACESETS_LONG_TESTS"))
START = 1_700_000_000_000
DATE = "2020-01-01T00:00:00.000Z"


def times(kind: str, count: int, draw: random.Random) -> list[int]:
    """When `count` assets were changed, in milliseconds, in order."""
    if kind == "equal":
        return [START] * count
    if kind == "mostly equal":
        return sorted(START + int((50 if draw.random() < 0.7 else 100 * draw.random()) * count) for _ in range(count))
    gaps: list[float] = []
    while len(gaps) < count:
        if kind == "even":
            gaps += [90.0] * count
        elif kind == "uniform":
            gaps += [draw.expovariate(0.01) for _ in range(count)]
        elif kind == "log-normal":
            gaps += [draw.lognormvariate(4, 2) for _ in range(count)]
        elif kind == "rates":               # steady for thousands, then another rate
            rate = 10 ** draw.uniform(-1, 2)
            gaps += [draw.expovariate(rate / 1000) for _ in range(draw.randrange(2000, 10_000))]
        elif kind == "sessions":            # uploads, with days between them
            rate = 10 ** draw.uniform(1.5, 3.5)
            gaps += [draw.expovariate(1 / rate) for _ in range(int(10 ** draw.uniform(1.7, 3.7)))] + [86_400_000.0]
        elif kind == "bursts":              # equal to the millisecond
            gaps += [0.0] * draw.randrange(500, 3000) + [60_000.0 * draw.randrange(1, 100)]
        elif kind == "small bursts":
            gaps += [0.0] * draw.randrange(5, 120) + [60_000.0 * draw.randrange(1, 100)]
    return [START + int(moment) for moment in accumulate(gaps[:count])]


class Window:
    """A client of a search that has assets of one date only, of which it shows a page in an order of its own."""

    access = Access("https://photos.example.org", ("x-api-key", "key"))

    def __init__(self, updated: list[int], created: list[int], order: str, draw: random.Random) -> None:
        self.rows = [{"id": str(number), "fileCreatedAt": DATE, "updatedAt": iso(one), "createdAt": iso(other),
                      "times": (one, other)} for number, (one, other) in enumerate(zip(updated, created, strict=True))]
        self.order, self.draw, self.requests = order, draw, 0

    def json(self, method: str, path: str, body: dict[str, Any], attempts: int) -> Any:
        self.requests += 1
        limits = [(milliseconds(body.get(f"{name}After", "1970-01-01")),
                   milliseconds(body.get(f"{name}Before", "2100-01-01"))) for name in ("updated", "created")]
        found = [row for row in self.rows if body.get("takenAfter", DATE) <= DATE
                 and all(low <= time <= high for time, (low, high) in zip(row["times"], limits, strict=True))]
        if path == "/search/random":
            return self.draw.sample(found, min(PAGE, len(found)))
        size, page = body["size"], body.get("page", 1)
        if self.order == "any":
            random.Random(size * 1000 + page).shuffle(found)
        else:                   # as the database wrote them, so that a page is no fair sample
            found.sort(key=itemgetter("times"))
        shown = found[(page - 1) * size:page * size]
        return {"assets": {"items": shown, "nextPage": str(page + 1) if len(found) > page * size else None}}


def swept(count: int, updated: str, created: str, order: str, seed: int) -> tuple[set[str], int]:
    """The ids that a walk gave, and the requests that it took."""
    draw = random.Random(seed)
    columns = [times(kind, count, draw) for kind in (updated, created)]
    if seed % 2:
        for column in columns:
            draw.shuffle(column)
    window = Window(*columns, order, draw)
    ids = [item["id"] for items in Listing(window, total_order=False).walk({}) for item in items]
    assert len(ids) == len(set(ids))
    return set(ids), window.requests


@pytest.mark.parametrize("order", ["any", "as written"])
@pytest.mark.parametrize(("updated", "created"), [
    ("even", "equal"), ("uniform", "uniform"), ("rates", "rates"), ("log-normal", "log-normal"),
    ("sessions", "sessions"), ("small bursts", "small bursts"), ("bursts", "uniform"), ("equal", "rates"),
    ("mostly equal", "uniform")])
def test_what_one_date_holds_is_seen_whole_in_three_requests_a_thousand(updated, created, order):
    """One more shows that nothing follows."""
    for count in (1001, 1500, 2600, 6000, *((20_000, 50_000) if LONG else ())):
        for seed in range(8 if LONG else 2):
            ids, requests = swept(count, updated, created, order, seed)
            assert len(ids) == count
            assert requests <= 3 * math.ceil(count / PAGE) + 1, (count, seed)


@pytest.mark.parametrize(("updated", "created"), [("bursts", "bursts"), ("bursts", "equal"), ("mostly equal", "equal"),
                                                  ("equal", "equal")])
def test_what_is_equal_in_every_time_is_shown_in_orders_enough(updated, created):
    """A handful may escape, which the gate fetches."""
    for seed in range(2):
        ids, requests = swept(4000, updated, created, "any", seed)
        assert len(ids) >= 3990 and requests <= 200


def test_a_search_that_always_has_more_ends_in_words():
    class Endless(Window):
        def json(self, method: str, path: str, body: dict[str, Any], attempts: int) -> Any:
            page = random.sample(self.rows, PAGE)
            return page if "random" in path else {"assets": {"items": page, "nextPage": "2"}}
    with pytest.raises(Failure, match="no end"):
        list(Listing(Endless(times("uniform", 3000, random.Random(1)), [0] * 3000, "any", random.Random(2)),
                     total_order=False).walk({}))


@pytest.mark.parametrize(("dates", "kind", "random_route"), [
    (1, "uniform", True), (4, "sessions", True), (12, "small bursts", True), (1, "uniform", False)])
def test_a_library_of_few_dates_is_listed_in_three_requests_a_thousand(dates, kind, random_route, tmp_path):
    count = 9000

    def fill(lab: Lab) -> None:
        lab.key = lab.server.add_key(lab.user, (*NEEDED, "asset.statistics"))
        draw = random.Random(3)
        changed = times(kind, count, draw)
        draw.shuffle(changed)
        for number in range(count):
            lab.server.library.add_asset(
                lab.user, None, checksum=number.to_bytes(20, "big"), size=1000, width=400, height=300,
                name=f"{number}.jpg", taken=START - number * dates // count * 86_400_000, created=START,
                updated=changed[number])
    with laboratory(tmp_path, fill=fill) as lab:
        if not random_route:
            lab.server.faults.add("status", "*/search/random", status=404)
        run = lab.stage("--dry-run")
        assert run.status == 0, run.err
        assert run.summary["total_assets_seen"] == count and run.summary["gate_held"]
        assert run.summary["gate_fetched"] == 0
        if random_route:
            assert run.summary["requests_before_downloads"] <= 3 * math.ceil(count / PAGE) + 20


@pytest.mark.parametrize("value", [7, ["x"], "9999-99-99", "x" * 99])
def test_a_time_that_is_none_is_said_in_one_line(value: object) -> None:
    moments = times("even", 1200, random.Random(1))
    window = Window(moments, moments, "any", random.Random(1))
    for row in window.rows:
        row["updatedAt"] = value
    with pytest.raises(Failure, match="answers unlike any Immich"):
        list(Listing(window, False).walk({}))
