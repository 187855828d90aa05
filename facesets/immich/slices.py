"""Cut a window of the search that holds more than a page into slices that each fit into one, by when assets changed.

A search gives at most PAGE assets of a window, and says only that there are more. Assets of one date differ in when
they were last changed or added, so those times are cut instead. How many lie in a slice is guessed before it is asked
for, from a random sample of the window and from how the slices before turned out; guessing too many costs a request,
too few as well, a little. A slice that overflows shows a thousand of its assets, which say where to cut it.

What it takes beyond a request for each PAGE (benchmarks/stage_slices.py): for 20,000 assets 3 to 14 requests, whatever
their times are like; for 50,000 up to 12 where times are steady in one field, up to 30 where they come in bursts and
pauses in both. No slice can cut what is equal to the millisecond in every time: `give_up` gets that.

Words: moments are milliseconds since 1970. A point is what is known of one asset: (updated, created, id). A box limits
these times, both ends inclusive, None: open. Neighbouring slices share their limit, since the database has microseconds
and replies are cut to milliseconds: the end of what a reply calls one moment is the next.
"""

import bisect
import math
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter

from ..common.errors import Failure

PAGE = 1000         # the most that a search gives
TIME_OF: dict[str, Callable[["Point"], int]] = {"updated": itemgetter(0), "created": itemgetter(1)}
SURE = 2.0          # standard deviations between what is expected of a slice and a page, less where they are wide:
WIDE = 4.0          # an overflow costs one request, room costs some of every slice
UNLIKE = 3.0        # standard deviations between sample and rate at which the rate is no longer believed
ERROR = 0.05        # of the rate of a slice, before it is known
MEMORY = 0.7        # share of the older slices in the rate, while it is steady
GAIN = 1.2          # requests that another sample must promise to save

Point = tuple[int, int, str]
Limits = tuple[int | None, int | None]
Box = dict[str, Limits]


