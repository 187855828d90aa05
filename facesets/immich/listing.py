"""Every asset exactly once: search paged by key, not by offset.

Before 3.1 Immich sorts a search by `fileCreatedAt` alone, so that equal dates change places between pages and offset
paging loses assets while the number of rows looks right. Here the next page begins at the date of the last item,
inclusive, and ids are counted once; a date that fills a whole page is cut by other dates (`slices.py`). `gate.py` then
proves it.
"""

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..common import terminal
from ..common.errors import Failure, Paused
from ..stage.duplicates import is_content_checksum
from ..stage.state import Asset, State, faces_json
from . import boxes, slices
from .client import Client, Rejected, Transient, understanding
from .slices import PAGE

VISIBILITIES = ("timeline", "archive")      # hidden: parts of live photos; locked: closed to keys
MANY = 100                      # assets of one date at the end of a page; so many cost too much to see again
WASTE = 2.5                     # requests more than the assets need, and more of them for each page of assets, after
WASTE_SHARE = 0.1               # which the rest is swept by times of change, which takes about as much
LARGEST = 1 << 50               # bytes of a file; what is said to be larger has no size
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
TRIES = 12                      # of a page, without which nothing can be done: about three minutes
ID = re.compile(r"[0-9A-Za-z-]{1,64}")
Item = Mapping[str, Any]


@dataclass(frozen=True)
class Rules:
    """What makes an asset wanted."""

    owner: str
    min_face_px: float
    exclude: tuple[str, ...]
    boxes_in_search: bool       # False (3.x): faces are asked for afterwards
    total_order: bool = False   # from 3.1 on equal dates are sorted by id, and paging by offset loses nothing

    def __post_init__(self) -> None:
        object.__setattr__(self, "excluded", re.compile("|".join(map(_regex, self.exclude)) or r"(?!)").fullmatch)

    excluded: Callable[[str], Any] = None   # type: ignore[assignment]


