"""Charts as SVG text, drawn for this page: little ink, one scale, and the numbers in a table beside.

All text goes through `Markup.format`, which escapes it. Colours are CSS classes: light and dark need one drawing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 560, 200            # of the view box; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 16, 26
WORDS = 110                         # room for the words before a lying bar


@dataclass(frozen=True)
class Bars:
    """Counts with a label each, or, where `span` is given, of equal bins between two numbers."""

    name: str
    title: str
    says: str
    axis: str
    unit: str
    labels: list[str]
    values: list[int]
    span: tuple[float, float] | None = None
    lines: list[tuple[float, str]] = field(default_factory=list)
    note: str = ""
    flat: bool = False      # lying bars, for labels that are words


@dataclass(frozen=True)
class Chart:
    title: str
    says: str                       # what it shows, in one sentence, for those who do not see it
    axis: str
    unit: str
    rows: list[tuple[str, int]]     # the numbers, for the table beside it
    svg: Markup = field(repr=False)
    note: str = ""


def draw(bars: Bars) -> Chart:
    parts = _lying(bars) if bars.flat else _standing(bars)
    svg = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, f"{bars.title}. {bars.says}", Markup("").join(parts))
    rows = [(label, value) for label, value in zip(bars.labels, bars.values, strict=True) if value or not bars.span]
    return Chart(bars.title, bars.says, bars.axis, bars.unit, rows, svg, bars.note)


def _lying(bars: Bars) -> list[Markup]:
    """A bar a line, its words to the left and its number to the right."""
    step, top = HEIGHT / len(bars.labels), max([*bars.values, 1])
    parts = []
    for index, (label, value) in enumerate(zip(bars.labels, bars.values, strict=True)):
        y, long = index * step, (WIDTH - WORDS - 60) * value / top
        parts.append(Markup(
            '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text><rect class="bar" x="{}" y="{:.1f}" '
            'width="{:.1f}" height="{:.1f}" rx="1.5"/><text x="{:.1f}" y="{:.1f}">{:,}</text>').format(
            WORDS - 8, y + step * 0.62, label, WORDS, y + step * 0.15, max(long, 0.5), step * 0.7, WORDS + long + 6,
            y + step * 0.62, value))
    return parts


def _standing(bars: Bars) -> list[Markup]:
    """Vertical bars, with thresholds as dashed lines where the horizontal axis is a scale."""
    top = _round_up(max([*bars.values, 1]))
    step, height = (WIDTH - LEFT - RIGHT) / max(len(bars.values), 1), HEIGHT - TOP - BOTTOM
    parts = [_grid(top, height)]
    width = max(step - min(2.0, step * 0.2), 0.5)
    for index, (label, value) in enumerate(zip(bars.labels, bars.values, strict=True)):
        tall = height * value / top
        if value:
            parts.append(Markup('<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5">'
                                "<title>{}: {:,} {}</title></rect>").format(
                LEFT + index * step + (step - width) / 2, TOP + height - tall, width, tall, label, value, bars.unit))
    parts += [Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
        LEFT + place * (WIDTH - LEFT - RIGHT), HEIGHT - 8, text) for place, text in _ticks(bars)]
    if bars.span:
        start, end = bars.span
        for row, (at, label) in enumerate(bars.lines):
            parts.append(_limit((at - start) / (end - start), label, row, height))
    return parts


def _ticks(bars: Bars) -> list[tuple[float, str]]:
    """Place (0..1) and text below the axis: a scale in tenths, or every label that there is room for."""
    if bars.span:
        start, end = bars.span
        return [((value - start) / (end - start), f"{value:.1f}") for value in np.arange(start, end + 1e-9, 0.1)]
    count = len(bars.labels)
    every = -(-count // 12)
    return [((index + 0.5) / count, label) for index, label in enumerate(bars.labels) if index % every == 0]


def _limit(at: float, label: str, row: int, height: float) -> Markup:
    x = LEFT + at * (WIDTH - LEFT - RIGHT)
    left = at > 0.6
    return Markup('<line class="limit" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                  '<text class="limit" x="{3:.1f}" y="{4}" text-anchor="{5}">{6}</text>').format(
        x, TOP - 8, TOP + height, x - 5 if left else x + 5, TOP + 2 + 14 * row, "end" if left else "start", label)


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


def _grid(top: int, height: int) -> Markup:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = TOP + height * (1 - share)
        value = top * share
        parts.append(Markup('<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
                            '<text class="tick" x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>').format(
            LEFT, WIDTH - RIGHT, y, LEFT - 6, y + 4, f"{value:,.0f}" if value == int(value) else ""))
    return Markup("").join(parts)


def _round_up(value: int) -> int:
    """The next of 1, 2, 4, 5, 8 or 10 times a power of ten: an axis that ends on a number one can halve."""
    power = 1
    while True:
        for step in (1, 2, 4, 5, 8):
            if value <= step * power:
                return step * power
        power *= 10
