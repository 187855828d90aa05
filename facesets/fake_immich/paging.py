"""Which assets a request may see, and in which order: search, its offset paging with its losses, the timeline.

Immich before 3.1 sorts a search by `fileCreatedAt` alone. PostgreSQL is then free to give equal dates in any order, and
does so anew for every LIMIT and OFFSET, so that pages overlap and assets are lost while the number of rows looks right.
Here every (page, size) shuffles equal dates in its own way, the same way each time: of the recorded library (1,800 of
2,600 photos share one date) about as much is lost as PostgreSQL lost.
"""

import bisect
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter

from .library_model import Asset, Library, User, iso

TAKEN = attrgetter("taken")


@dataclass(frozen=True)
class Scope:
    """The part of a search that an index answers; one sorted list is kept for each."""

    owners: frozenset[str]
    visibilities: frozenset[str]
    type: str | None = None
    trashed: bool | None = False    # None: both
    with_exif: bool = False         # inner join: assets without an exif row vanish


@dataclass(frozen=True)
class Window:
    """The part of the list that is asked for."""

    after: int | None = None        # inclusive, as Immich's takenAfter and takenBefore are
    before: int | None = None
    descending: bool = True
    page: int = 1
    size: int = 250


class Index:
    """Sorted lists of the library's assets, made when asked for and dropped at the next change."""

    def __init__(self, library: Library, stable: bool) -> None:
        self.library = library
        self.stable = stable        # sort by fileCreatedAt, id as from 3.1 on
        self._lists: dict[Scope, list[Asset]] = {}
        self._at = -1

    def sorted(self, scope: Scope) -> list[Asset]:
        """Every asset of `scope`, oldest first, by id among equals."""
        with self.library.lock:
            if self._at != self.library.changes:
                self._lists.clear()
                self._at = self.library.changes
            if scope not in self._lists:
                chosen = [asset for asset in self.library.assets.values() if _inside(asset, scope)]
                self._lists[scope] = sorted(chosen, key=lambda asset: (asset.taken, asset.id))
            return self._lists[scope]

    def page(self, scope: Scope, window: Window,
             keep: Callable[[Asset], bool] | None = None) -> tuple[list[Asset], bool]:
        """The assets of one page and whether another follows. `keep` is the part that no index answers."""
        found = self.sorted(scope)
        start = 0 if window.after is None else bisect.bisect_left(found, window.after, key=TAKEN)
        end = len(found) if window.before is None else bisect.bisect_right(found, window.before, key=TAKEN)
        if keep is not None:
            found = [asset for asset in found[start:end] if keep(asset)]
            start, end = 0, len(found)
        total = max(0, end - start)
        first, last = (window.page - 1) * window.size, min(window.page * window.size, total)
        if first >= total:
            return [], False
        low, high = (total - last, total - first) if window.descending else (first, last)
        rows = self._rows(found, (start, end), start + low, start + high, f"{window.page} {window.size}")
        return (rows[::-1] if window.descending else rows), last < total

    def _rows(self, found: list[Asset], window: tuple[int, int], low: int, high: int, salt: str) -> list[Asset]:
        """found[low:high], but equal dates of the window are first shuffled, for every `salt` in another way."""
        if self.stable:
            return found[low:high]
        mixed = zlib.crc32(salt.encode())

        def draw(asset: Asset) -> int:      # a CRC alone is linear: two salts would give nearly the same halves
            return (zlib.crc32(asset.id.encode()) ^ mixed) * 2_654_435_761 % (1 << 32)
        head = bisect.bisect_left(found, found[low].taken, *window, key=TAKEN)
        tail = bisect.bisect_right(found, found[high - 1].taken, *window, key=TAKEN)
        return sorted(found[head:tail], key=lambda asset: (asset.taken, draw(asset)))[low - head:high - head]


def _inside(asset: Asset, scope: Scope) -> bool:
    return (asset.owner.id in scope.owners and asset.visibility in scope.visibilities
            and (scope.type is None or asset.type == scope.type)
            and (scope.trashed is None or bool(asset.trashed) == scope.trashed)
            and (not scope.with_exif or asset.exif is not None))


def visible_owners(user: User) -> frozenset[str]:
    """Whose assets a search of `user` returns: their own and those of partners in their timeline."""
    return frozenset({user.id, *(owner for owner, in_timeline in user.partners.items() if in_timeline)})


def may_open(user: User, asset: Asset | None) -> bool:
    """May `user` open this asset by its id? Partners' too, in the timeline or not; locked ones never."""
    if asset is None or asset.visibility == "locked":
        return False
    return asset.owner is user or (asset.owner.id in user.partners and not asset.trashed
                                   and asset.visibility != "archive")


def months(assets: Iterable[Asset]) -> dict[str, list[Asset]]:
    """`assets` by month of localDateTime ("2024-02-01"), newest month first, newest asset first."""
    buckets: dict[str, list[Asset]] = {}
    for asset in sorted(assets, key=lambda one: (one.local, one.id), reverse=True):
        buckets.setdefault(iso(asset.local)[:8] + "01", []).append(asset)
    return buckets
