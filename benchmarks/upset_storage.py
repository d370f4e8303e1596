"""Every kind of storage that an engine has, and how a bit of it is flipped in the golden engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from random import Random
from typing import Any, NamedTuple, get_type_hints

from echoloom.hdl.golden import GoldenEngine
from echoloom.ir.contract import EngineConfig, Image, Register
from echoloom.ir.fields import REGISTER_BITS, drain_fields, layout_bits, mac_fields, section_fields
from echoloom.ir.sections import sections_of

SHIFT_BITS = 6
READ = (Register.SHIFT_LENGTH, Register.OUTPUT_STEP, Register.OUTPUT_PHASE)


class Storage(Enum):
    """What is flipped."""

    WEIGHTS = "weights"
    TABLES = "tables"
    EXPONENTS = "exponents"
    MAC_PROGRAM = "MAC program"
    DRAIN_PROGRAM = "drain program"
    SECTIONS = "section table"
    REGISTERS = "registers"
    SAMPLES = "link samples"
    FRAMES = "frames"
    X_WORDS = "X words"
    Y_WORDS = "Y words"
    BASES = "bases"
    GRADIENTS = "gradients"
    SLOTS = "slots"
    TREE_ROWS = "tree rows"
    SUMS = "sums that grow"
    IN_FLIGHT = "results in flight"


# What no sweep writes: an upset in it stays.
LASTING = frozenset(list(Storage)[:8])
Samples = list[list[int]]
TABLE = "table"  # whose entries are the image's, and words of no bank


class SplitEngine(GoldenEngine):
    """A golden engine whose X words, Y words and bases are memories of their own."""

    def __init__(self, image: Image) -> None:
        super().__init__(image)
        self.y_words = [list(bank) for bank in self.vector]
        self.bases = [list(bank) for bank in self.vector]

    def write(self, lane: int, address: int, word: int) -> None:
        """As a host writes a word of vector memory."""
        for banks in (self.vector, self.y_words, self.bases):
            banks[lane][address] = word

    def land(self) -> None:
        """What lands in this cycle has landed: whatever flips now, flips behind it."""
        self._land(self.now)


@dataclass(frozen=True)
class Upset:
    """A bit that flips before cycle `cycle` of pass `number`. What of the storage it is, follows
    from `seed`."""

    storage: Storage
    number: int
    cycle: int
    seed: int

    def strike(self, engine: SplitEngine, samples: Samples) -> None:
        """Flip it. `samples` are those that the link keeps."""
        if (spot := self.spot(engine)) is None:
            STRIKES[self.storage](engine, samples, Random(self.seed))
            return
        flip(engine, spot)

    def spot(self, engine: SplitEngine) -> Spot | None:
        """Where it is, if it is in a bank."""
        find = BANKED.get(self.storage)
        return None if find is None else find(engine, Random(self.seed))


def _flipped(word: int, bit: int, bits: int) -> int:
    """A signed word of so many bits with one of them flipped."""
    flipped = (word ^ 1 << bit) & (1 << bits) - 1
    return flipped - (flipped >> bits - 1 << bits)


class Spot(NamedTuple):
    """A bit of a bank: `banks` names those of the engine, or is TABLE; words have `bits`."""

    banks: str
    bank: int
    address: int
    bit: int
    bits: int


def flip(engine: SplitEngine, spot: Spot) -> None:
    """Flip that bit."""
    if spot.banks == TABLE:
        _flip_in_table(engine, spot.address, spot.bit)
        return
    bank = getattr(engine, spot.banks)[spot.bank]
    bank[spot.address] = _flipped(bank[spot.address], spot.bit, spot.bits)


def _in_banks(name: str, width: Callable[[EngineConfig], int]) -> Callable[..., Spot]:
    def spot(engine: SplitEngine, random: Random) -> Spot:
        banks, bits = getattr(engine, name), width(engine.image.config)
        bank = random.randrange(len(banks))
        depth = engine.image.config.bases if name == "bases" else len(banks[bank])
        return Spot(name, bank, random.randrange(depth), random.randrange(bits), bits)

    return spot


def _in_exponent(engine: SplitEngine, random: Random) -> Spot:
    """Unsigned, so no bit of it is a sign's."""
    spot = _in_banks("exponent", lambda _: SHIFT_BITS)(engine, random)
    return spot._replace(bits=SHIFT_BITS + 1)


BANKED: Mapping[Storage, Callable[[SplitEngine, Random], Spot]] = {
    Storage.WEIGHTS: _in_banks("weight", lambda config: config.narrow),
    Storage.EXPONENTS: _in_exponent,
    Storage.X_WORDS: _in_banks("vector", lambda config: config.word),
    Storage.Y_WORDS: _in_banks("y_words", lambda config: config.word),
    Storage.BASES: _in_banks("bases", lambda config: config.word),
    Storage.GRADIENTS: _in_banks("gradient", lambda config: config.gradient_bits),
    Storage.SLOTS: _in_banks("slots", lambda config: config.accumulator),
    Storage.TREE_ROWS: _in_banks("rows", lambda config: config.accumulator),
}


def _in_table(engine: SplitEngine, _: Any, random: Random) -> None:
    config = engine.image.config
    at, bit = random.randrange(config.table_depth), random.randrange(config.word + config.narrow)
    _flip_in_table(engine, at, bit)


