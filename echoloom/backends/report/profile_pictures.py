"""A profile as pictures: the quality surface, the error's growth with the length, the formats'
shares of it, and the histogram of every signal over its format's range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.patches import Rectangle

from echoloom.backends.profile.grid import Point, points_of
from echoloom.backends.profile.profile import Bound, Profile
from echoloom.backends.profile.signals import said, short
from echoloom.backends.profile.usage import Usage
from echoloom.backends.report.figures import COLOURS, INK, drawn

SMALLEST = 1e-9  # error that a picture tells from none
DECADES = 3  # of colour on either side of the bound
SHOWN = 18  # formats with the largest shares


@dataclass(frozen=True)
class _Measure:
    """What a point is judged by."""

    name: str
    of: Callable[[Point], float]
    limit: float


def _measures(bound: Bound) -> tuple[_Measure, ...]:
    return (
        _Measure("1 - cosine", lambda p: 1.0 - p.cosine, 1.0 - bound.cosine),
        _Measure("norm ratio's distance from 1", lambda p: p.norm_error, bound.norm),
    )


def surface_svg(found: Profile) -> str:
    """Word lengths by narrow sides, and by nudges: how far the worst tensor is off."""
    own, length, choices = found.widths, found.length, found.choices
    with drawn("surface", 10.5, 7.0) as picture:
        axes = picture.figure.subplots(2, 2)
        for column, measure in enumerate(_measures(found.bound)):
            above, below = axes[0][column], axes[1][column]
            _surface(above, measure, choices.words, choices.narrows, own.word, own.narrow,
                     lambda w, n: found.at(w, n, 0, length))  # fmt: skip
            above.set_xlabel("narrow side, bits")
            _surface(below, measure, choices.words, choices.octaves, own.word, 0,
                     lambda w, o: found.at(w, own.narrow, o, length))  # fmt: skip
            below.set_xlabel("nudge, powers of two from the chosen size")
    return picture.svg


def _surface(
    axes: Axes,
    measure: _Measure,
    words: Sequence[int],
    across: Sequence[int],
    word: int,
    chosen: int,
    at: Callable[[int, int], Point],
) -> None:
    points = [[at(w, c) for c in across] for w in words]
    errors = [[max(measure.of(p), SMALLEST) if p.holds else np.nan for p in row] for row in points]
    centre = np.log10(measure.limit)
    norm = TwoSlopeNorm(centre, centre - DECADES, centre + DECADES)
    texts = [[f"{e:.0e}" if p.holds else _why(p) for e, p in zip(es, ps, strict=True)]
             for es, ps in zip(errors, points, strict=True)]  # fmt: skip
    _heat(axes, np.log10(errors), texts, norm, "RdBu_r")
    axes.set_xticks(range(len(across)), [f"{c:+d}" if chosen == 0 else str(c) for c in across])
    axes.set_yticks(range(len(words)), [str(w) for w in words])
    axes.set_ylabel("word, bits")
    axes.set_title(f"{measure.name}, worst tensor")
    at_x, at_y = list(across).index(chosen), list(words).index(word)
    axes.add_patch(
        Rectangle((at_x - 0.5, at_y - 0.5), 1, 1, fill=False, edgecolor=COLOURS[5], linewidth=3)
    )


def _why(point: Point) -> str:
    return "refused" if point.refused else "overflows"


def _heat(
    axes: Axes,
    values: np.ndarray,
    texts: Sequence[Sequence[str]],
    norm: Normalize,
    colours: str,
    size: float = 8.0,
) -> None:
    """A coloured cell for every value, with its text in black or white, whichever is read."""
    palette = mpl.colormaps[colours]
    edges = [np.arange(n + 1) - 0.5 for n in values.shape]
    axes.pcolormesh(edges[1], edges[0], np.ma.masked_invalid(values), cmap=palette, norm=norm)
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            value = values[row, column]
            ink = INK
            if np.isfinite(value):
                red, green, blue, _ = palette(float(norm(value)))
                ink = "#000000" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.45 else "#ffffff"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)


def growth_svg(found: Profile) -> str:
    """How errors grow with the length of the sequences, for every word length."""
    with drawn("growth", 10.5, 3.8) as picture:
        axes = picture.figure.subplots(1, 2)
        own = found.widths
        for own_axes, measure in zip(axes, _measures(found.bound), strict=True):
            for number, word in enumerate(found.choices.words):
                points = [p for p in points_of(found.points, narrow=own.narrow, octave=0)
                          if p.word == word and p.holds]  # fmt: skip
                points.sort(key=lambda p: p.length)
                own_axes.loglog(
                    [p.length for p in points],
                    [max(measure.of(p), SMALLEST) for p in points],
                    marker="o",
                    color=COLOURS[number % len(COLOURS)],
                    linewidth=2.6 if word == own.word else 1.2,
                    label=f"{word} bits{', chosen' if word == own.word else ''}",
                )
            own_axes.axhline(measure.limit, color=INK, linestyle=":", linewidth=1)
            own_axes.set_xticks(found.choices.lengths, [str(t) for t in found.choices.lengths])
            own_axes.minorticks_off()
            own_axes.set_xlabel("steps")
            own_axes.set_title(f"{measure.name}, worst tensor")
            own_axes.grid(True)
        axes[0].legend(fontsize=8, ncols=2)
    return picture.svg


def shares_svg(found: Profile) -> str:
    """The formats with the largest shares, and how much of every tensor's squared error each is."""
    shares, names = found.shares, list(found.shares.errors)
    shown = shares.shares[:SHOWN]
    rows = [[shares.part(name, share) for name in names] for share in shown]
    others = [[sum(shares.part(n, s) for s in shares.shares[SHOWN:]) for n in names],
              [shares.rest(n) for n in names]]  # fmt: skip
    values = np.array([*rows, *others])
    labels = [f"{share.signal}  {short(share.signal.q)}" for share in shown]
    labels += ["all other formats", "nudges, tables"]
    with drawn("shares", 4.6 + 0.36 * len(names), 2.4 + 0.25 * len(labels)) as picture:
        axes = picture.figure.subplots()
        texts = [[f"{100 * v:.0f}" if v >= 0.005 else "" for v in row] for row in values]
        _heat(axes, values, texts, Normalize(0.0, 0.6), "YlOrBr", 7.5)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.set_title("percent of every tensor's squared error")
    return picture.svg


def usage_svg(shown: Sequence[Usage], name: str) -> str:
    """A row for every signal: a histogram of its sizes in front of what its format holds."""
    with drawn(f"usage-{name}", 10.5, 0.9 + 0.24 * len(shown)) as picture:
        axes = picture.figure.subplots()
        for row, own in enumerate(shown):
            frac = own.q.scalar_frac
            low, high = -frac, own.q.width - 1 - frac
            axes.barh(row, high - low, left=low, height=0.86, color="#808a94", alpha=0.25)
            counts = np.array(own.lengths[1:], float)
            if counts.any():
                at = np.arange(len(counts)) - frac
                heights = -0.82 * counts / counts.max()  # upwards: the first row is above
                colour = COLOURS[1] if own.at_risk else COLOURS[0]
                axes.bar(at, heights, width=1.0, bottom=row + 0.41, align="edge", color=colour)
        axes.set_yticks(range(len(shown)), [f"{said(own.word)}  {short(own.q)}" for own in shown],
                        fontsize=7.5)  # fmt: skip
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlabel("size, as a power of two")
        axes.grid(True, axis="x")
        axes.set_axisbelow(True)
    return picture.svg
