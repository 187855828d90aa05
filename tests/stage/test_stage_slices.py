"""Libraries in which many assets share a date: the slices of other dates lose nothing and take few requests."""

import math
import os
import random
from itertools import accumulate

import pytest
from stage_lab import NEEDED, Lab, laboratory

from facesets.immich.slices import PAGE, Box, Point, Sweep

LONG = bool(os.environ.get("FACESETS_LONG_TESTS"))
START = 1_700_000_000_000


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
    """Assets of one date, behind a search that shows a page of them in an order of its own."""

    def __init__(self, updated: list[int], created: list[int], order: str, draw: random.Random) -> None:
        self.points: list[Point] = [(*pair, str(number)) for number, pair in
                                    enumerate(zip(updated, created, strict=True))]
        self.order, self.draw = order, draw
        self.requests = 2       # the page that showed that there are too many, and the first sample
        self.seen: set[str] = set()
        self.given_up: list[Box] = []

    def inside(self, box: Box) -> list[Point]:
        (after, before), (since, until) = (box.get(name, (None, None)) for name in ("updated", "created"))
        low, high, first, last = (after or 0), (before or math.inf), (since or 0), (until or math.inf)
        return [point for point in self.points if low <= point[0] <= high and first <= point[1] <= last]

    def ask(self, box: Box) -> tuple[list[Point], bool]:
        self.requests += 1
        found = self.inside(box)
        if self.order == "any":
            self.draw.shuffle(found)
        else:                   # as the database wrote them, so that a page is no fair sample
            found.sort()
        page = found[:PAGE]
        self.seen.update(point[2] for point in page)
        return page, len(found) > PAGE

    def sample(self, box: Box) -> list[Point]:
        self.requests += 1
        found = self.inside(box)
        return self.draw.sample(found, min(PAGE, len(found)))

    def sweep(self) -> None:
        self.requests -= 1
        known = self.sample({})
        total = len(self.points) * self.draw.uniform(0.8, 1.25)
        Sweep(self.ask, self.sample, self.given_up.append).run({}, known, total)


def swept(count: int, updated: str, created: str, order: str, seed: int) -> Window:
    draw = random.Random(seed)
    columns = [times(kind, count, draw) for kind in (updated, created)]
    if seed % 2:
        for column in columns:
            draw.shuffle(column)
    window = Window(*columns, order, draw)
    window.sweep()
    return window


@pytest.mark.parametrize("order", ["any", "as written"])
@pytest.mark.parametrize(("updated", "created"), [
    ("even", "equal"), ("uniform", "uniform"), ("rates", "rates"), ("log-normal", "log-normal"),
    ("sessions", "sessions"), ("small bursts", "small bursts"), ("bursts", "uniform"), ("equal", "rates"),
    ("mostly equal", "uniform")])
def test_what_one_date_holds_is_seen_whole_in_a_request_a_thousand_and_few_more(updated, created, order):
    """Twenty less the six of preflight, archive and gate remain for the slices."""
    for count in (1001, 2600, 6000, 20_000):
        for seed in range(8 if LONG else 2):
            window = swept(count, updated, created, order, seed)
            assert len(window.seen) == count and not window.given_up
            assert window.requests <= math.ceil(count / PAGE) + 14, (count, seed)


@pytest.mark.skipif(not LONG, reason="a minute; FACESETS_LONG_TESTS=1 runs it")
@pytest.mark.parametrize("updated", ["even", "uniform"])
def test_steady_times_of_change_keep_the_bound_for_fifty_thousand_of_one_date(updated):
    for seed in range(6):
        window = swept(50_000, updated, "bursts", "any", seed)
        assert len(window.seen) == 50_000 and window.requests <= 50 + 14


@pytest.mark.parametrize(("updated", "created"), [("bursts", "bursts"), ("bursts", "equal"), ("mostly equal", "equal"),
                                                  ("equal", "equal")])
def test_only_what_is_equal_in_every_time_is_given_up(updated, created):
    for seed in range(3):
        window = swept(8000, updated, created, "any", seed)
        missing = {point for point in window.points if point[2] not in window.seen}
        left = {point for box in window.given_up for point in window.inside(box)}
        assert missing <= left
        for box in window.given_up:
            moments = {point[:2] for point in window.inside(box)}
            assert len(moments) <= 2 or len(window.inside(box)) <= PAGE


def test_a_search_that_always_has_more_ends_in_words():
    from facesets.common.errors import Failure
    window = Window(times("uniform", 3000, random.Random(1)), [0] * 3000, "any", random.Random(2))
    sweep = Sweep(lambda box: (random.sample(window.points, PAGE), True), window.sample, window.given_up.append)
    with pytest.raises(Failure, match="no end"):
        sweep.run({}, window.sample({}), 3000)


@pytest.mark.parametrize(("dates", "kind", "random_route"), [
    (1, "uniform", True), (4, "sessions", True), (12, "small bursts", True), (1, "uniform", False)])
def test_a_library_of_few_dates_is_listed_within_the_bound(dates, kind, random_route, tmp_path):
    count = 9000

    def fill(lab: Lab) -> None:
        lab.key = lab.server.add_key(lab.user, (*NEEDED, "asset.statistics"))
        lab.extra["FACESETS_READ_TIMEOUT"] = "30"       # a page of a thousand may take its time on a busy machine
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
            assert run.summary["requests_before_downloads"] <= math.ceil(count / PAGE) + 20
