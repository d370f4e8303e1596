"""Matplotlib's drawings as SVG for a page: text as text, in the page's colour, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK = "#010203"  # becomes the page's own text colour
# Told apart on white and on black.
COLOURS = ("#3b86c8", "#d9783b", "#45a06e", "#b96ac2", "#cf5656", "#9a9a3f", "#48a5ab", "#8f7ae0")
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.framealpha": 0.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#808a94",
    "grid.alpha": 0.35,
    "axes.prop_cycle": cycler(color=COLOURS),
}


@dataclass
class Picture:
    """A figure that is being drawn, and its text once it is."""

    figure: Figure
    svg: str = field(default="", init=False)


@contextmanager
def drawn(name: str, width: float, height: float) -> Iterator[Picture]:
    """A figure of so many inches; `svg` has it afterwards. Pictures of one page have names of their
    own: marks inside them are called by it."""
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": name}):
        # No pyplot: it keeps figures of its own, and looks for a screen.
        picture = Picture(Figure(figsize=(width, height), layout="constrained"))
        canvas = FigureCanvasSVG(picture.figure)
        yield picture
        target = io.StringIO()
        canvas.print_svg(target, metadata={"Date": None, "Creator": None})
        picture.svg = _inline(target.getvalue())


def _inline(svg: str) -> str:
    """As part of a page: without the file's head, and in the page's colour."""
    body = svg[svg.index("<svg") :].rstrip()
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    return body.replace(INK, "currentColor")
