"""Fields of instructions: whatever an engine's sizes allow has room in its entries."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoloom.ir.contract import (
    SHORTEST,
    DrainEntry,
    EngineConfig,
    MacEntry,
    Register,
    SectionEntry,
)
from echoloom.ir.entry_layouts import (
    DRAIN_LAYOUT,
    LEARNING_LAYOUT,
    MAC_LAYOUT,
    NEVER,
    SECTION_LAYOUT,
    STAGES,
)
from echoloom.ir.fields import (
    check_place,
    check_register,
    drain_fields,
    mac_fields,
    never,
    pack,
    section_fields,
)

DEPTH = st.integers(1, 16).map(lambda bits: 1 << bits)
CONFIGS = st.builds(
    EngineConfig,
    lanes=st.integers(1, 256),
    drains=st.just(1),
    slots=st.integers(1, 8),
    weight_depth=DEPTH,
    vector_depth=DEPTH,
    gradient_depth=DEPTH,
    table_depth=DEPTH,
    exponent_depth=DEPTH,
    mac_depth=DEPTH,
    drain_depth=DEPTH,
    frame_depth=DEPTH,
    word=st.integers(8, 32),
    section_cycles=st.integers(SHORTEST, 2**24),
    run=st.integers(1, 2**16),
    base_depth=st.one_of(st.none(), st.just(1), st.just(2)),
)


@given(CONFIGS)
def test_the_last_of_everything_packs_and_comes_back(config: EngineConfig) -> None:
    last, lanes = config.section_cycles - 1, config.lanes
    vector = config.vector_depth - 1
    mac = MacEntry(
        last, inner=config.run, outer=lanes, slot=config.slots - 1, w_base=config.weight_depth - 1,
        w_inner=config.run, x_base=max(vector, config.frame_depth - 1), x_bank=lanes - 1,
        y_base=vector, g_base=config.gradient_depth - 1, lanes=lanes,
    )  # fmt: skip
    drain = DrainEntry(
        last, slot=config.slots - 1, count=lanes, destination=vector, base=config.bases - 1,
        width=config.word, fraction_bits=config.word - 1,
        exponents=config.exponent_depth - 1, table=config.table_depth - 1,
    )  # fmt: skip
    section = SectionEntry(config.mac_depth - 1, config.drain_depth - 1, config.section_cycles,
                           config.section_cycles, STAGES - 1)  # fmt: skip
    for fields, entry in (
        (mac_fields(config), mac),
        (drain_fields(config), drain),
        (section_fields(config), section),
    ):
        packed = pack(fields, entry)
        for name, bits in fields.items():
            assert packed & (1 << bits) - 1 == int(getattr(entry, name)), name
            packed >>= bits
        assert packed == 0
    # No entry starts when the stream has ended.
    assert last < never(config) == (1 << drain_fields(config)["start"]) - 1


@given(CONFIGS)
def test_a_field_has_no_bit_that_its_size_does_not_need(config: EngineConfig) -> None:
    """Half of what a size allows fits in a bit less."""
    assert 1 << mac_fields(config)["w_base"] < 2 * max(2, config.weight_depth)
    assert 1 << mac_fields(config)["g_base"] < 2 * max(2, config.gradient_depth)
    assert 1 << drain_fields(config)["base"] < 2 * max(2, config.bases)
    assert 1 << mac_fields(config)["inner"] <= 2 * config.run
    assert 1 << mac_fields(config)["start"] <= 2 * config.section_cycles


def test_an_entry_that_says_nothing_packs_in_any_engine() -> None:
    config = EngineConfig(1, 1, word=8, narrow=4, accumulator=16)
    assert pack(drain_fields(config), DrainEntry(never(config), 0, 0, 0)) > 0
    assert pack(mac_fields(config), MacEntry(never(config))) > 0


def test_the_standard_sizes_have_the_listed_widths() -> None:
    config = EngineConfig(
        lanes=127, drains=4, slots=8, weight_depth=2**13, vector_depth=2**11, gradient_depth=2**13,
        table_depth=2**13, exponent_depth=2**10, mac_depth=2**12, drain_depth=2**12,
        frame_depth=2**11, word=32,
    )  # fmt: skip
    assert mac_fields(config) == MAC_LAYOUT
    assert drain_fields(config) == DRAIN_LAYOUT
    assert section_fields(config) == SECTION_LAYOUT
    assert never(config) == NEVER


@pytest.mark.parametrize(
    ("register", "value", "most"),
    [
        (Register.LENGTH, 2**32, 2**32 - 1),
        (Register.OUTPUT_STEP, 70_000, 65_535),
        (Register.SHIFT_LENGTH, 64, 63),
        (Register.SHIFT_LENGTH, -1, 63),
    ],
)
def test_a_register_never_cuts_a_value(register: Register, value: int, most: int) -> None:
    check_register(register, most)
    message = f"the engine's register {register.name} holds 0 to {most}, got {value}"
    with pytest.raises(ValueError, match=re.escape(message)):
        check_register(register, value)


@pytest.mark.parametrize(("lane", "address"), [(256, 0), (0, 65536), (-1, 0), (0, -1)])
def test_places_beyond_the_bus_are_refused(lane: int, address: int) -> None:
    check_place(255, 65535)
    with pytest.raises(ValueError, match=f"got lane {lane} and address {address}"):
        check_place(lane, address)


@pytest.mark.parametrize(("length", "last"), [(1, 1), (SHORTEST - 1, 20), (20, SHORTEST - 1)])
def test_a_section_that_is_too_short_to_fetch_the_next_is_refused(length: int, last: int) -> None:
    with pytest.raises(ValueError, match=f"a section takes 0 cycles, or {SHORTEST} or more"):
        SectionEntry(0, 0, length, last)
    SectionEntry(0, 0, 0, 0)
    SectionEntry(0, 0, SHORTEST, SHORTEST)


def test_only_an_engine_that_learns_has_fields_for_it() -> None:
    config = EngineConfig(4, 1, weight_depth=2**12, vector_depth=2**9)
    learns = replace(config, learns=True)
    assert drain_fields(config).keys() == DRAIN_LAYOUT.keys()
    assert drain_fields(learns).keys() == {**DRAIN_LAYOUT, **LEARNING_LAYOUT}.keys()
    # A result goes to either memory.
    assert (drain_fields(config)["destination"], drain_fields(learns)["destination"]) == (9, 12)
    assert mac_fields(config) == mac_fields(learns)


def test_the_text_of_an_engine_says_that_it_learns_only_if_it_does() -> None:
    config = EngineConfig(4, 1)
    assert repr(config).endswith("base_depth=None)")
    learns = replace(config, learns=True)
    assert repr(learns) == repr(config)[:-1] + ", learns=True)"
    assert eval(repr(learns)) == learns
