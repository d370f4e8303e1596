"""Where two integer results differ first: step, block, signal, element and bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from echoloom.sim.requests import TraceWrite


@dataclass(frozen=True)
class Difference:
    """The first place where `level` is not what was expected.

    `step` is None where there is no time axis, `element` the index inside the signal (empty for
    a scalar). `bit` is the lowest differing bit of the two's complement words, counted from 0,
    and None when there is no pair of values to compare: a missing signal or a wrong shape,
    then `expected` and `actual` are words.
    """

    level: str
    step: int | None
    block: str
    signal: str
    element: tuple[int, ...]
    bit: int | None
    expected: int | str
    actual: int | str

    def __str__(self) -> str:
        place = f"signal {self.signal}"
        if self.element:
            place += f"[{', '.join(map(str, self.element))}]"
        if self.block:
            place = f"block {self.block}, {place}"
        if self.step is not None:
            place = f"step {self.step}, {place}"
        if self.bit is None:
            return f"{self.level}: {place}: expected {self.expected}, found {self.actual}."
        return (
            f"{self.level}: first difference at {place}, bit {self.bit}: "
            f"expected {self.expected}, found {self.actual}."
        )


class Mismatch(Exception):
    """Two levels that must give identical integers do not; `difference` says where first."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.difference,), self.__dict__


def lowest_bit(expected: int, actual: int) -> int:
    """The lowest bit in which two unequal integers differ."""
    change = expected ^ actual
    return (change & -change).bit_length() - 1


def split_name(name: str) -> tuple[str, str]:
    """Block and signal of a dotted name: "block0.q" is ("block0", "q"), "loss" ("", "loss")."""
    block, dot, signal = name.partition(".")
    return (block, signal) if dot else ("", name)


def _integers(name: str, values: np.ndarray) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iubO":
        raise TypeError(f"{name} is {array.dtype}: only integers can be compared bit by bit")
    # uint64 against int64 would be compared as float64, which is no equality at all.
    return array.astype(object) if array.dtype == np.uint64 else array


def _first_index(expected: np.ndarray, actual: np.ndarray) -> tuple[int, ...] | None:
    unequal = np.asarray(expected != actual)
    if not unequal.any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(unequal.argmax()), unequal.shape))


@dataclass(frozen=True)
class _Comparison:
    """One comparison of one signal: what every Difference in it shares."""

    level: str
    time_axis: bool
    name: str

    def _difference(
        self,
        index: tuple[int, ...],
        bit: int | None,
        expected: int | str,
        actual: int | str,
        step: int | None = None,
    ) -> Difference:
        block, signal = split_name(self.name)
        if self.time_axis and index:
            step, index = index[0], index[1:]
        return Difference(self.level, step, block, signal, index, bit, expected, actual)

    def missing(self, in_expected: bool) -> Difference:
        words = ("a signal", "none") if in_expected else ("no such signal", "one")
        return self._difference((), None, *words)

    def first(self, expected: np.ndarray, actual: np.ndarray) -> Difference | None:
        expected, actual = _integers(self.name, expected), _integers(self.name, actual)
        if self.time_axis and not (expected.ndim and actual.ndim):
            raise ValueError(f"{self.name} has no time axis")
        shapes = f"shape {expected.shape}", f"shape {actual.shape}"
        steps = None
        if expected.shape != actual.shape:
            if not self.time_axis or expected.shape[1:] != actual.shape[1:]:
                return self._difference((), None, *shapes)
            # A run that stopped early is wrong in itself, but an earlier difference says why.
            steps = min(len(expected), len(actual))
            expected, actual = expected[:steps], actual[:steps]
        index = _first_index(expected, actual)
        if index is not None:
            pair = int(expected[index]), int(actual[index])
            return self._difference(index, lowest_bit(*pair), *pair)
        if steps is not None:
            return self._difference((), None, *shapes, step=steps)
        return None


def first_difference(
    expected: Mapping[str, np.ndarray],
    actual: Mapping[str, np.ndarray],
    *,
    level: str,
    order: Iterable[str] | None = None,
    time_axis: bool = False,
) -> Difference | None:
    """The first difference between two sets of named integer arrays, or None.

    Names are looked at in `order` (of computation; default: the order of `expected`), then all
    others. A name that one side lacks or a wrong shape is a difference too. With `time_axis` the
    arrays' first axis is time and the earliest step wins over the order of names; a run that is
    too short differs where it ends, a missing name or a wrong shape of the rest at once. `level`
    names what produced `actual`, e.g. "verilator".

    Raises TypeError for arrays that are not integers, ValueError if nothing is to be compared.
    """
    ordered = dict.fromkeys([*(order or ()), *expected, *actual])
    names = [name for name in ordered if name in expected or name in actual]
    if not names:
        raise ValueError("two empty results were compared: a comparison of nothing proves nothing")
    found: Difference | None = None
    for name in names:
        comparison = _Comparison(level, time_axis, name)
        if name not in expected or name not in actual:
            return comparison.missing(in_expected=name in expected)
        difference = comparison.first(expected[name], actual[name])
        if difference is None:
            continue
        if not time_axis or difference.step is None:
            return difference
        if found is None or found.step is None or difference.step < found.step:
            found = difference
    return found


def require_equal(
    expected: Mapping[str, np.ndarray],
    actual: Mapping[str, np.ndarray],
    *,
    level: str,
    order: Iterable[str] | None = None,
    time_axis: bool = False,
) -> None:
    """Raise Mismatch with the `first_difference` if there is one."""
    difference = first_difference(expected, actual, level=level, order=order, time_axis=time_axis)
    if difference is not None:
        raise Mismatch(difference)


Place = tuple[str, str, tuple[int, ...]]  # block, signal, element


def memory_place(lane: int, address: int) -> Place:
    """The place of a vector memory word when nobody knows which signal lives there."""
    return "", "vector memory (lane, address)", (lane, address)


def _by_occurrence(trace: Sequence[TraceWrite]) -> dict[tuple[int, int, int, int, int], int]:
    """Values by section, iteration, lane, address and how often that word was written before."""
    counts: dict[tuple[int, int, int, int], int] = {}
    values: dict[tuple[int, int, int, int, int], int] = {}
    for write in trace:
        word = (int(write.section), write.iteration, write.lane, write.address)
        counts[word] = counts.get(word, -1) + 1
        values[(*word, counts[word])] = write.value
    return values


def first_trace_difference(
    expected: Sequence[TraceWrite],
    actual: Sequence[TraceWrite],
    *,
    level: str,
    place: Callable[[int, int], Place] = memory_place,
) -> Difference | None:
    """The first differing memory write, in the order of `expected`, or None.

    Writes to different words may come in any order inside one iteration of a section: a schedule
    may move them. `place` names the signal that lives at (lane, address); the step reported is
    the iteration of the section.
    """
    wanted, found = _by_occurrence(expected), _by_occurrence(actual)
    for key in [*wanted, *(key for key in found if key not in wanted)]:
        a, b = wanted.get(key), found.get(key)
        if a == b:
            continue
        block, signal, element = place(key[2], key[3])
        bit = lowest_bit(a, b) if a is not None and b is not None else None
        texts = ("no write" if a is None else a), ("no write" if b is None else b)
        return Difference(level, key[1], block, signal, element, bit, *texts)
    return None
