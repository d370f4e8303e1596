"""Table unit against its golden twin, exhaustively at small widths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from streaming import stream_through

from echoloom.hdl.lookup import Lookup
from echoloom.hdl.table_memory import TableMemory
from echoloom.ir.arithmetic import Rounding, piecewise_linear
from echoloom.ir.contract import Space
from echoloom.ir.formats import Q
from echoloom.ir.ops import Table
from echoloom.ir.tables import range_bits, tabulate

INPUTS = ("z", "table", "segment_bits", "fraction_bits", "slope_shift")


class WithTable(wiring.Component):
    """A lookup with a table memory of its own, or as reader `mine` of one that two read: the other
    then looks up minus the same words."""

    def __init__(self, *, mine: int = 0, readers: int = 1, **sizes: Any) -> None:
        self._lookups = [Lookup(**sizes) for _ in range(readers)]
        self._mine = mine
        width = sizes["word"] + sizes["narrow"]
        self._memory = TableMemory(width=width, depth=sizes["depth"], readers=readers)
        kept = Lookup(**sizes).signature.members.items()
        super().__init__({name: port for name, port in kept if name not in ("address", "word")})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.memory = store = self._memory
        m.d.comb += store.access.eq(self.access)
        for number, lookup in enumerate(self._lookups):
            m.submodules[f"lookup_{number}"] = lookup
            m.d.comb += [
                lookup.access.eq(self.access),
                store.address[number].eq(lookup.address),
                lookup.word.eq(store.word[number]),
                *(getattr(lookup, name).eq(getattr(self, name)) for name in INPUTS),
            ]
            if number == self._mine:
                m.d.comb += [self.y.eq(lookup.y), self.saturated.eq(lookup.saturated)]
            else:
                m.d.comb += lookup.z.eq(-self.z)
        return m


def run(component: WithTable, word: int, entries: list[tuple[int, int]], first: int,
        rows: list[tuple[int, ...]]) -> np.ndarray:  # fmt: skip
    setup: list[dict[str, Any]] = [
        {
            "space": Space.TABLE,
            "address": first + index,
            "data": (slope << word | base & (1 << word) - 1) & (1 << 64) - 1,
        }
        for index, (base, slope) in enumerate(entries)
    ]
    return np.array(
        stream_through(
            component, INPUTS, rows, ("y", "saturated"), latency=Lookup.latency, setup=setup
        )
    )


def compare(*, word: int, narrow: int, segment_bits: int, fraction_bits: int, seed: int,
            rounding: Rounding = Rounding.HALF_EVEN,
            golden_rounding: Rounding = Rounding.HALF_EVEN,
            mine: int = 0, readers: int = 1) -> None:  # fmt: skip
    random = np.random.default_rng(seed)
    size = 1 << segment_bits
    base = random.integers(-(1 << word - 1), 1 << word - 1, size)
    slope = random.integers(-(1 << narrow - 1), 1 << narrow - 1, size)
    first = 3
    values = range(-(1 << word - 1), 1 << word - 1)
    component = WithTable(
        word=word, narrow=narrow, depth=64, rounding=rounding, mine=mine, readers=readers
    )
    shifts = (0, 1, 2, narrow, 40)
    rows = [(z, first, segment_bits, fraction_bits, s) for s in shifts for z in values]
    entries = [(int(b), int(s)) for b, s in zip(base, slope, strict=True)]
    found = run(component, word, entries, first, rows)
    expected = np.concatenate(
        [
            np.stack(
                piecewise_linear(
                    np.array(values), base, slope, segment_bits=segment_bits,
                    fraction_bits=fraction_bits, slope_shift=s, word=word,
                    rounding=golden_rounding,
                ),
                axis=1,
            )
            for s in shifts
        ]
    )  # fmt: skip
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("segment_bits", [1, 2, 4, 5])
@pytest.mark.parametrize("fraction_bits", [0, 1, 3, 7])
def test_every_value(segment_bits: int, fraction_bits: int) -> None:
    compare(word=8, narrow=5, segment_bits=segment_bits, fraction_bits=fraction_bits, seed=1)


@pytest.mark.parametrize("mine", [0, 1])
def test_two_lookups_read_one_memory(mine: int) -> None:
    compare(word=8, narrow=5, segment_bits=4, fraction_bits=3, seed=5, mine=mine, readers=2)


@pytest.mark.parametrize(("function", "sign"), [("tanh", -1), ("log_cosh", 1)])
def test_symmetric_tables_are_symmetric_in_hardware(function: str, sign: int) -> None:
    """Every word of 10 bits, there and back through the straight tails."""
    word, narrow, source, target = 10, 8, Q(10, 4), Q(10, 7)
    t = tabulate(Table(function, 5, range_bits(function, source)), source, target, narrow)
    values = range(-(1 << word - 1) + 1, 1 << word - 1)
    component = WithTable(word=word, narrow=narrow, depth=64)
    rows = [(z, 3, t.segment_bits, t.fraction_bits, t.slope_shift) for z in values]
    found = run(component, word, list(zip(t.base, t.slope, strict=True)), 3, rows)
    expected, saturated = piecewise_linear(
        np.array(values), t.base, t.slope, segment_bits=t.segment_bits,
        fraction_bits=t.fraction_bits, slope_shift=t.slope_shift, word=word,
    )  # fmt: skip
    np.testing.assert_array_equal(found, np.stack((expected, saturated), axis=1))
    assert (found[::-1, 0] == sign * found[:, 0]).all() and found[:, 0].any()


def test_segments_beyond_the_word() -> None:
    compare(word=4, narrow=4, segment_bits=5, fraction_bits=0, seed=2)


def test_wrong_rounding_is_noticed() -> None:
    with pytest.raises(AssertionError):
        compare(word=8, narrow=5, segment_bits=3, fraction_bits=3, seed=3,
                rounding=Rounding.HALF_UP)  # fmt: skip


def test_full_size() -> None:
    random = np.random.default_rng(4)
    base = random.integers(-(1 << 27), 1 << 27, 512)
    slope = random.integers(-(1 << 17), 1 << 17, 512)
    edges = [s * ((1 << k) + d) for k in range(27) for d in (-1, 0, 1) for s in (-1, 1)]
    z = np.array([*random.integers(-(1 << 27), 1 << 27, 500), *edges])
    component = WithTable(word=28, narrow=18, depth=1024)
    rows = [(int(value), 512, 9, 16, 17) for value in z]
    entries = [(int(b), int(s)) for b, s in zip(base, slope, strict=True)]
    expected = np.stack(
        piecewise_linear(z, base, slope, segment_bits=9, fraction_bits=16, slope_shift=17, word=28),
        axis=1,
    )
    np.testing.assert_array_equal(run(component, 28, entries, 512, rows), expected)
