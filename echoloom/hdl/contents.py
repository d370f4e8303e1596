"""What an engine's memories and registers hold from the start, without a host that writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from echoloom.ir.contract import EngineConfig, Image, Register
from echoloom.ir.entry_layouts import COLUMN_BITS
from echoloom.ir.fields import drain_fields, layout_bits, mac_fields, pack

Bank = tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """Words by the memory that has them, in the order of its addresses; what is missing is zero.

    `weights[lane]`, `vectors[lane]` and `exponents[drain]`; `tables` are packed entries,
    `mac[column]` and `drain[column]` a program's columns; `sections` the fields of every section's
    entry; `registers` what a host would write into them.
    """

    weights: tuple[Bank, ...] = ()
    vectors: tuple[Bank, ...] = ()
    exponents: tuple[Bank, ...] = ()
    tables: Bank = ()
    mac: tuple[Bank, ...] = ()
    drain: tuple[Bank, ...] = ()
    sections: tuple[Mapping[str, int], ...] = ()
    registers: Mapping[Register, int] = field(default_factory=dict)

    def bases(self, config: EngineConfig, drain: int) -> Bank:
        """The words of vector memory that a drain adds to: word by word, of each of its lanes."""
        lanes = range(drain, config.lanes, config.drains)
        banks = 1 << (-(-config.lanes // config.drains) - 1).bit_length()
        words = [0] * (config.bases * banks)
        for number, lane in enumerate(lanes):
            for address, word in enumerate(_bank(self.vectors, lane)[: config.bases]):
                words[address * banks + number] = word
        return tuple(words)

    def weights_of(self, lane: int) -> Bank:
        return _bank(self.weights, lane)

    def vectors_of(self, lane: int) -> Bank:
        return _bank(self.vectors, lane)

    def exponents_of(self, drain: int) -> Bank:
        return _bank(self.exponents, drain)


EMPTY = Contents()


def contents_of(image: Image, registers: Mapping[Register, int]) -> Contents:
    """An image, and registers beside FRAME, as contents.

    Raises ValueError for a program entry that does not fit its own engine.
    """
    config = image.config
    low = (1 << config.word) - 1
    return Contents(
        weights=image.weight,
        vectors=image.vector,
        exponents=image.exponent,
        tables=tuple(
            (slope & (1 << config.narrow) - 1) << config.word | base & low
            for base, slope in image.table
        ),
        mac=_columns(mac_fields(config), image.mac),
        drain=_columns(drain_fields(config), image.drain),
        sections=tuple(asdict(entry) for entry in image.sections),
        registers={Register.FRAME: image.frame, **registers},
    )


def _bank(banks: tuple[Bank, ...], index: int) -> Bank:
    return banks[index] if index < len(banks) else ()


def _columns(fields: Mapping[str, int], entries: Sequence[object]) -> tuple[Bank, ...]:
    packed = [pack(fields, entry) for entry in entries]
    bits = layout_bits(fields)
    mask = (1 << COLUMN_BITS) - 1
    return tuple(tuple(e >> low & mask for e in packed) for low in range(0, bits, COLUMN_BITS))
