"""Which charts the report has, and what each says; the page draws them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .shelf import Set

SIZES = ((1, 5), (6, 9), (10, 19), (20, 49), (50, 99), (100, 199), (200, 499), (500, 10**9))


@dataclass(frozen=True)
class Chart:
    """Counts, to be drawn as bars with a label each."""

    title: str
    says: str                       # what it shows, in one sentence, for those who do not see it
    axis: str
    unit: str
    rows: list[tuple[str, int]]

    @property
    def top(self) -> int:
        """Where the axis ends: at 1, 2, 4, 5, 8 or 10 times a power of ten, a number one can halve."""
        most = max(count for _, count in self.rows)
        power: int = 10 ** (len(str(most)) - 1)
        return next(step * power for step in (1, 2, 4, 5, 8, 10) if most <= step * power)


def all_of(sets: Sequence[Set]) -> list[Chart]:
    """Every chart that has something to show."""
    return [chart for chart in (_years(sets), _sizes(sets)) if any(count for _, count in chart.rows)]


def _years(sets: Sequence[Set]) -> Chart:
    years: Counter[int] = Counter()
    for item in sets:
        years.update(item.years)
    top, count = max((+years).items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    undated = sum(len(item.faces) for item in sets) - sum(years.values())
    return Chart("Faces per year", f"Most in {top}: {count:,}. {max(undated, 0):,} without a date.", "year", "faces",
                 [(str(year), years[year]) for year in range(min(+years, default=0), max(+years, default=-1) + 1)])


def _sizes(sets: Sequence[Set]) -> Chart:
    sizes = sorted(len(item.faces) for item in sets)
    return Chart("Size of the facesets", f"Half have {sizes[len(sizes) // 2]} or more." if sizes else "", "pictures",
                 "facesets", [(f"{low}–{high}" if high < 10**9 else f"{low}+",
                               sum(low <= size <= high for size in sizes)) for low, high in SIZES])
