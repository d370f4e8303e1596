"""Piecewise linear table unit."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl import rounding as rounds
from echoloom.hdl.carry_select import CarrySelectSum
from echoloom.hdl.layouts import ACCESS, SHIFT
from echoloom.hdl.multiplier import Multiplier
from echoloom.hdl.pipeline import copies, delay
from echoloom.ir.arithmetic import Rounding

SEGMENT_BITS = 4  # of the field that says how many bits a segment number has
ENTRY = 5  # cycles until the table's entry is there
MULTIPLIED = ENTRY + Multiplier.latency
SHIFTING = rounds.shift_latency(SHIFT.width)


class Lookup(wiring.Component):
    """y = saturate(base[segment] + round(slope[segment] * f / 2**slope_shift)).

    segment = z >> fraction_bits clamped to `segment_bits` bits signed,
    f = z - (segment << fraction_bits): outside the table the end segments go on as lines,
    as `arithmetic.piecewise_linear` has it.
    z, y: `word` bits signed; the entry of segment s is at address table + s +
    2**(segment_bits - 1). Needs 1 <= segment_bits <= 15 and fraction_bits < word.
    Latency: 14 cycles, one result a cycle. `address` goes to a table memory, whose `word` comes a
    cycle later. When idle the address is that of a host's access, 2 cycles after its strobe;
    `entry` is the word from 4 cycles after `access.read` rose.
    """

    latency = MULTIPLIED + SHIFTING + 2

    access: data.View
    z: Signal
    table: Signal
    segment_bits: Signal
    fraction_bits: Signal
    slope_shift: Signal
    address: Signal
    word: Signal
    y: Signal
    saturated: Signal
    entry: Signal

    def __init__(
        self, *, word: int, narrow: int, depth: int, rounding: Rounding = Rounding.HALF_EVEN
    ) -> None:
        self._word = word
        self._narrow = narrow
        self._depth = depth
        self._rounding = rounding
        super().__init__(
            {
                "access": In(ACCESS),
                "z": In(signed(word)),
                "table": In(ceil_log2(depth)),
                "segment_bits": In(SEGMENT_BITS),
                "fraction_bits": In(SHIFT),
                "slope_shift": In(SHIFT),
                "address": Out(ceil_log2(depth)),
                "word": In(word + narrow),
                "y": Out(signed(word)),
                "saturated": Out(1),
                "entry": Out(word + narrow),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        word, narrow = self._word, self._narrow
        entry_layout = data.StructLayout({"base": signed(word), "slope": signed(narrow)})
        zs = delay(m, self.z, 3, name="z")
        origins = delay(m, self.table, 1, name="table")
        fractions = delay(m, self.fraction_bits, 2, name="fraction_bits")
        slope_shift = delay(m, self.slope_shift, MULTIPLIED - 1, name="slope_shift")[-1]

        # 1: the segment, not yet clamped.
        shifted = Signal(signed(word), reset_less=True)
        m.d.sync += shifted.eq(self.z >> self.fraction_bits)

        # 2: clamped. `inside` has the bits below a segment number's sign bit.
        segment_width = (1 << SEGMENT_BITS) - 1
        inside = Signal(max(word, segment_width), reset_less=True)
        m.d.sync += inside.eq(Cat(self.segment_bits > bit + 1 for bit in range(len(inside))))
        negative = shifted[-1]
        low = Cat(shifted, negative.replicate(max(0, segment_width - word)))
        fits = ~((low ^ negative.replicate(len(low))) & ~inside).any()
        end = inside ^ negative.replicate(len(inside))
        segment = Signal(signed(segment_width), reset_less=True)
        origin = Signal.like(self.table, reset_less=True)
        m.d.sync += [
            segment.eq(Mux(fits, low, end)),
            origin.eq(origins[1] + inside[:segment_width] + 1),
        ]
        with m.If(self.access.read | self.access.write):
            m.d.sync += [segment.eq(0), origin.eq(self.access.address)]

        # 3: address in table memory; where the segment begins.
        start = Signal(signed(word), reset_less=True)
        address = Signal.like(self.table, reset_less=True)
        m.d.sync += [start.eq(segment << fractions[2]), address.eq(origin + segment)]
        m.d.comb += self.address.eq(address)

        # 4 to ENTRY: the entry, in a register behind the slow memory; distance into the segment.
        entry = Signal(entry_layout, reset_less=True)
        distance = Signal(signed(word), reset_less=True)
        m.d.sync += [entry.as_value().eq(self.word), distance.eq(zs[3] - start)]
        m.d.comb += self.entry.eq(entry)

        # To MULTIPLIED: slope times distance.
        m.submodules.multiplier = multiplier = Multiplier(narrow, word)
        m.d.comb += [
            multiplier.narrow.eq(entry.slope),
            multiplier.wide.eq(delay(m, distance, 1, name="distance")[-1]),
        ]
        rise = multiplier.product

        # Shift; then round and add; then saturate.
        bases = delay(m, entry.base, MULTIPLIED - ENTRY + SHIFTING, name="base")
        slope_shifts = copies(m, slope_shift, rounds.SELECTS, name="slope_shift")
        shifted = rounds.shift_right(m, rise, slope_shifts, name="rise")
        m.submodules.adder = adder = CarrySelectSum(len(rise))
        total = Signal.like(adder.total, reset_less=True)
        m.d.comb += [
            adder.a.eq(bases[-1]),
            adder.b.eq(shifted.quotient),
            adder.carry.eq(rounds.increment(shifted, shifted.quotient, self._rounding)),
        ]
        m.d.sync += total.eq(adder.total)
        limit = (1 << word - 1) - 1
        # Without a carry chain: -limit - 1, which the word could hold, is below too.
        top, rest = total[word - 1 :], total[: word - 1]
        above = ~total[-1] & top.any()
        below = total[-1] & (~top.all() | (rest == 0))
        m.d.sync += [
            self.saturated.eq(above | below),
            self.y.eq(Mux(above, limit, Mux(below, -limit, total))),
        ]
        return m
