"""The worst that bounded inputs can do to a linear recurrence, over so many steps.

    s' = A s + E d + e      w = C s + D d + c      every element of d anything in [-1, 1]

After t steps an input d(k) has got to w by its impulse response C A^(t-1-k) E. Inputs of different
steps are free of each other, so the largest w is the sum of the responses' magnitudes, their
L1 norm: the input whose signs are those of the response, backwards, gets there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
CHUNK = 64  # steps that are multiplied out at once
MUCH, MOST = 1e8, 4e9  # numbers to add up: a second or so, and a minute
SLACK = 1.0 + 1e-9  # for the rounding of float64 in thousands of products


class TooLong(ValueError):
    """There is too much to add up."""


@dataclass(frozen=True, eq=False)
class Recurrence:
    """A [n, n], E [n, p], e [n]; of the values looked at C [r, n], D [r, p], c [r]. The first state
    is anything within +-start [n]."""

    states: Floats
    drives: Floats
    constant: Floats
    seen: Floats
    passed: Floats
    offset: Floats
    start: Floats


def worst_case(system: Recurrence, steps: int, limits: Floats | None = None) -> Floats:
    """[r]: no magnitude of w in any of so many steps, from step 0 on, exceeds this. TooLong, where
    there is much to add up also as soon as one exceeds its limit [r]."""
    worst = np.zeros(len(system.seen))
    groups: dict[tuple[int, int, int], list[tuple[Indices, Indices, Indices]]] = {}
    for states in _components(system):
        rows = _touching(system, states)
        columns = np.flatnonzero(system.drives[states].any(0) | system.passed[rows].any(0))
        groups.setdefault((len(states), len(rows), len(columns)), []).append(
            (states, rows, columns)
        )
    numbers = steps * sum(r * (n + p + 1) * len(own) for (n, r, p), own in groups.items())
    if numbers > MOST:
        raise TooLong
    if limits is None or numbers <= MUCH:
        limits = np.full(len(worst), np.inf)
    for own in groups.values():
        parts = [_part(system, *indices) for indices in own]
        stacked = Recurrence(*(np.stack(arrays) for arrays in zip(*parts, strict=True)))
        ends = np.stack([limits[rows] for _, rows, _ in own])
        for (_, rows, _), found in zip(own, _of_all(stacked, steps, ends), strict=True):
            worst[rows] = found
    alone = ~system.seen.any(1)
    worst[alone] = np.abs(system.passed[alone]).sum(1) + np.abs(system.offset[alone])
    return worst * SLACK


def _part(
    system: Recurrence, states: Indices, rows: Indices, columns: Indices
) -> tuple[Floats, ...]:
    return (
        system.states[np.ix_(states, states)], system.drives[np.ix_(states, columns)],
        system.constant[states], system.seen[np.ix_(rows, states)],
        system.passed[np.ix_(rows, columns)], system.offset[rows], system.start[states],
    )  # fmt: skip


def _of_all(system: Recurrence, steps: int, limits: Floats) -> Floats:
    """[g, r] of recurrences of one shape [g, ...]. TooLong beyond limits [g, r]."""
    powers = [system.seen]
    for _ in range(min(CHUNK, steps) - 1):
        powers.append(powers[-1] @ system.states)
    after = np.stack(powers, 1)  # C A^k, [g, k, r, n]
    onward = np.linalg.matrix_power(system.states, len(powers))
    total = np.abs(system.passed).sum(-1)
    constant, largest = system.offset, np.abs(system.offset)
    from_start = np.zeros_like(total)
    drives, constants, power = system.drives, system.constant, np.eye(system.states.shape[-1])
    power = np.broadcast_to(power, system.states.shape)
    done = 0
    while done < steps:
        count = min(len(powers), steps - done)
        part = after[:, :count]
        begun = np.abs(part @ power[:, None]) @ system.start[:, None, :, None]
        from_start = np.maximum(from_start, begun[..., 0].max(1))
        # What is seen after t steps has met the drives of steps 0 to t - 1.
        fed = part[:, : steps - 1 - done]
        total = total + np.abs(fed @ drives[:, None]).sum((1, 3))
        course = constant[:, None] + (fed @ constants[:, None, :, None])[..., 0].cumsum(1)
        if course.shape[1]:
            largest = np.maximum(largest, np.abs(course).max(1))
            constant = course[:, -1]
        drives, power = onward @ drives, onward @ power
        constants = (onward @ constants[..., None])[..., 0]
        done += count
        if (total > limits).any():
            raise TooLong
    return total + largest + from_start


def _components(system: Recurrence) -> list[Indices]:
    """States that depend on each other, or are seen together: indices of each set."""
    moved = (system.states != 0.0).astype(np.float64)
    together = (system.seen != 0.0).astype(np.float64)
    linked = (moved + moved.T + together.T @ together) != 0.0
    label = np.arange(len(linked))
    while True:
        lowest = np.minimum(label, np.where(linked, label[None, :], len(label)).min(1))
        if np.array_equal(lowest, label):
            return [np.flatnonzero(label == own) for own in np.unique(label)]
        label = lowest


def _touching(system: Recurrence, states: Indices) -> Indices:
    return np.flatnonzero(system.seen[:, states].any(1))
