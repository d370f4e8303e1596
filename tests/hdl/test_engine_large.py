"""An engine whose sizes need wider fields than the listed ones: RTL against the golden twin.

Every address, time and count of the program lies beyond what the least fields can say.
"""

from __future__ import annotations

import re

import pytest
from engine_bench import Pass, check, image_of, small

from echoloom.ir.contract import (
    Add,
    Destination,
    DrainEntry,
    Image,
    MacEntry,
    Timing,
    XMode,
)
from echoloom.ir.engine_passes import EnginePass
from echoloom.ir.entry_layouts import DRAIN_LAYOUT, MAC_LAYOUT, NEVER
from echoloom.ir.fields import drain_fields, pack
from echoloom.ir.sections import Section

TIMING = Timing()
WEIGHT, VECTOR, GRADIENT = 2**13 + 5, 2**11 + 3, 2**13 + 1
TABLE, EXPONENT = 2**13 + 7, 2**10 + 9
RUN = 2**11 + 2  # elements of one instruction
LATE = 2**14 + 10  # a start time
CONFIG = small(
    1, 1, weight_depth=2**14, vector_depth=2**12, gradient_depth=2**14, table_depth=2**14,
    exponent_depth=2**11, section_cycles=2**15 - 1, run=2**12 - 1,
)  # fmt: skip


def words(depth: int, **at: int) -> list[list[int]]:
    """One bank of zeros with some words in it, given as _address=word."""
    bank = [0] * depth
    for name, word in at.items():
        bank[int(name[1:])] = word
    return [bank]


def large_image() -> Image:
    """Sums weight x vector over a long run, late; the result through a table and back."""
    product = MacEntry(
        start=LATE, inner=1, w_base=WEIGHT, x_mode=XMode.LOCAL, x_base=VECTOR, y_base=VECTOR,
        lanes=1,
    )  # fmt: skip
    long = MacEntry(
        start=0, inner=RUN, destination=Destination.GRADIENT, w_base=WEIGHT, w_inner=0,
        x_base=VECTOR, g_base=GRADIENT, lanes=1,
    )  # fmt: skip
    drained = LATE + TIMING.mac_to_slot
    plain = DrainEntry(
        start=drained, slot=0, count=1, destination=VECTOR + 1, base=VECTOR, add=Add.PLUS,
        use_exponents=True, exponents=EXPONENT,
    )  # fmt: skip
    looked_up = DrainEntry(
        start=drained + 1, slot=0, count=1, destination=VECTOR + 2, use_table=True, table=TABLE,
        segment_bits=1, fraction_bits=12, slope_shift=2,
    )  # fmt: skip
    length = drained + 2 + TIMING.drain_table
    table = [(0, 0)] * TABLE + [(100, 3), (-70, 5)]
    return image_of(
        CONFIG,
        {Section.ECHO_STEP: ([long, product], [plain, looked_up], length)},
        weight=words(WEIGHT + 1, **{f"_{WEIGHT}": -321}),
        vector=words(VECTOR + 1, **{f"_{VECTOR}": 77}),
        table=table,
        exponent=words(EXPONENT + 1, **{f"_{EXPONENT}": 3}),
        frame=0,
    )


def test_addresses_and_times_beyond_the_least_fields() -> None:
    assert 2 ** MAC_LAYOUT["w_base"] <= WEIGHT and 2 ** MAC_LAYOUT["x_base"] <= VECTOR
    assert 2 ** MAC_LAYOUT["g_base"] <= GRADIENT and 2 ** MAC_LAYOUT["inner"] <= RUN
    assert 2 ** DRAIN_LAYOUT["table"] <= TABLE and 2 ** DRAIN_LAYOUT["exponents"] <= EXPONENT
    assert NEVER < LATE
    (observed,) = check(large_image(), [Pass(frames=((),), kind=EnginePass.ECHO)])
    # By hand: the product, a word plus its eighth, and the table's lower line.
    product = -321 * 77
    written = [(write.address, write.value) for write in observed.writes]
    lower = 100 + round(3 * (product + 2**12) / 4)
    assert written == [(VECTOR + 1, 77 + round(product / 8)), (VECTOR + 2, lower)]
    assert observed.busy == RUN + 1


@pytest.mark.parametrize(
    ("size", "value"), [("lanes", 257), ("table_depth", 2**16 + 1), ("mac_depth", 2**17)]
)
def test_sizes_beyond_the_host_bus_are_refused(size: str, value: int) -> None:
    sizes = {"lanes": 1, "drains": 1, size: value}
    with pytest.raises(ValueError, match=str(value)):
        small(**sizes)


@pytest.mark.parametrize(
    ("part", "whole", "most"), [("gradient", "accumulator", 54), ("base_depth", "vector_depth", 16)]
)
def test_a_part_larger_than_its_whole_is_refused(part: str, whole: str, most: int) -> None:
    small(1, 1, **{part: most})
    for value in (0, most + 1):
        said = f"an engine needs 1 <= {part} <= {whole}, got {part}={value}, {whole}={most}"
        with pytest.raises(ValueError, match=re.escape(said)):
            small(1, 1, **{part: value})


def test_a_base_beyond_the_drains_copies_is_refused() -> None:
    config = small(2, 1, base_depth=4)
    pack(drain_fields(config), DrainEntry(0, 0, 1, 9, base=3))
    with pytest.raises(ValueError, match=r"DrainEntry.base = 4 does not fit in 2 bits"):
        pack(drain_fields(config), DrainEntry(0, 0, 1, 9, base=4))
