"""Arithmetic blocks of the engine against `ir.arithmetic`, for all inputs at full width.

A block's claim is of what comes out `latency` cycles after any inputs, while others come in every
cycle: that is the latency that the scheduler promises by, one result a cycle, and the value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import bitwuzla as smt

from echoloom.backends.prove.circuit import Claims, circuit
from echoloom.backends.prove.lane import lane
from echoloom.backends.prove.words import BITS, Solver, Term, Words
from echoloom.hdl.carry_select import CarrySelectSum
from echoloom.hdl.lookup import ENTRY, MULTIPLIED, Lookup
from echoloom.hdl.multiplier import PART, Multiplier
from echoloom.hdl.requantise import Requantise
from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.contract import Add, EngineConfig

BLOCK_LIMIT_S = 600.0  # for one claim of a block


@dataclass(frozen=True)
class Block:
    """What was proven of a block of an engine, in how many seconds."""

    name: str
    claim: str
    seconds: float


class NotTheArithmetic(ArithmeticError):
    """A block that computes something else than the arithmetic says."""


def blocks_proven(config: EngineConfig, limit_s: float) -> Iterator[Block]:
    """The blocks of an engine of these word lengths, one claim after another.

    Raises NotTheArithmetic, or Undecided if one claim takes longer than `limit_s` seconds.
    """
    for name, claims in BLOCKS.items():
        words = Words()
        solver = Solver(words, limit_s)
        for what, claim, given in claims(words, config):
            began = time.monotonic()
            if solver.refuted(claim, given, []) is not None:
                raise NotTheArithmetic(f"{name}: it is not so that {what}")
            yield Block(name, what, time.monotonic() - began)


def _sum(words: Words, config: EngineConfig) -> Claims:
    width = max(config.accumulator, config.word + config.narrow)
    own = circuit(words, CarrySelectSum(width), 0)
    total = words.make(smt.Kind.BV_ADD, own.word("a", 0), own.word("b", 0))
    total = words.make(smt.Kind.BV_ADD, total, own.word("carry", 0, signed=False))
    claim = words.make(smt.Kind.EQUAL, own.word("total", 0), total)
    yield f"total = a + b + carry, {width} bits", claim, [*own.rules]


def _multiplier(words: Words, config: EngineConfig) -> Claims:
    """A wide operand is low + high * 2**PART, so its product is that of the parts, added: products
    of parts are what a solver can compare."""
    end, make, number = Multiplier.latency, words.make, words.number
    own = circuit(words, Multiplier(config.narrow, config.word), end)
    wide, narrow = own.word("wide", 0), own.word("narrow", 0)
    said = f"product = wide * narrow, {config.word} x {config.narrow} bits"
    if config.word > PART + 1:
        low = make(smt.Kind.BV_AND, wide, number((1 << PART) - 1))
        high = make(smt.Kind.BV_ASHR, wide, number(PART))
        upper = make(smt.Kind.BV_SHL, make(smt.Kind.BV_MUL, high, narrow), number(PART))
        product = make(smt.Kind.BV_ADD, make(smt.Kind.BV_MUL, low, narrow), upper)
        said = f"product = low * narrow + (high * narrow << {PART}), {config.word} bits"
    else:
        product = make(smt.Kind.BV_MUL, wide, narrow)
    clear = own.bit("clear", end - 1)
    product = make(smt.Kind.ITE, clear, number(0), product)
    yield said, make(smt.Kind.EQUAL, own.word("product", end), product), [*own.rules]


def _requantise(words: Words, config: EngineConfig) -> Claims:
    component = Requantise(accumulator=config.accumulator, word=config.word)
    own = circuit(words, component, component.latency)
    shift, width = own.word("shift__0", 0, signed=False), own.word("width", 0, signed=False)
    rounded = words.rounded(own.word("value", 0), shift, Rounding.HALF_EVEN)
    base, add = own.word("base", 0), own.word("add", 0, signed=False)
    sums = {
        Add.NONE: rounded,
        Add.PLUS: words.make(smt.Kind.BV_ADD, base, rounded),
        Add.MINUS: words.make(smt.Kind.BV_SUB, base, rounded),
    }
    total = _chosen(words, add, {int(how): term for how, term in sums.items()})
    results = {int(how): words.narrowed(total, width, how) for how in Overflow}
    result = _chosen(words, own.word("overflow", 0, signed=False), results)
    given = [
        *own.rules,
        words.make(smt.Kind.EQUAL, own.word("shift__1", 0, signed=False), shift),
        _between(words, width, 2, config.word),
        _between(words, add, 0, max(Add)),
    ]
    end = component.latency
    same = words.make(smt.Kind.EQUAL, own.word("result", end), result)
    yield f"result = narrow(base +- round(value >> shift)), {config.accumulator} bits", same, given
    flag = words.make(smt.Kind.EQUAL, own.bit("overflowed", end), words.outside(total, width))
    yield "`overflowed` says that it was out of its range", flag, given


def _lookup(words: Words, config: EngineConfig) -> Claims:
    """Its multiplier is cut out: what comes from there is any function of what goes there."""
    component = Lookup(word=config.word, narrow=config.narrow, depth=config.table_depth)
    own = circuit(words, component, component.latency, cut=["multiplier"])
    make, number = words.make, words.number
    z, bits = own.word("z", 0), own.word("segment_bits", 0, signed=False)
    fraction = own.word("fraction_bits", 0, signed=False)
    half = make(smt.Kind.BV_SHL, number(1), make(smt.Kind.BV_SUB, bits, number(1)))
    last = make(smt.Kind.BV_SUB, half, number(1))
    segment = make(smt.Kind.BV_ASHR, z, fraction)
    segment = make(smt.Kind.ITE, make(smt.Kind.BV_SGT, segment, last), last, segment)
    first = make(smt.Kind.BV_NEG, half)
    segment = make(smt.Kind.ITE, make(smt.Kind.BV_SLT, segment, first), first, segment)
    quiet = [
        make(smt.Kind.NOT, own.bit(f"access.{way}", k))
        for way in ("read", "write")
        for k in range(component.latency + 1)
    ]
    given = [
        *own.rules, *quiet, _between(words, bits, 1, 15),
        _between(words, fraction, 0, config.word - 1),
    ]  # fmt: skip
    wanted = make(smt.Kind.BV_ADD, own.word("table", 0, signed=False), segment)
    wanted = _low(words, make(smt.Kind.BV_ADD, wanted, half), config.table_depth)
    address = own.word("address", ADDRESSED, signed=False)
    same = make(smt.Kind.EQUAL, address, wanted)
    yield "the entry's address is that of the argument's segment", same, given

    # The entry comes a cycle after its address: {slope, base}.
    entry = own.word("word", ADDRESSED + 1, signed=False)
    base = words.narrowed(entry, number(config.word), Overflow.WRAP)
    slope = make(smt.Kind.BV_ASHR, _top(words, entry, config), number(BITS - config.narrow))
    distance = make(smt.Kind.BV_SUB, z, make(smt.Kind.BV_SHL, segment, fraction))
    distance = words.narrowed(distance, number(config.word), Overflow.WRAP)
    arrives = [
        make(smt.Kind.EQUAL, own.word("narrow", ENTRY), slope),
        make(smt.Kind.EQUAL, own.word("wide", ENTRY), distance),
    ]
    both = make(smt.Kind.AND, *arrives)
    yield "slope and distance from the segment's begin are multiplied", both, given

    rise = own.word("product", MULTIPLIED)
    rounded = words.rounded(rise, own.word("slope_shift", 0, signed=False), Rounding.HALF_EVEN)
    total = make(smt.Kind.BV_ADD, base, rounded)
    y = words.narrowed(total, number(config.word), Overflow.SATURATE)
    end = component.latency
    yield "y = saturate(base + round(rise >> slope_shift))", make(
        smt.Kind.AND,
        make(smt.Kind.EQUAL, own.word("y", end), y),
        make(
            smt.Kind.EQUAL, own.bit("saturated", end), words.outside(total, number(config.word))
        ),
    ), given  # fmt: skip


ADDRESSED = 3  # cycles from the argument to its entry's address


def _top(words: Words, entry: Term, config: EngineConfig) -> Term:
    """The entry's slope at the upper end of a word."""
    spare = BITS - config.word - config.narrow
    return words.make(smt.Kind.BV_SHL, entry, words.number(spare))


def _low(words: Words, address: Term, depth: int) -> Term:
    bits = max(1, (depth - 1).bit_length())
    return words.make(smt.Kind.BV_AND, address, words.number((1 << bits) - 1))


def _between(words: Words, term: Term, least: int, most: int) -> Term:
    return words.make(
        smt.Kind.AND,
        words.make(smt.Kind.BV_ULE, words.number(least), term),
        words.make(smt.Kind.BV_ULE, term, words.number(most)),
    )


def _chosen(words: Words, which: Term, terms: dict[int, Term]) -> Term:
    (*others, last) = terms.items()
    chosen = last[1]
    for number, term in others:
        here = words.make(smt.Kind.EQUAL, which, words.number(number))
        chosen = words.make(smt.Kind.ITE, here, term, chosen)
    return chosen


BLOCKS: dict[str, Callable[[Words, EngineConfig], Claims]] = {
    "sum": _sum,
    "multiplier": _multiplier,
    "lane": lane,
    "requantise": _requantise,
    "table unit": _lookup,
}