class Listing:
    def __init__(self, client: Client, state: State, rules: Rules,
                 tell: Callable[[int], object] = lambda _: None) -> None:
        """`tell` hears how many items each page had."""
        self.client, self.state, self.rules, self._tell = client, state, rules, tell
        self._asked = self._seen = 0        # requests and assets of a walk

    @understanding("the search")
    def walk(self, scope: Item, keep: Callable[[list[Any]], None] | None = None) -> None:
        """Give every asset of `scope` (search fields) to `keep`, some twice."""
        keep = keep or self.keep
        after = scope.get("takenAfter")
        self._asked = self._seen = 0
        with ThreadPoolExecutor(1, "keep") as other:
            kept: Future[None] | None = None        # a page is kept while the server thinks about the next one
            while True:
                items, more = self.page({**scope, **({"takenAfter": after} if after else {})})
                if kept:
                    kept.result()
                kept = other.submit(keep, items)
                following = self._following(scope, after, items, kept, keep) if more and items else None
                if following is None:
                    kept.result()
                    return
                after = following

    def _following(self, scope: Item, after: str | None, items: list[Any], kept: "Future[None]",
                   keep: Callable[[list[Any]], None]) -> str | None:
        """The date at which the page after `items` begins; None: the rest has been swept."""
        first, last = (_taken(items[place]) for place in (0, -1))
        if after and first < after:
            raise Failure("the server sorts its search in an unknown way; is it really Immich?")
        ties = [item for item in items if _taken(item) == last]      # they come again with the next page
        self._seen += len(items) - len(ties)
        wasted = self._asked - self._seen / PAGE
        rest = len(ties) > MANY and wasted > WASTE + WASTE_SHARE * self._seen / PAGE
        if not rest and first != last:
            return last
        kept.result()
        end = _next_millisecond(last)
        self._sweep({**scope, "takenAfter": last, **({} if rest else {"takenBefore": end})}, ties, keep)
        return None if rest else end

    def page(self, fields: Item) -> tuple[list[Any], bool]:
        """The items of one page, and whether more follow."""
        try:
            reply = self.client.json("POST", "/search/metadata", {"size": PAGE, "order": "asc", **fields}, TRIES)
        except (Transient, Rejected) as error:
            raise Paused(f"{self.client.access.url} cannot list the library: {error}") from None
        with understanding("the search"):
            assets = reply["assets"]
            items, following = list(assets["items"]), assets["nextPage"]
            for item in items:
                if not ID.fullmatch(item["id"]):
                    raise ValueError("an id is no id")
        self._tell(len(items))
        self._asked += 1
        return items, following is not None

    def keep(self, items: Iterable[Item]) -> None:
        with understanding("the search"):
            self.state.put([row(item, self.rules) for item in items])

    def by_id(self, asset_id: str, fields: Item) -> bool:
        """Fetch one asset; False where the server does not have it (any more)."""
        for exif in (True, False):      # an asset without exif row is invisible with exif
            items, _ = self.page({**fields, "id": asset_id, "withExif": exif})
            if items:
                self.keep(items)
                return True
        return False

    def _sweep(self, window: Item, first: list[Any], keep: Callable[[list[Any]], None]) -> None:
        """Every asset of a window in which too many share a date; `first`: those of them that a page showed.

        They were last changed, or added, at different times: slices of those times that fit into a page lose nothing.
        Where all times are equal too, pages of several sizes show most of them, and the gate finds the rest.
        """
        if self.rules.total_order:
            self._shuffled(window, keep)
            return

        def ask(box: slices.Box) -> tuple[list[slices.Point], bool]:
            items, more = self.page({**window, **_limits(box)})
            keep(items)
            self._seen += 0 if more else len(items)
            return [_point(item) for item in items], more

        def sample(box: slices.Box) -> list[slices.Point]:
            return [_point(item) for item in self._random({**window, **_limits(box)}) or first]
        known = sample({})
        again = len({point[2] for point in known} & {item["id"] for item in first})
        slices.Sweep(ask, sample, lambda box: self._shuffled({**window, **_limits(box)}, keep)).run(
            {}, known, len(known) * len(first) / max(again, 0.7))

    def _random(self, fields: Item) -> list[Any]:
        """A page of assets at random, [] where the server gives none."""
        self._asked += 1
        try:
            items = self.client.json("POST", "/search/random", {"size": PAGE, **fields}, 2)
        except (Transient, Rejected):
            return []
        return items if len(items) > 1 else []

    def _shuffled(self, window: Item, keep: Callable[[list[Any]], None]) -> None:
        """Page `window` by offset, in page sizes that each shuffle equal dates anew, until nothing is missing."""
        found: set[str] = set()
        total, number, more = 0, 1, True
        while more:
            items, more = self.page({**window, "page": number})
            keep(items)
            total, number = total + len(items), number + 1
            found.update(item["id"] for item in items)
            if number > 20 + len(found) // (PAGE // 4):     # even shuffled, pages show more than a quarter that is new
                raise Failure("the server's search has no end; is it really Immich?")
        size, idle = PAGE - 1, 0
        while len(found) < total and idle < 3 and size > PAGE - 1 - max(12, total // 300):
            for number in range(1, -(-total // size) + 1):
                items, _ = self.page({**window, "size": size, "page": number})
                keep(items)
                before = len(found)
                found.update(item["id"] for item in items)
                idle = idle + 1 if len(found) - before < 5 else 0
                if len(found) >= total or idle >= 3:
                    break
            size -= 1
        self._seen += len(found)


def fields(visibility: str, kind: str = "IMAGE") -> dict[str, Any]:
    """The search fields of a listing; type and visibility are always sent, since their defaults changed in 3.x."""
    return {"type": kind, "visibility": visibility}


def row(item: Item, rules: Rules) -> Asset:
    """One search item as a row of state.db, with its outcome as far as the item tells."""
    exif = item.get("exifInfo") or {}
    width, height = boxes.upright_size(item)
    edited = boxes.edited_size(item)
    path, checksum = text(item, "originalPath"), text(item, "checksum")
    size = exif.get("fileSizeInByte")
    outcome, reason, faces = "ask", "", "[]"
    found = boxes.faces_of(item)
    if item["ownerId"] != rules.owner:
        outcome = "foreign"
    elif rules.excluded(path):
        outcome = "excluded"
    elif item.get("isOffline"):
        outcome, reason = "error", "the server says that its file is offline"
    elif rules.boxes_in_search:
        if found is None:
            raise Failure("the search gives no face boxes although this server should; is it really Immich 2.x?")
        outcome, faces = judge(found, (width, height), rules.min_face_px)
    elif not item.get("thumbhash"):
        outcome = "none"        # Immich looks for faces in the preview, which it has not made yet
    elif width and min(width, height) < rules.min_face_px:
        outcome = "small"
    return Asset(item["id"], _taken(item), text(item, "localDateTime")[:7], text(item, "visibility"),
                 text(item, "originalFileName"), path, checksum,
                 is_content_checksum(checksum, path, item.get("libraryId")),
                 size if isinstance(size, int) and 0 < size < LARGEST else 0, width, height,
                 f"[{edited[0]}, {edited[1]}]" if all(edited) else "", faces, outcome, reason)


def judge(found: list[dict[str, Any]], size: boxes.Size, least: float, placed: bool = True) -> tuple[str, str]:
    """Outcome by faces, and the boxes as state.db keeps them; `size` and `placed` as in boxes.measure."""
    if not found:
        return "none", "[]"
    largest, kept = boxes.measure(found, size, placed)
    return ("wanted" if largest >= least else "small"), faces_json(kept)


def text(item: Item, name: str) -> str:
    """A text as the server gives it, "" where there is none; lone surrogates cannot be stored."""
    return str(item.get(name) or "").encode("utf-8", "replace").decode("utf-8")


def _taken(item: Item) -> str:
    taken = item["fileCreatedAt"]
    if not isinstance(taken, str) or not taken.isascii() or not 10 <= len(taken) <= 40:
        raise Failure(f"the asset {terminal.safe(item['id'], 64)} has no fileCreatedAt")
    return taken


def _next_millisecond(moment: str) -> str:
    """Replies are cut to milliseconds, the database has microseconds: the end of one date is the next millisecond."""
    return _iso(datetime.datetime.fromisoformat(moment) + datetime.timedelta(milliseconds=1))


def _point(item: Item) -> slices.Point:
    updated, created = (_milliseconds(item[name]) if item.get(name) else 0 for name in ("updatedAt", "createdAt"))
    return updated, created, item["id"]


def _milliseconds(moment: str) -> int:
    return (datetime.datetime.fromisoformat(moment) - EPOCH) // datetime.timedelta(milliseconds=1)


def _limits(box: slices.Box) -> dict[str, str]:
    """The search fields of a box of times."""
    return {f"{name}{end}": _iso(EPOCH + datetime.timedelta(milliseconds=moment)) for name, limits in box.items()
            for end, moment in zip(("After", "Before"), limits, strict=True) if moment is not None}


def _iso(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _regex(glob: str) -> str:
    """`**/` any folders or none, `**` anything, `*` and `?` within a folder."""
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(signs.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", glob))
