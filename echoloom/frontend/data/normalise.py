"""Means and deviations that samples and targets are normalised with, in float64.

A channel that never changes has no deviation to divide by: rounding alone may leave it one, and a
change that a test split holds would then become huge. What changes by less than rounding explains
is therefore called constant, keeps its scale, and is said to be so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.frontend.data.sources import Sequences

Floats = NDArray[np.float64]
# A constant's range, relative to its size, as rounding leaves it: a few units of a float32's last
# place; of a float64's more, because long sums and filters come before it.
FLOAT32_NOISE, FLOAT64_NOISE = 2.0**-20, 2.0**-36


@dataclass(frozen=True, eq=False)
class Moments:
    """Of every channel, [channels]: what to subtract, what to divide by (1 where it is constant),
    and whether it is constant."""

    centre: Floats
    scale: Floats
    constant: NDArray[np.bool_]

    def apply(self, values: NDArray[Any]) -> Floats:
        """values [..., channels] with the centre at 0 and the scale 1, in float64."""
        return (values - self.centre) / self.scale


def mean_and_deviation(samples: Sequences) -> Moments:
    """Of samples [n, T, channels], or of a list of [T, channels], over sequences and steps."""
    steps = np.concatenate(samples)[None] if isinstance(samples, list) else samples
    size, scaled = _scaled(steps)
    mean, deviation = scaled.mean(axis=(0, 1)), scaled.std(axis=(0, 1))
    return _moments(size, mean, deviation, _constant(scaled, steps.dtype))


def range_to(reach: float, targets: NDArray[Any]) -> Moments:
    """What brings the smallest and the largest of targets [n, T', outputs] to -reach and reach."""
    size, scaled = _scaled(targets)
    low, high = scaled.min(axis=(0, 1)), scaled.max(axis=(0, 1))
    constant = _constant(scaled, targets.dtype)
    return _moments(size, (low + high) / 2, (high - low) / (2 * reach), constant)


def notes(name: str, what: str, constant: NDArray[np.bool_]) -> tuple[str, ...]:
    """One line that names the constant channels of `name`, where there are any."""
    places = np.flatnonzero(constant).tolist()
    if not places:
        return ()
    several = "s" if len(places) > 1 else ""
    return (
        f"{name}: {what}{several} {listed(places)} never change{'' if several else 's'} over the "
        f"training split, so {'they are' if several else 'it is'} centred but not scaled",
    )


def listed(places: Sequence[int]) -> str:
    """Numbers for a sentence, many of them cut short."""
    shown = ", ".join(map(str, places[:12]))
    return shown if len(places) <= 12 else f"{shown} and {len(places) - 12} others"


def _moments(
    size: NDArray[np.int64], centre: Floats, scale: Floats, constant: NDArray[np.bool_]
) -> Moments:
    scale = np.where(constant, 1.0, np.ldexp(scale, size))
    return Moments(np.ldexp(centre, size), scale, constant)


def _constant(values: Floats, stored: np.dtype) -> NDArray[np.bool_]:
    """Which channels change by no more than the rounding of the type that they were stored in."""
    low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
    noise = 0.0
    if stored.kind == "f":
        noise = FLOAT64_NOISE if stored.itemsize > 4 else FLOAT32_NOISE
    return high - low <= noise * np.maximum(np.abs(low), np.abs(high))


def _scaled(values: NDArray[Any]) -> tuple[NDArray[np.int64], Floats]:
    """e and float64 values * 2**-e with every channel's largest below 1: no square overflows.

    Powers of two cost no digit, so that moments are what they would be without.
    """
    exact = values.astype(np.float64)
    size = np.frexp(np.abs(exact).max(axis=(0, 1)))[1]
    return size, np.ldexp(exact, -size)
