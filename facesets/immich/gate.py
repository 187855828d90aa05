"""The gate: what was listed must be what an independent route counts, or the difference is named.

Own images are counted by /assets/statistics where the key may, else by /timeline/buckets, which counts videos too. An
asset without exif row is counted by both and shown by neither `withExif` nor /timeline/bucket. So where the counts
differ, the months that differ are listed again, with exif and without; what is missing is kept, what the server no
longer has goes. Then the counts are compared again: what still differs is reported.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from .client import Client, needed, understanding
from .listing import TRIES, VISIBILITIES, Listing, fields
from .preflight import Server

FEW = 12        # months that are listed again one by one; more by listing everything
Months = dict[str, tuple[int, int]]     # those of which the server counts other than we have: its images, ours


class Kept(Protocol):
    """What was listed so far, and is ours."""

    def keep(self, items: list[Any]) -> None: ...

    def gone(self, asset_id: str) -> None: ...

    def months(self, visibility: str) -> Counter[str]:
        """Assets by month of localDateTime, "2024-02"."""

    def ids(self, visibility: str, month: str = "") -> set[str]:
        """All, or those of a month."""


@dataclass
class Verdict:
    held: bool = True
    by: str = ""                                        # "statistics" or "timeline"
    fetched: int = 0                                    # assets that the listing had missed
    missing: list[str] = field(default_factory=list)    # ids that the timeline lists and no search shows
    extra: list[str] = field(default_factory=list)      # ids in a month of which we have more than the server counts
    differ: list[str] = field(default_factory=list)     # counts that differ in the end, in words


class Gate:
    def __init__(self, client: Client, listing: Listing, server: Server, kept: Kept) -> None:
        self.client, self.listing, self.server, self.kept = client, listing, server, kept
        self.verdict = Verdict(by="statistics" if server.may("asset.statistics") else "timeline")
        self._videos: dict[str, Counter[str]] = {}      # visibility -> own videos by month

    @understanding("the timeline")
    def check(self) -> Verdict:
        if not self._counted():
            for visibility in VISIBILITIES:
                months = self._differ(visibility)
                for mend in (self._list_again, self._fetch_listed):
                    if months:
                        mend(visibility, months)
                        months = self._differ(visibility)
                self.verdict.differ += [f"{visibility} {month}: the server counts {theirs} images, here are {ours}"
                                        for month, (theirs, ours) in months.items()]
        self.verdict.held = not (self.verdict.differ or self.verdict.missing or self.verdict.extra)
        return self.verdict

    def _counted(self, visibility: str = "") -> bool:
        """Does the server count as many images as we, of one visibility or, as it does unasked, of all of ours?"""
        if self.verdict.by == "timeline":
            return False
        ours = sum(self.kept.months(one).total() for one in VISIBILITIES if visibility in ("", one))
        query = {"visibility": visibility} if visibility else {}
        return bool(self._get("/assets/statistics", **query).get("images") == ours)

    def _differ(self, visibility: str) -> Months:
        if self._counted(visibility):
            return {}
        rows = self._get("/timeline/buckets", visibility=visibility)
        theirs, ours = Counter({row["timeBucket"][:7]: int(row["count"]) for row in rows}), self.kept.months(visibility)
        if theirs != ours and visibility not in self._videos:
            self._videos[visibility] = Counter(
                item["localDateTime"][:7] for items in self.listing.walk(fields(visibility, "VIDEO")) for item in items
                if item["ownerId"] == self.server.owner)
        theirs.subtract(self._videos.get(visibility, {}))
        return {month: (theirs[month], ours[month]) for month in sorted(theirs.keys() | ours.keys())
                if theirs[month] != ours[month]}

    def _list_again(self, visibility: str, months: Months) -> None:
        """Keep what the listing missed, and let go of what is gone since."""
        scope, shown = {**fields(visibility), "withPeople": True}, set[str]()
        spans = [_span(month) for month in months]
        have = self.kept.ids(visibility)
        for span in spans if len(spans) <= FEW else [{}]:
            for exif in (True, False):      # first with: only so their sizes are told
                for items in self.listing.walk({**scope, **span, "withExif": exif}):
                    self._keep([item for item in items if item["id"] not in have | shown])
                    shown.update(item["id"] for item in items)
        for month in months:
            for asset_id in sorted(self.kept.ids(visibility, month) - shown):
                found = self.listing.by_id(asset_id, scope)
                if found:
                    self.kept.keep([found])
                else:
                    self.kept.gone(asset_id)

    def _fetch_listed(self, visibility: str, months: Months) -> None:
        """Assets of one date and time of change escape a search, but not the timeline, which lists all with exif."""
        for month in months:
            columns = self._get("/timeline/bucket", timeBucket=f"{month}-01", visibility=visibility)
            listed = {asset_id for asset_id, image, owner in zip(
                columns["id"], columns["isImage"], columns["ownerId"], strict=True)
                if image and owner == self.server.owner}
            have = self.kept.ids(visibility, month)
            for asset_id in sorted(listed - have):
                found = self.listing.by_id(asset_id, {**fields(visibility), "withPeople": True})
                if found:
                    self._keep([found])
                else:
                    self.verdict.missing.append(asset_id)
            theirs, ours = months[month]
            self.verdict.extra += sorted(have - listed) if ours > theirs else []

    def _keep(self, items: list[Any]) -> None:
        self.kept.keep(items)
        self.verdict.fetched += sum(item["ownerId"] == self.server.owner for item in items)

    def _get(self, path: str, **query: str) -> Any:
        with needed(f"{self.client.access.url}{path} fails"):
            return self.client.get(path, TRIES, **query)


def _span(month: str) -> dict[str, str]:
    """The search fields of a month of local time, which is up to a day off."""
    year, number = int(month[:4]), int(month[5:])
    return {"takenAfter": f"{year - (number == 1):04}-{(number - 2) % 12 + 1:02}-28T00:00:00.000Z",
            "takenBefore": f"{year + number // 12:04}-{number % 12 + 1:02}-02T00:00:00.000Z"}