class Sweep:
    """Ask for everything in a window, in slices.

    ask      the points of a box, and whether it has more than it gave
    sample   PAGE points of a box at random, all if there are fewer
    give_up  what to do with a box that no time can cut
    """

    def __init__(self, ask: Callable[[Box], tuple[list[Point], bool]], sample: Callable[[Box], list[Point]],
                 give_up: Callable[[Box], None]) -> None:
        self._ask, self._sample, self._give_up = ask, sample, give_up
        self._asked = self._most = 0

    def run(self, box: Box, known: Sequence[Point], total: float) -> None:
        """`known`: a sample of `box`, which holds about `total`."""
        self._most = self._most or 1000 + int(total) // 100
        usable = [name for name in TIME_OF if name not in box and len(set(map(TIME_OF[name], known))) > 1]
        if not usable:
            self._give_up(box)
            return
        field = min(usable, key=lambda name: concentration(list(map(TIME_OF[name], known))))
        time_of = TIME_OF[field]
        points, guess = list(known), Guess(map(time_of, known), total)
        low: int | None = None
        while True:
            if guess.wants_more(low):
                fresh = self._sample({**box, field: (low, None)})
                points += fresh
                guess.add(map(time_of, fresh), low)
            high = guess.cut(low)
            part = {**box, field: (low, high)}
            moment = low is not None and high is not None and high - low <= 2
            found, more = ([], True) if moment and guess.expect(low, high)[0] > 2 * PAGE else self._page(part)
            inside = [point for point in points if (low or 0) <= time_of(point) <= (high or time_of(point))]
            if not more and high is None:
                return
            if not more:
                guess.walked(low, high, len(found))
                low = high
            elif moment:
                self.run(part, inside if len(inside) > PAGE // 10 else self._sample(part), guess.weight * len(inside))
                guess.passed()
                low = high
            elif high is None and guess.ahead(low) < 2:
                points = self._sample({**box, field: (low, None)})
                guess = Guess(map(time_of, points), 2 * PAGE)
            else:
                again = len(set(inside).intersection(found))
                guess.overflowed(low, high, map(time_of, found), len(inside), again)

    def _page(self, box: Box) -> tuple[list[Point], bool]:
        self._asked += 1
        if self._asked > self._most:
            raise Failure("the server's search has no end; is it really Immich?")
        return self._ask(box)


class Guess:
    """How many assets lie between two moments: by a sample of them, and by the rate of the slices before."""

    def __init__(self, values: Iterable[int], total: float) -> None:
        self.values = sorted(values)
        self.weight = self._first = max(1.01, total / len(self.values))     # assets for each value of the sample
        self._passed = self._seen = self._slices = 0
        self._dense: list[int] = []     # assets of a slice that overflowed, nearly all that it has
        self._factor = 1.0              # assets for each of them
        self._slips = 0                 # overflows since the last slice that fitted
        self._rate, self._error = 0.0, ERROR    # assets a millisecond; standard deviation of a slice, as a share
        self._spread = 0.0              # standard deviation of the last cuts, as a share of a page

    def ahead(self, low: int | None) -> int:
        """Values of the sample from `low` on."""
        return len(self.values) - (bisect.bisect_left(self.values, low) if low is not None else 0)

    def expect(self, low: int | None, high: int | None) -> tuple[float, float]:
        """Assets in [low, high), and the standard deviation of that number."""
        at = start = self._start(low)
        high = self.values[-1] + 1 if high is None else high
        count = variance = 0.0
        if self._dense and self._dense[-1] >= start:
            at = min(high, self._dense[-1] + 1)
            number, unseen = _between(self._dense, start, at), self._factor - 1
            count, variance = self._factor * number, self._factor * unseen * number + (0.35 * unseen * number) ** 2
        if at < high:
            more, by = self._mixed(at, high, steady=low is not None)
            count, variance = count + more, variance + by
        return count, math.sqrt(variance + 1)

    def _mixed(self, at: int, high: int, steady: bool) -> tuple[float, float]:
        """Assets in [at, high) by sample and rate, each with the weight of what it knows; the sample alone, where the
        two contradict each other."""
        first, after = bisect.bisect_left(self.values, at), bisect.bisect_left(self.values, high)
        left = self.values[after - 1] if after > first else at
        right = self.values[after] if after < len(self.values) else high + 1
        between = (high - left) / max(1, right - left)
        number = after - first - 0.5 + between if after > first else between / 2
        noise = self.weight * max(self.weight - 1, 0.02)        # of each value; none where the sample has all
        count, variance = self.weight * number, noise * (number + 0.25)
        if not self._rate or not steady:
            return count, variance
        rated = self._rate * (high - at)
        doubt = (self._error * max(rated, 0.2 * PAGE)) ** 2
        if (rated - count) ** 2 > UNLIKE ** 2 * (doubt + noise * (max(number, rated / self.weight) + 0.25)):
            return count, variance
        share = variance / (variance + doubt)
        return share * rated + (1 - share) * count, variance * doubt / (variance + doubt)

    def cut(self, low: int | None) -> int | None:
        """Where the slice that begins at `low` should end; None: it takes all that is left."""
        start = self._start(low)
        values = self._dense[bisect.bisect_left(self._dense, start):]
        if not self._slips:
            values = sorted(values + self.values[bisect.bisect_left(self.values, start):])
        if not values:
            return None
        place = bisect.bisect_left(values, True, key=lambda value: self._too_much(low, value + 1))
        if place == len(values):
            if not self._slips and not self._too_much(low, values[-1] + 1 + (values[-1] - start) // len(values)):
                return None
            place -= 1
        fits, over = max(start, values[place - 1] + 1 if place else start), values[place]
        while fits < over - 1:
            middle = (fits + over) // 2
            fits, over = (fits, middle) if self._too_much(low, middle) else (middle, over)
        if fits == start:       # a moment that is too much on its own, and nothing before it
            return start - 1 if low is None else start + 2
        high = fits
        spread = self.expect(low, high)[1] / PAGE
        self._spread = (self._spread + spread) / 2 if self._spread and self._rate else spread
        return high

    def _too_much(self, low: int | None, high: int) -> bool:
        count, spread = self.expect(low, high)
        return count + max(0.8, SURE - WIDE * spread / PAGE) * spread > PAGE

    def walked(self, low: int | None, high: int | None, count: int) -> None:
        """[low, high) fitted into a page and had `count`."""
        start, end = self._start(low), self.values[-1] if high is None else high
        width = max(1, end - start)
        self._passed += _between(self.values, start, end)
        self._seen += count
        self._slices += 1
        self.weight = max(1.01, (30 * self._first + self._seen) / (30 + self._passed))
        missed = 1 - self._rate * width / count if self._rate and count > PAGE // 5 else 1.0
        if abs(missed) < 0.5:
            self._error = max(0.01, math.sqrt(0.8 * self._error ** 2 + 0.2 * missed ** 2))
        rate = count / width
        keep = MEMORY if self._rate and abs(self._rate - rate) < 3 * self._error * rate else 0.0
        self._rate = keep * self._rate + (1 - keep) * rate
        self.passed()
        if self._dense and self._dense[-1] < end:
            self._dense = []

    def passed(self) -> None:
        self._slips = 0

    def overflowed(self, low: int | None, high: int | None, found: Iterable[int], known: int, again: int) -> None:
        """[low, high) has more than the page `found`, in which `again` of the `known` assets there turned up."""
        self._slips += 1
        factor = 1.02 + 0.6 * min(self.expect(low, high)[1], PAGE / 2) / PAGE
        if known >= 20:
            caught = known / max(1, again)      # as ponds are counted: mark some fish, see how many are caught again
            factor = max(1.015, (30 * factor + again * caught) / (30 + again)) if caught < 2 else caught
        self._factor = factor * 1.15 ** min(self._slips - 1, 60)
        self._dense = sorted(found)

    def wants_more(self, low: int | None) -> bool:
        """Would another sample of what is left save more requests than it costs?"""
        ahead = self.ahead(low)
        rest = self.weight * ahead
        if self._slices < 3 or self._dense or rest < ahead + PAGE:
            return False

        def knowledge(weight: float) -> float:
            return 1 / max((weight - 1) / (0.9 * PAGE), 1e-4)
        gained = knowledge(rest / (ahead + PAGE)) - knowledge(self.weight)
        spread = 1 / math.sqrt(1 / max(self._spread, 1e-3) ** 2 + max(0.0, gained))
        return rest / PAGE * 1.8 * (max(self._spread, 0.035) - max(spread, 0.035)) > GAIN

    def add(self, values: Iterable[int], low: int | None) -> None:
        """Take another sample of what is left from `low` on."""
        rest = self.weight * self.ahead(low)
        self.values = sorted([*self.values, *values])
        self.weight = self._first = max(1.01, rest / max(1, self.ahead(low)))
        self._passed = self._seen = 0

    def _start(self, low: int | None) -> int:
        return low if low is not None else min(self.values[:1] + self._dense[:1])


def concentration(values: Sequence[int]) -> float:
    """The chance that two of `values` are equal: 1 where all are."""
    counts: dict[int, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return sum(count * count for count in counts.values()) / len(values) ** 2


def _between(values: Sequence[int], low: int, high: int) -> int:
    """How many of the sorted `values` lie in [low, high)."""
    return max(0, bisect.bisect_left(values, high) - bisect.bisect_left(values, low))
