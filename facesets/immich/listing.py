"""Every asset exactly once: search paged by key, not by offset.

Before 3.1 Immich sorts a search by `fileCreatedAt` alone, so that equal dates change places between pages and offset
paging loses assets while the number of rows looks right. Here the next page begins at the date of the last item,
inclusive, and ids are given once. A date that fills a whole page is cut by other times: when its assets were changed or
added. Nothing can cut what is equal in all of them; `gate.py` finds what is lost there, and proves the rest.
"""

import datetime
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..common import terminal
from ..common.errors import Failure
from .client import Client, Rejected, Transient, needed, understanding

PAGE = 1000                     # the most that a search gives
VISIBILITIES = ("timeline", "archive")      # hidden: parts of live photos; locked: closed to keys
FILL = 0.7                      # of a page, that a slice is meant to have: one that overflows costs three requests
ODDS = 10                       # assets of a sample for each slice; with fewer their sizes are guesswork
TURNS = 12                      # page sizes in which equal dates are shuffled
TRIES = 11                      # of a page, without which nothing can be done: two minutes; fewer than open the breaker
ID = re.compile(r"[0-9A-Za-z-]{1,64}")
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MILLISECOND = datetime.timedelta(milliseconds=1)
Item = Mapping[str, Any]


class Listing:
    def __init__(self, client: Client, total_order: bool) -> None:
        """total_order: from 3.1 on equal dates are sorted by id, and paging by offset loses nothing."""
        self.client, self.total_order = client, total_order

    def walk(self, scope: Item) -> Iterator[list[Any]]:
        """Every asset of `scope` (search fields), a page at a time, each id once; one whose date is changed meanwhile
        may come again.
        """
        after, shown = scope.get("takenAfter"), set[str]()
        while True:
            items, more = self.page({**scope, **({"takenAfter": after} if after else {})})
            yield [item for item in items if item["id"] not in shown]
            if not more or not items:
                return
            first, last = items[0]["fileCreatedAt"], items[-1]["fileCreatedAt"]
            if after and first < after:
                raise Failure("the server sorts its search in an unknown way; is it really Immich?")
            shown = {item["id"] for item in items if item["fileCreatedAt"] == last}
            if first < last:
                after = last
                continue
            # Replies are cut to milliseconds, the database has microseconds: one date ends where the next begins.
            after = _iso(_milliseconds(last) + 1)
            window = {**scope, "takenAfter": last, "takenBefore": after}
            for number, part in enumerate(self._by_offset(window) if self.total_order else self._cut(window, items)):
                yield [item for item in part if item["id"] not in shown]
                shown.update(item["id"] for item in part)
                if number > 100 + len(shown) // (PAGE // 20):
                    raise Failure("the server's search has no end; is it really Immich?")

    def page(self, fields: Item) -> tuple[list[Any], bool]:
        """The items of one page, each with an id and a date, and whether more follow."""
        with needed(f"{self.client.access.url} cannot list the library"):
            reply = self.client.json("POST", "/search/metadata", {"size": PAGE, "order": "asc", **fields}, TRIES)
        with understanding("the search"):
            return _checked(reply["assets"]["items"]), reply["assets"]["nextPage"] is not None

    def by_id(self, asset_id: str, fields: Item) -> Any:
        """One asset; None where the server does not have it (any more)."""
        for exif in (True, False):      # an asset without exif row is invisible with exif
            items, _ = self.page({**fields, "id": asset_id, "withExif": exif})
            if items:
                return items[0]
        return None

    def _cut(self, box: Item, found: list[Any]) -> Iterator[list[Any]]:
        """Every asset of `box` (search fields), which has more than the page `found`, some twice.

        A sample says where its times lie; how much of `found` is in it (as with marked fish in a pond) how many there
        are. The slices meet in their limits, which are inclusive. One that overflows is cut again.
        """
        sample = self._random(box) or found
        again = len({item["id"] for item in sample} & {item["id"] for item in found})
        total = len(sample) * len(found) / max(1, again)
        parts = max(2, min(math.ceil(total / (FILL * PAGE)), len(sample) // ODDS))
        with understanding("the search"):
            times = {name: [_milliseconds(item[f"{name}At"]) for item in sample if item.get(f"{name}At")]
                     for name in ("updated", "created")}
        cuts = {name: _quantiles(values, parts, box.get(f"{name}After"), box.get(f"{name}Before"))
                for name, values in times.items()}
        name = max(cuts, key=lambda one: (bool(cuts[one]), len(set(times[one]))))
        if not cuts[name]:
            yield from self._by_offset(box)
            return
        limits = [box.get(f"{name}After"), *map(_iso, cuts[name]), box.get(f"{name}Before")]
        for low, high in pairwise(limits):
            part = {**box, **({f"{name}After": low} if low else {}), **({f"{name}Before": high} if high else {})}
            items, more = self.page(part)
            yield items
            if more:
                yield from self._cut(part, items)

    def _random(self, box: Item) -> list[Any]:
        """A page of assets at random, [] where the server gives none."""
        try:
            reply = self.client.json("POST", "/search/random", {**box, "size": PAGE}, 2)
        except (Transient, Rejected):
            return []
        with understanding("the search"):
            return _checked(reply)

    def _by_offset(self, box: Item) -> Iterator[list[Any]]:
        """Page `box` by offset, which is complete where the order is total; else in page sizes that each give equal
        dates another order, until nothing seems to be missing.
        """
        found, rows = set[str](), 0
        for size in range(PAGE, PAGE - TURNS, -1):
            known, number, more = len(found), 1, True
            while more:
                items, more = self.page({**box, "size": size, "page": number})
                yield items
                found.update(item["id"] for item in items)
                number, rows = number + 1, rows + len(items) if size == PAGE else rows
            if self.total_order or len(found) >= rows or len(found) == known:
                return


def fields(visibility: str, kind: str = "IMAGE") -> dict[str, Any]:
    """The search fields of a listing; type and visibility are always sent, since their defaults changed in 3.x."""
    return {"type": kind, "visibility": visibility}


def _checked(items: Any) -> list[Any]:
    """`items`, if each has an id and a date."""
    for item in items:
        if not ID.fullmatch(item["id"]):
            raise ValueError("an id is no id")
        taken = item["fileCreatedAt"]
        if not isinstance(taken, str) or not taken.isascii() or not 10 <= len(taken) <= 40:
            raise Failure(f"the asset {terminal.safe(item['id'], 64)} has no fileCreatedAt")
        _milliseconds(taken)
    return list(items)


def _quantiles(values: Sequence[int], parts: int, after: str | None, before: str | None) -> list[int]:
    """Where to cut `values` into `parts` of about one size, between the limits that they have already.

    A cut lies behind a moment, and before it as well where that moment is a part of its own.
    """
    count, ordered = Counter(values), sorted(values)
    places = [ordered[number * len(ordered) // parts] for number in range(1, parts)] if ordered else []
    cuts = {place + 1 for place in places} | {place for place in places if count[place] * parts >= len(ordered)}
    low, high = (_milliseconds(limit) if limit else None for limit in (after, before))
    return sorted(cut for cut in cuts if (low is None or cut > low) and (high is None or cut < high))


def _milliseconds(moment: str) -> int:
    read = datetime.datetime.fromisoformat(moment)
    return ((read if read.tzinfo else read.replace(tzinfo=datetime.UTC)) - EPOCH) // MILLISECOND


def _iso(moment: int) -> str:
    return (EPOCH + moment * MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")
