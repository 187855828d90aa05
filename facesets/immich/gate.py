"""The gate: what the search listed must be what an independent route counts, or the difference is named.

Own images are counted by /assets/statistics where the key may, else by /timeline/buckets, which counts videos too.
Where the counts differ, the months that differ are listed by /timeline/bucket; what is missing is fetched, what the
server no longer has leaves this run. What still differs is reported.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..common.errors import Paused
from .client import Client, Rejected, Transient, understanding
from .listing import VISIBILITIES, Listing, fields
from .preflight import Server

FEW = 20        # missing assets that are fetched one by one; more by listing their months


@dataclass
class Verdict:
    held: bool = True
    by: str = ""                                        # "statistics" or "timeline"
    fetched: int = 0                                    # assets that the listing had missed
    missing: list[str] = field(default_factory=list)    # ids that the server counts and we could not fetch
    extra: list[str] = field(default_factory=list)      # ids that only the search shows


class Gate:
    def __init__(self, client: Client, listing: Listing, server: Server) -> None:
        self.client, self.listing, self.server = client, listing, server
        self.state = listing.state
        self.verdict = Verdict(by="statistics" if server.may("asset.statistics") else "timeline")

    @understanding("the timeline")
    def check(self) -> Verdict:
        if self.verdict.by == "timeline" or not self._counted():
            for visibility in VISIBILITIES:
                if self.verdict.by == "timeline" or not self._counted(visibility):
                    self._compare_months(visibility)
        self.verdict.held = not self.verdict.missing and not self.verdict.extra
        return self.verdict

    def _counted(self, visibility: str = "") -> bool:
        """Does the server count as many images as we, of one visibility or, as it does unasked, of all of ours?"""
        ours = sum(sum(self._months(one).values()) for one in VISIBILITIES if visibility in ("", one))
        query = {"visibility": visibility} if visibility else {}
        return bool(self._get("/assets/statistics", **query).get("images") == ours)

    def _compare_months(self, visibility: str) -> None:
        ours = self._months(visibility)
        theirs = Counter({row["timeBucket"][:7]: row["count"] for row in self._get("/timeline/buckets",
                                                                                   visibility=visibility)})
        differ = self._differ(ours, theirs)
        if len(differ) > 4:     # most often videos, which are cheaper to count than months to list
            videos: dict[str, str] = {}
            self.listing.walk(fields(visibility, "VIDEO"), lambda items: videos.update(
                {item["id"]: item["localDateTime"][:7] for item in items if item["ownerId"] == self.server.owner}))
            differ = self._differ(ours + Counter(videos.values()), theirs)
        missing: dict[str, list[str]] = {}
        for month in differ:
            listed = self._bucket(month, visibility)
            have = {row[0] for row in self.state.all(
                "SELECT id FROM assets WHERE run = ? AND visibility = ? AND month = ? AND outcome != 'foreign'",
                self.state.run, visibility, month)}
            missing[month] = sorted(listed - have)
            for asset_id in sorted(have - listed):
                self._unlisted(asset_id, visibility)
        self._fetch(missing, visibility)

    def _fetch(self, missing: Mapping[str, list[str]], visibility: str) -> None:
        """Months with many missing assets are listed again, without exif, which hides assets that have no row yet."""
        scope = fields(visibility)
        for month, ids in missing.items():
            if len(ids) > FEW:
                year, number = int(month[:4]), int(month[5:])
                # the month is that of local time, which is up to a day off
                before = f"{year + number // 12:04}-{number % 12 + 1:02}-02T00:00:00.000Z"
                last = f"{year - (number == 1):04}-{(number - 2) % 12 + 1:02}-28T00:00:00.000Z"
                self.listing.walk({**scope, "withPeople": True, "takenAfter": last, "takenBefore": before},
                                  lambda items, ids=frozenset(ids): self.listing.keep(  # type: ignore[misc]
                                      [item for item in items if item["id"] in ids]))
            for asset_id in ids:
                row = self.state.one("SELECT run FROM assets WHERE id = ?", asset_id)
                if (row and row[0] == self.state.run) or self.listing.by_id(asset_id, {**scope, "withPeople": True}):
                    self.verdict.fetched += 1
                else:
                    self.verdict.missing.append(asset_id)

    def _unlisted(self, asset_id: str, visibility: str) -> None:
        """The timeline does not have it: deleted or moved since the search saw it, or a real difference."""
        if self.listing.by_id(asset_id, {**fields(visibility), "withPeople": True}):
            self.verdict.extra.append(asset_id)
        else:
            with self.state.writing() as db:
                db.execute("UPDATE assets SET run = run - 1 WHERE id = ?", (asset_id,))

    def _bucket(self, month: str, visibility: str) -> set[str]:
        columns = self._get("/timeline/bucket", timeBucket=f"{month}-01", visibility=visibility)
        return {asset_id for asset_id, image, owner in zip(columns["id"], columns["isImage"], columns["ownerId"],
                                                           strict=True) if image and owner == self.server.owner}

    def _months(self, visibility: str) -> Counter[str]:
        return Counter(dict(self.state.all(
            "SELECT month, COUNT(*) FROM assets WHERE run = ? AND visibility = ? AND outcome != 'foreign' "
            "GROUP BY month", self.state.run, visibility)))

    def _differ(self, ours: Counter[str], theirs: Counter[str]) -> list[str]:
        return sorted(month for month in ours.keys() | theirs.keys() if ours[month] != theirs[month])

    def _get(self, path: str, **query: str) -> Any:
        try:
            return self.client.get(path, **query)
        except (Transient, Rejected) as error:
            raise Paused(f"{self.client.access.url}{path} fails: {error}") from None
