"""How wide the fields of an engine's instructions and registers are, and how they are packed.

A field that a size of the engine bounds is as wide as that size asks for, since program memory
takes block RAM by the bit; the others are as wide as `ir.contract` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping

from echoloom.ir.contract import EngineConfig, Register
from echoloom.ir.entry_layouts import (
    ADDRESS_BITS,
    DRAIN_LAYOUT,
    LEARNING_LAYOUT,
    MAC_LAYOUT,
    MOST_LANES,
    MOST_WORDS,
    SECTION_LAYOUT,
)
from echoloom.ir.widths import Widths

# Registers that a host writes before a pass, beside FRAME, which counts to frame_depth.
REGISTER_BITS: Mapping[Register, int] = {
    Register.LENGTH: 32,
    Register.OUTPUT_STEP: 16,
    Register.SHIFT_LENGTH: 6,
    Register.OUTPUT_PHASE: 16,
    Register.WEIGHT_ROW: ADDRESS_BITS,
    Register.GRADIENT_ROW: ADDRESS_BITS,
}


def written_registers(config: EngineConfig) -> Mapping[Register, int]:
    """Registers of an engine that a host writes, but for COMMAND, and their bits."""
    rows = () if config.learns else (Register.WEIGHT_ROW, Register.GRADIENT_ROW)
    own = {at: bits for at, bits in REGISTER_BITS.items() if at not in rows}
    return {**own, Register.FRAME: _bits(config.frame_depth)}


def check_register(register: Register, value: int) -> None:
    """ValueError for a value that the register would cut."""
    bits = REGISTER_BITS.get(register)
    if bits is not None and not 0 <= value < 1 << bits:
        raise ValueError(
            f"the engine's register {register.name} holds 0 to {(1 << bits) - 1}, got {value}"
        )


def check_place(lane: int, address: int) -> None:
    """ValueError for a lane or an address that the host bus cannot name."""
    if not 0 <= lane < MOST_LANES or not 0 <= address < MOST_WORDS:
        raise ValueError(
            f"the host bus names lanes 0 to {MOST_LANES - 1} and addresses 0 to {MOST_WORDS - 1}, "
            f"got lane {lane} and address {address}"
        )


def mac_fields(config: EngineConfig) -> Mapping[str, int]:
    """Bits of every field of a MacEntry, least significant first."""
    return _fitted(
        MAC_LAYOUT,
        start=_time(config),
        inner=_bits(config.run),
        outer=_bits(config.lanes),
        slot=_bits(config.slots - 1),
        w_base=_bits(config.weight_depth - 1),
        w_inner=_bits(config.run),
        w_outer=_bits(config.run),
        x_base=_bits(max(config.vector_depth, config.frame_depth) - 1),
        x_bank=_bits(config.lanes - 1),
        y_base=_bits(config.vector_depth - 1),
        g_base=_bits(config.gradient_depth - 1),
        lanes=_bits(config.lanes),
    )


def drain_fields(config: EngineConfig) -> Mapping[str, int]:
    """Bits of every field of a DrainEntry, least significant first."""
    layout = {**DRAIN_LAYOUT, **LEARNING_LAYOUT} if config.learns else DRAIN_LAYOUT
    weights = config.weight_depth if config.learns else 0
    return _fitted(
        layout,
        start=_time(config),
        slot=_bits(config.slots - 1),
        count=_bits(config.lanes),
        destination=_bits(max(config.vector_depth, weights) - 1),
        base=_bits(config.bases - 1),
        exponents=_bits(config.exponent_depth - 1),
        width=_bits(max(config.word, Widths.word)),  # the second is an entry's that says nothing
        fraction_bits=_bits(config.word - 1),
        table=_bits(config.table_depth - 1),
    )


def section_fields(config: EngineConfig) -> Mapping[str, int]:
    """Bits of every field of a SectionEntry, least significant first."""
    return _fitted(
        SECTION_LAYOUT,
        mac=_bits(config.mac_depth - 1),
        drain=_bits(config.drain_depth - 1),
        length=_time(config),
        last=_time(config),
    )


def never(config: EngineConfig) -> int:
    """Start time of the entry that ends a stream: no section lasts until then."""
    return (1 << mac_fields(config)["start"]) - 1


def pack(layout: Mapping[str, int], entry: object) -> int:
    """Pack a frozen entry into one unsigned integer; ValueError names a field that does not fit."""
    word, position = 0, 0
    for name, bits in layout.items():
        value = int(getattr(entry, name))
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{type(entry).__name__}.{name} = {value} does not fit in {bits} bits")
        word |= value << position
        position += bits
    return word


def layout_bits(layout: Mapping[str, int]) -> int:
    return sum(layout.values())


def _time(config: EngineConfig) -> int:
    return _bits(config.section_cycles)


def _bits(largest: int) -> int:
    """Bits of the numbers 0 .. largest."""
    return largest.bit_length()


def _fitted(layout: Mapping[str, int], **needed: int) -> Mapping[str, int]:
    return {name: max(1, needed.get(name, bits)) for name, bits in layout.items()}
