"""Everything that the page shows, before any picture is made."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..library.store import Library
from . import checks, runs, sheets, shelf

NEAREST = 6         # look-alikes kept of each faceset


@dataclass
class Gathered:
    books: shelf.Shelf
    work: runs.Work
    findings: checks.Findings
    plans: list[sheets.Sheets]      # of each set
    near: np.ndarray                # (P, k) nearest other sets
    distance: np.ndarray            # (P, k) cos-dist to them
    known: float                    # cos-dist: one person
    alike: float                    # cos-dist: worth a look

    def all_sheets(self) -> Iterator[tuple[shelf.Set, sheets.Sheet]]:
        """Every contact sheet that the page shows, and whose it is."""
        for item, pair in zip(self.books.sets, self.plans, strict=True):
            yield item, pair.best
            if pair.odd:
                yield item, pair.odd
        for mixed in self.findings.mixed[:checks.MOST]:
            item = self.books.sets[mixed.index]
            for half in halves_of(item) if mixed.distance else ():
                yield item, half


def gather(library: Library, data_root: Path, alike: float) -> Gathered:
    """Everything that the page shows, before any picture is made."""
    books = shelf.read(library)
    work = runs.read(data_root)
    known = known_distance(books, work)
    near, distance = shelf.nearest(books.centroids, NEAREST)
    return Gathered(books, work, checks.find(books.sets, near, distance, known, known + alike, books.manifest),
                    [sheets.plan(item) for item in books.sets], near, distance, known, known + alike)


def known_distance(books: shelf.Shelf, work: runs.Work) -> float:
    """The model's own threshold: of the library, else of a cache."""
    model = books.manifest.model or {}
    value = model.get("known_distance", work.model.known_distance if work.model else 0.45)
    return float(value) if isinstance(value, int | float) else 0.45


def halves_of(item: shelf.Set) -> list[sheets.Sheet]:
    """The best faces of either half of a faceset."""
    return [sheets.of(item, half[:sheets.COLUMNS]) for half in (item.halves.larger, item.halves.smaller)]
