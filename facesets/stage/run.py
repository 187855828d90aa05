"""One stage run, from an open client to queue.json: list, judge, know, download, hand over."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from ..common import terminal
from ..common.errors import Paused
from ..immich.client import Client, Rejected, Transient
from ..immich.gate import Gate, Verdict
from ..immich.listing import VISIBILITIES, Listing, fields
from ..immich.preflight import Server
from . import choice, download, duplicates, elsewhere, faces, photos, portraits, workers
from .judge import Kept, Rules, excluding
from .state import Asset, Photo, State

FRUITLESS = 20      # assets in a row that fail for the first time: it is not the assets
MANY = 100          # requests for faces, which are worth a word about what would spare them
HOPELESS = 2        # runs that had to leave an asset; the next one asks once, not four times


@dataclass(frozen=True)
class Options:
    """What the operator chose, and where things lie."""

    user: str
    photos: Path
    queue: Path
    databases: tuple[Path, ...]     # state.db of the other users
    caches: tuple[Path, ...]        # every cache but this user's own
    to_windows: Callable[[Path], str]
    workers: int = 8
    min_face_px: float = 90
    exclude: tuple[str, ...] = ()
    retry_rejected: bool = False
    list_only: bool = False
    prune: bool = False
    choosing: choice.Choosing | None = None     # None: every photo with a face that is big enough


class Stage:
    def __init__(self, client: Client, state: State, server: Server, options: Options) -> None:
        self.client, self.state, self.server, self.options = client, state, server, options
        self.rules = Rules(server.owner, options.min_face_px, excluding(options.exclude), server.boxes_in_search)
        self.listing_requests, self.listing_seconds = 0, 0.0        # until all faces were known
        self.bytes_saved = 0
        self.gate: Verdict | None = None
        self.orphans, self.pruned = 0, False        # files of assets that the server no longer has; they were removed
        self.chosen: choice.Chosen | None = None    # who is there, where a backup says so
        self._failed = 0        # new assets in a row that could not be read

    def run(self) -> None:
        """Everything; whatever ends it early leaves state.db so that the next run goes on."""
        began = time.monotonic()
        photos.check(self.state, self.options.photos)
        elsewhere.gather(self.state, self.options.databases, self.options.caches)
        self._list()
        self._ask_faces()
        self.listing_requests = self.client.counts.requests
        self.listing_seconds = round(time.monotonic() - began, 1)
        duplicates.settle_unchanged(self.state, "wanted")
        elsewhere.local_files(self.state)
        self.bytes_saved += duplicates.settle_by_checksum(self.state)
        if self.options.choosing:
            self.chosen = choice.choose(self.state, self.options.choosing, self.rules.min_face_px)
            people = portraits.given(self.client, self.server, self.chosen.people)
            self.chosen = replace(self.chosen, people=people)
        if not self.options.list_only:
            photos.rename_old(self.state, self.options.photos)
            self._download()
        self._prune()

    def _list(self) -> None:
        self.state.start_run()
        kept, listing = Kept(self.state, self.rules), Listing(self.client, self.server.total_order)
        scopes = [{**fields(visibility), "withExif": True, "withPeople": True} for visibility in VISIBILITIES]
        keeping: Future[None] | None = None     # a page is kept while the server thinks about the next one
        with terminal.progress(None, "listing", "assets") as bar, ThreadPoolExecutor(1, "keep") as other:
            for items in chain.from_iterable(map(listing.walk, scopes)):
                if keeping:
                    keeping.result()
                keeping = other.submit(kept.keep, items)
                bar.update(len(items))
            if keeping:
                keeping.result()
            self.gate = Gate(self.client, listing, self.server, kept).check()
        if self.options.retry_rejected and not self.options.list_only:
            with self.state.writing() as db:
                db.execute("UPDATE assets SET outcome = ? WHERE run = ? AND outcome = 'rejected'",
                           ("wanted" if self.rules.boxes_in_search else "ask", self.state.run))
        if self.server.permissions is not None:     # a login's stream tells all faces, those of staged photos too
            duplicates.settle_unchanged(self.state, "ask", "id NOT IN (SELECT id FROM temp.refaced)")
        duplicates.settle_unchanged(self.state, "wanted")
        self.state.set_meta("listed", str(self.state.run))
        if not self.options.list_only:
            self.state.set_meta("owner", self.server.owner)

    def _ask_faces(self) -> None:
        """3.x: faces of the assets that we have no photo of yet, or that show other people than before."""
        least = self.rules.min_face_px
        if self.rules.boxes_in_search:
            return
        if self.server.permissions is None:
            faces.from_stream(self.client, self.state, self.server.version, least)
            return
        if self.options.choosing:
            faces.from_backup(self.state, self.options.choosing.backup, least)
        if (number := self.state.count("outcome = 'ask'")) >= MANY:
            terminal.say(f"asking for the faces of {number:,} photos, one request each; a login (IMMICH_EMAIL and "
                         "IMMICH_PASSWORD) instead of the key tells all faces in one")
        # First those that show somebody whom Immich knows; a face that belongs to nobody makes no people.
        first = [f"tries = 0 AND id {place} (SELECT id FROM temp.peopled)" for place in ("IN", "NOT IN")]
        self._each("ask", "faces", [*first, "tries > 0"],
                   lambda asset: faces.from_asset(self.client, self.state, asset, least))

    def _download(self) -> None:
        """One asset of each checksum, those that failed before last; then all are known but those whose twin failed."""
        duplicates.mark_twins(self.state)
        self._each("wanted", "photos", ["twin = '' AND tries = 0", "twin = '' AND tries > 0"], self._photo)
        self.bytes_saved += duplicates.settle_by_checksum(self.state)
        self._each("wanted", "photos", ["twin != ''"], self._photo)

    def _prune(self) -> None:
        """Count what is left of assets that are gone from the server; remove it if wanted, and if they surely are."""
        found = photos.orphans(self.state, self.options.photos)
        self.orphans = len(found)
        if self.options.prune and not self.options.list_only and self.gate and self.gate.held:
            photos.prune(self.state, found)
            self.pruned = True

    def _each(self, outcome: str, what: str, parts: list[str], work: Callable[[Asset], None]) -> None:
        """Do `work` for every asset of this outcome, one part after the other."""
        parts = [f"outcome = '{outcome}' AND {where}" for where in parts]
        total = sum(self.state.count(where) for where in parts)
        if not total:
            return
        assets = (asset for where in parts for asset in self.state.walk(where))
        with terminal.progress(total, what, what) as bar:

            def step(asset: Asset) -> None:
                self._attempt(work, asset, bar)
                bar.update()
                bar.show(MB=self.client.counts.bytes >> 20)
            workers.run(assets, step, 2 * self.options.workers, self.client.stop)

    def _attempt(self, work: Callable[[Asset], None], asset: Asset, bar: terminal.Bar) -> None:
        """Do `work`, or record why the asset is left or refused."""
        try:
            work(asset)
            if not download.needs_preview(asset):
                self._failed = 0        # previews may lie on a disk that is there when that of the photos is not
        except Transient as error:
            self.state.settle(asset.id, "error", str(error))
            bar.count(left_for_later=1)
            # Damaged files of earlier runs fail again and mean nothing; many new ones in a row do.
            self._failed += asset.tries == 0
            if self._failed >= FRUITLESS:
                raise Paused(f"the server is there, but {FRUITLESS} assets in a row could not be read ({error}); "
                             "is the disk of its photos mounted?") from None
        except Rejected as error:
            self.state.settle(asset.id, "rejected", str(error))
            bar.count(refused=1)
        except OSError as error:
            raise Paused(f"{self.options.photos}: {error.strerror or error}; make room or mend it") from None

    def _photo(self, asset: Asset) -> None:
        """The original, or the preview where no decoder here opens that; a file that is always missing is asked for
        once a run.
        """
        folder = self.options.photos
        for source in ["preview"] if download.needs_preview(asset) else ["original", "preview"]:
            part, sums = self.client.retrying(partial(download.fetch, self.client, asset, folder, source),
                                              1 if asset.tries >= HOPELESS else None)
            if photo := download.named(part, sums, asset, folder, source):
                return self._take(asset, part, photo)
        raise Rejected("neither the file nor the server's preview of it can be decoded")

    def _take(self, asset: Asset, part: Path, photo: Photo) -> None:
        """Keep the file and record it, or let it go where its bytes are known after all."""
        outcome = duplicates.who_has(self.state, photo.sha256)
        if outcome:
            part.unlink()
        else:
            download.keep(part, photo)
        with self.state.writing() as db:
            if not outcome:     # two threads may have had the same bytes
                db.execute(f"INSERT OR IGNORE INTO photos ({', '.join(PHOTO)}) VALUES ({', '.join('?' * len(PHOTO))})",
                           [getattr(photo, name) for name in PHOTO])
            db.execute("UPDATE assets SET outcome = ?, reason = '', sha256 = ? WHERE id = ?",
                       (outcome or "have", photo.sha256, asset.id))


PHOTO = tuple(Photo.__dataclass_fields__)
