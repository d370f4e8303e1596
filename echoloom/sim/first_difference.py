"""Where two integer results differ first: step, block, signal, element and bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Difference:
    """The first place where `level` is not what was expected.

    `step` is None where there is no time axis, `update` outside of a training, `element` the index
    inside the signal (empty for a scalar). `bit` is the lowest differing bit of the two's
    complement words, counted from 0, and None when there is no pair of values to compare: a missing
    signal or a wrong shape, then `expected` and `actual` are words.
    """

    level: str
    step: int | None
    block: str
    signal: str
    element: tuple[int, ...]
    bit: int | None
    expected: int | str
    actual: int | str
    section: str = ""  # whose steps `step` counts, where it is known
    update: int | None = None

    def __str__(self) -> str:
        whole = self.update is not None and self.step is None  # of a tensor after an update
        place = self.signal if whole else f"signal {self.signal}"
        if self.element:
            place += f"[{', '.join(map(str, self.element))}]"
        if self.block:
            place = f"block {self.block}, {place}"
        if self.step is not None:
            place = f"step {self.step}, {place}"
        if self.update is not None:
            place = f"update {self.update}, {place}"
        if self.bit is None:
            return f"{self.level}: {place}: expected {self.expected}, found {self.actual}."
        return (
            f"{self.level}: first difference at {place}, bit {self.bit}: "
            f"expected {self.expected}, found {self.actual}."
        )


class Mismatch(Exception):
    """Two levels that must give identical integers do not; `difference` says where first. A note
    says what waves were written of it."""

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


def _integers(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iubO":
        raise TypeError(f"{name} is {array.dtype}: only integers can be compared bit by bit")
    # uint64 against int64 would be compared as float64, which is no equality at all.
    return array.astype(object) if array.dtype == np.uint64 else array


def first_index(unequal: Any) -> tuple[int, ...] | None:
    """Of the first element that is true."""
    unequal = np.asarray(unequal)
    if not unequal.any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(unequal.argmax()), unequal.shape))


def signal_difference(
    level: str, name: str, expected: Any, actual: Any, step: int | None = None, where: str = ""
) -> Difference | None:
    """The first difference between two arrays of one shape, `name` in `step` of section `where`.

    Raises TypeError for arrays that are not integers.
    """
    expected, actual = _integers(name, expected), _integers(name, actual)
    block, signal = split_name(name)
    signal += f" ({where})" if where else ""
    if expected.shape != actual.shape:
        shapes = f"shape {expected.shape}", f"shape {actual.shape}"
        return Difference(level, step, block, signal, (), None, *shapes, where)
    index = first_index(expected != actual)
    if index is None:
        return None
    pair = int(expected[index]), int(actual[index])
    return Difference(level, step, block, signal, index, lowest_bit(*pair), *pair, where)


def first_difference(
    expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], *, level: str
) -> Difference | None:
    """The first difference between two sets of named integer arrays, or None.

    Names are looked at in the order of `expected`, then those that only `actual` has. A name that
    one side lacks or a wrong shape is a difference too. `level` names what produced `actual`.

    Raises TypeError for arrays that are not integers, ValueError if nothing is to be compared.
    """
    names = dict.fromkeys([*expected, *actual])
    if not names:
        raise ValueError("two empty results were compared: a comparison of nothing proves nothing")
    for name in names:
        if name not in expected or name not in actual:
            words = ("a signal", "none") if name in expected else ("no such signal", "one")
            return Difference(level, None, *split_name(name), (), None, *words)
        found = signal_difference(level, name, expected[name], actual[name])
        if found is not None:
            return found
    return None
