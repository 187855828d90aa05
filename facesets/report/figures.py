"""Which charts the report has, and what each says."""

from collections import Counter
from itertools import pairwise

import numpy as np

from . import runs
from .charts import Bars, Chart, draw
from .gathered import Gathered

SIZES = ((1, 5), (6, 9), (10, 19), (20, 49), (50, 99), (100, 199), (200, 499), (500, 10**9))


def all_of(gathered: Gathered) -> list[Chart]:
    """Every chart that has something to show."""
    sets, work = gathered.books.sets, gathered.work
    found = [_years(gathered), _sizes(gathered), _destinies(work)]
    faces = np.array([face.quality for item in sets for face in item.faces], np.float32)
    out = runs.quality(work)
    if len(faces):
        found.append(_distribution(
            "quality", "Quality", f"Median of the pictures {np.median(faces):.2f}.", "quality", "pictures", faces, 0, 1,
            [], f"Of all {len(out):,} faces found, the median is {np.median(out):.2f}." if len(out) else ""))
        apart = np.array([face.distance for item in sets for face in item.faces], np.float32)
        beyond = int((apart > gathered.known).sum())
        found.append(_distribution("distance", "Distance from the middle of the faceset",
                                   f"Median {np.median(apart):.2f}; {beyond:,} beyond the threshold.",
                                   "cos-dist", "pictures", apart, 0.0, 1.0,
                                   [(gathered.known, f"same person {gathered.known:.2f}")]))
    if gathered.distance.size:
        nearest = gathered.distance[:, 0]
        close = int((nearest <= gathered.alike).sum())
        found.append(_distribution("neighbours", "Distance to the most similar other faceset",
                                   f"{close:,} of {len(nearest):,} have another one near enough to check.", "cos-dist",
                                   "facesets", nearest, 0.0, 1.2,
                                   [(gathered.known, f"one person {gathered.known:.2f}"),
                                    (gathered.alike, f"to check {gathered.alike:.2f}")]))
    return [draw(bars) for bars in found if bars is not None and any(bars.values)]


def _years(gathered: Gathered) -> Bars | None:
    years: Counter[int] = Counter()
    for item in gathered.books.sets:
        years.update(item.years)
    years = +years
    if not years:
        return None
    first, last = min(years), max(years)
    undated = sum(len(item.faces) for item in gathered.books.sets) - sum(years.values())
    top, count = years.most_common(1)[0]
    return Bars("years", "Faces per year", f"Most in {top}: {count:,}.", "year", "faces",
                [str(year) for year in range(first, last + 1)], [years[year] for year in range(first, last + 1)],
                note=f"{undated:,} without a date." if undated > 0 else "")


def _sizes(gathered: Gathered) -> Bars:
    sizes = [len(item.faces) for item in gathered.books.sets]
    labels = [f"{low}–{high}" if high < 10**9 else f"{low}+" for low, high in SIZES]
    median = f"Half have {int(np.median(sizes))} or more." if sizes else ""
    return Bars("sizes", "Size of the facesets", median, "pictures", "facesets", labels,
                [len([size for size in sizes if low <= size <= high]) for low, high in SIZES])


def _destinies(work: runs.Work) -> Bars | None:
    """Known against new: what the last clusterings made of the faces."""
    totals: Counter[str] = Counter()
    for made in work.proposals.values():
        totals.update({name: made.counts.get(name, 0) for name in runs.CLUSTER})
    words = {"held": "in a faceset", "known": "known", "dropped": "dropped", "new": "new", "ambiguous": "between two",
             "thin": "thin", "leftover": "once or twice", "rejected": "too poor"}
    total = sum(totals.values())
    if not total:
        return None
    known = totals["known"] + totals["held"]
    return Bars("known-new", "Known and new", f"{100 * known / total:.0f} % of {total:,} faces were of people known "
                f"already, {100 * totals['new'] / total:.0f} % went into new facesets.", "faces that are", "faces",
                [words[name] for name in words], [totals[name] for name in words], flat=True)


def _distribution(name: str, title: str, says: str, axis: str, unit: str, values: np.ndarray, start: float, end: float,
                  lines: list[tuple[float, str]], note: str = "", bins: int = 40) -> Bars:
    """What lies beyond either end counts in the outermost bin."""
    counts, edges = np.histogram(np.clip(values, start, end), bins, (start, end))
    return Bars(name, title, says, axis, unit,
                [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)],
                [int(count) for count in counts], (start, end), lines, note)
