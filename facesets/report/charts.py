"""Charts as SVG text, drawn for this page: little ink, one scale, and the numbers in a table beside.

All text goes through `Markup.format`, which escapes it. Colours are CSS classes: light and dark need one drawing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .shelf import Set

WIDTH, HEIGHT = 560, 200            # of the view box; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 16, 26
LABELS = 12                         # below the axis, at most
SIZES = ((1, 5), (6, 9), (10, 19), (20, 49), (50, 99), (100, 199), (200, 499), (500, 10**9))


@dataclass(frozen=True)
class Chart:
    """Counts as bars with a label each."""

    title: str
    says: str                       # what it shows, in one sentence, for those who do not see it
    axis: str
    unit: str
    rows: list[tuple[str, int]]

    @property
    def svg(self) -> Markup:
        top = _round_up(max(count for _, count in self.rows))
        step, height = (WIDTH - LEFT - RIGHT) / len(self.rows), HEIGHT - TOP - BOTTOM
        width, every = max(step - min(2.0, step * 0.2), 0.5), -(-len(self.rows) // LABELS)
        parts = [_line(top, share, height) for share in (0.0, 0.5, 1.0)]
        for index, (label, count) in enumerate(self.rows):
            x, tall = LEFT + index * step + step / 2, height * count / top
            if count:
                parts.append(Markup(
                    '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5">'
                    "<title>{}: {:,} {}</title></rect>").format(x - width / 2, TOP + height - tall, width, tall, label,
                                                                count, self.unit))
            if index % every == 0:
                parts.append(Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                    x, HEIGHT - 8, label))
        return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            WIDTH, HEIGHT, f"{self.title}. {self.says}", Markup("").join(parts))


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


def spark(values: Sequence[int]) -> Markup:
    """A line of small bars without words, one a year, for the corner of a faceset."""
    if len(values) < 2:
        return Markup("")
    top = max([*values, 1])
    path = "".join(f"M{index * 4 + 1.5} 16v-{max(14 * value / top, 1.5):.0f}" for index, value in enumerate(values)
                   if value)
    return Markup('<svg class="spark" width="{0}" height="16" viewBox="0 0 {0} 16" aria-hidden="true">'
                  '<path d="{1}"/></svg>').format(len(values) * 4, path)


def shares(parts: Sequence[tuple[str, int, str]]) -> Markup:
    """One horizontal bar cut into shares: (words, count, CSS class)."""
    total = sum(count for _, count, _ in parts)
    x, pieces = 0.0, []
    for words, count, kind in parts:
        wide = 1000 * count / max(total, 1)
        if count:
            pieces.append(Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="14"><title>{}: {:,}</title>'
                                 "</rect>").format(kind, x, max(wide - 1.5, 0.5), words, count))
        x += wide
    return Markup('<svg class="shares" viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
                  ).format(Markup("").join(pieces))


def _line(top: int, share: float, height: int) -> Markup:
    """A line of the grid, with its number where that is whole."""
    y, value = TOP + height * (1 - share), top * share
    return Markup('<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
                  '<text class="tick" x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>').format(
        LEFT, WIDTH - RIGHT, y, LEFT - 6, y + 4, f"{value:,.0f}" if value == int(value) else "")


def _round_up(value: int) -> int:
    """The next of 1, 2, 4, 5, 8 or 10 times a power of ten: an axis that ends on a number one can halve."""
    power = 10 ** (len(str(value)) - 1)
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if value <= step * power)
