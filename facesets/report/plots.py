"""The report's charts as files, PNG and SVG, for those who want them elsewhere. Needs matplotlib, which is optional."""

from pathlib import Path

import numpy as np

from ..common import files
from ..common.errors import Failure
from . import figures
from .sections import Gathered

SIZE = (7.2, 3.6)       # inches
DPI = 160
INK, BARS, LIMIT = "#2a2520", "#3f7f76", "#c0653a"      # the page's colours


def write(gathered: Gathered, folder: Path) -> list[Path]:
    """Write every chart into `folder`; the files."""
    try:
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise Failure("--plots needs matplotlib: pip install matplotlib; the page has the same charts") from None
    files.private_folder(folder)
    made = []
    for bars in figures.numbers(gathered):
        figure, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
        if bars.span:
            edges = np.linspace(*bars.span, len(bars.values) + 1)
            axes.bar(edges[:-1], bars.values, width=np.diff(edges) * 0.92, align="edge", color=BARS)
            for at, label in bars.lines:
                axes.axvline(at, color=LIMIT, linestyle="--", linewidth=1.2, label=label)
            if bars.lines:
                axes.legend(frameon=False)
        elif bars.flat:
            axes.barh(bars.labels, bars.values, color=BARS)
            axes.invert_yaxis()
        else:
            axes.bar(bars.labels, bars.values, color=BARS)
            axes.xaxis.set_major_locator(pyplot.MaxNLocator(12, integer=True))
        axes.set_title(bars.title, loc="left", color=INK)
        axes.set(**({"xlabel": bars.unit} if bars.flat else {"xlabel": bars.axis, "ylabel": bars.unit}))
        axes.spines[["top", "right"]].set_visible(False)
        for kind in ("png", "svg"):
            made.append(folder / f"{bars.name}.{kind}")
            with files.replacing(made[-1]) as file:
                figure.savefig(file, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)
        pyplot.close(figure)
    return made