def _flip_in_table(engine: SplitEngine, at: int, bit: int) -> None:
    """Of an entry, if the program has one there: its base first, then its slope."""
    config, table = engine.image.config, list(engine.image.table)
    if at < len(table):
        base, slope = table[at]
        if bit < config.word:
            table[at] = _flipped(base, bit, config.word), slope
        else:
            table[at] = base, _flipped(slope, bit - config.word, config.narrow)
        engine.image = replace(engine.image, table=tuple(table))


def _entry_flipped(entry: Any, layout: Mapping[str, int], bit: int) -> Any:
    """Raises ValueError for one that no engine has."""
    for name, bits in layout.items():
        if bit < bits:
            kind = get_type_hints(type(entry))[name]
            return replace(entry, **{name: kind(int(getattr(entry, name)) ^ 1 << bit)})
        bit -= bits
    raise IndexError(bit)


def _in_program(
    name: str, layout_of: Callable[[EngineConfig], Mapping[str, int]]
) -> Callable[[SplitEngine, Any, Random], None]:
    def strike(engine: SplitEngine, _: Any, random: Random) -> None:
        config, entries = engine.image.config, list(getattr(engine.image, name))
        layout = layout_of(config)
        at, bit = random.randrange(_depth(config, name)), random.randrange(layout_bits(layout))
        if at < len(entries):
            entries[at] = _entry_flipped(entries[at], layout, bit)
            engine.image = replace(engine.image, **{name: tuple(entries)})

    return strike


def _depth(config: EngineConfig, name: str) -> int:
    return {"mac": config.mac_depth, "drain": config.drain_depth}.get(
        name, len(sections_of(config.learns))
    )


def _in_register(engine: SplitEngine, _: Any, random: Random) -> None:
    register = random.choices(READ, [REGISTER_BITS[at] for at in READ])[0]
    engine.registers[register] ^= 1 << random.randrange(REGISTER_BITS[register])


def _in_samples(engine: SplitEngine, samples: Samples, random: Random) -> None:
    """Steps that have begun have taken theirs."""
    row, bits = random.choice(samples), engine.image.config.word
    at = random.randrange(len(row))
    row[at] = _flipped(row[at], random.randrange(bits), bits)


def _in_frame(engine: SplitEngine, _: Any, random: Random) -> None:
    """A frame of the steps in flight, or the next one."""
    bits, frames = engine.image.config.word, [list(row) for row in engine.frames]
    near = [step for step in (*engine.steps, engine.steps[0] + 1) if 0 <= step < len(frames)]
    if near:
        row = frames[random.choice(near)]
        at = random.randrange(len(row))
        row[at] = _flipped(row[at], random.randrange(bits), bits)
        engine.frames = frames


def _in_sum(engine: SplitEngine, _: Any, random: Random) -> None:
    bits = engine.image.config.accumulator
    lane, bit = random.randrange(len(engine.accumulator) + 1), random.randrange(bits)
    if lane == len(engine.accumulator):
        engine.tree = _flipped(engine.tree, bit, bits)
    else:
        engine.accumulator[lane] = _flipped(engine.accumulator[lane], bit, bits)


def _in_flight(engine: SplitEngine, _: Any, random: Random) -> None:
    landing = [(when, at) for when, words in engine.landing.items() for at in range(len(words))]
    if landing:
        when, at = random.choice(landing)
        word, config = engine.landing[when][at], engine.image.config
        bits = config.accumulator if word.lane is None else config.word
        value = _flipped(word.value, random.randrange(bits), bits)
        engine.landing[when][at] = word._replace(value=value)


STRIKES: Mapping[Storage, Callable[[SplitEngine, Samples, Random], None]] = {
    Storage.TABLES: _in_table,
    Storage.MAC_PROGRAM: _in_program("mac", mac_fields),
    Storage.DRAIN_PROGRAM: _in_program("drain", drain_fields),
    Storage.SECTIONS: _in_program("sections", section_fields),
    Storage.REGISTERS: _in_register,
    Storage.SAMPLES: _in_samples,
    Storage.FRAMES: _in_frame,
    Storage.SUMS: _in_sum,
    Storage.IN_FLIGHT: _in_flight,
}


def bits_of(config: EngineConfig, samples: int) -> Mapping[Storage, int]:
    """Bits of every kind of storage; `samples` of the link that a sequence takes. Of the pipeline
    only the two registers that the twin knows: results on their way are not counted here."""
    lanes, word, total = config.lanes, config.word, config.accumulator
    return {
        Storage.WEIGHTS: lanes * config.weight_depth * config.narrow,
        Storage.TABLES: -(-config.drains // 2) * config.table_depth * (word + config.narrow),
        Storage.EXPONENTS: config.drains * config.exponent_depth * SHIFT_BITS,
        Storage.MAC_PROGRAM: config.mac_depth * layout_bits(mac_fields(config)),
        Storage.DRAIN_PROGRAM: config.drain_depth * layout_bits(drain_fields(config)),
        Storage.SECTIONS: len(sections_of(config.learns)) * layout_bits(section_fields(config)),
        Storage.REGISTERS: sum(REGISTER_BITS[at] for at in READ),
        Storage.SAMPLES: samples * word,
        Storage.FRAMES: config.frames * config.frame_depth * word,
        Storage.X_WORDS: lanes * config.vector_depth * word,
        Storage.Y_WORDS: lanes * config.vector_depth * word,
        Storage.BASES: lanes * config.bases * word,
        Storage.GRADIENTS: lanes * config.gradient_depth * config.gradient_bits,
        Storage.SLOTS: lanes * config.slots * total,
        Storage.TREE_ROWS: lanes * config.slots * total,
        Storage.SUMS: (lanes + 1) * total,
        Storage.IN_FLIGHT: 0,
    }
