"""One drain: takes results out of slots, requantises them and writes them back."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.contents import EMPTY, Contents
from echoloom.hdl.lane import tree_result
from echoloom.hdl.layouts import (
    ACCESS,
    SHIFT,
    chunk,
    chunks,
    destination_bits,
    to_vector,
    vector_write,
)
from echoloom.hdl.lookup import Lookup
from echoloom.hdl.pipeline import copies, delay, memory
from echoloom.hdl.requantise import Requantise
from echoloom.hdl.rounding import SELECTS
from echoloom.hdl.rows import Rows
from echoloom.hdl.tally import measured_bits
from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.contract import EngineConfig, Space
from echoloom.ir.flags import Flag
from echoloom.ir.ops import DynamicShift
from echoloom.ir.reports import PEAK_BITS, Report

SUMS = 2  # cycles from a chunk's issue until the lanes' sums are there
SELECT = SUMS + 1  # and until the requantiser's inputs are
WHERE = Rows.latency  # and until the address of its results is, in an engine that learns
EXACT = Requantise.latency - 2  # cycles of the requantiser until it has the sum to narrow


class Drain(wiring.Component):
    """Drain `index`: in chunk c it takes lane c * drains + index.

    In an engine that learns `destination` is the chunk's, where its row has moved it to, WHERE
    cycles after the chunk's issue; `peak` is Register.PEAK; `measured` has the bits of a result
    beyond those that this leaves, and `clamps` says that it was clamped, if its entry reports so.
    `sums[c]` is that lane's sum, SUMS cycles after the chunk's issue; `tree` is a row's sum as it
    comes: a drain keeps the rows of its lanes. `write` goes to vector memory; it is registered.
    Latency from a chunk's issue until the written word may be read: `direct_latency` cycles,
    or `table_latency` through the table. `exponent` and `table_entry` are for host reads.
    """

    direct_latency = SELECT + Requantise.latency + 2
    table_latency = direct_latency + Lookup.latency

    access: data.View
    chunk: data.View
    sums: list[Signal]
    tree: data.View
    shift_length: Signal
    destination: Signal
    peak: Signal
    write: data.View
    measured: Signal
    clamps: Signal
    flags: Signal
    exponent: Signal
    table_entry: Signal
    table_address: Signal
    table_word: Signal

    def __init__(
        self,
        config: EngineConfig,
        index: int,
        rounding: Rounding = Rounding.HALF_EVEN,
        contents: Contents = EMPTY,
    ) -> None:
        self._config = config
        self._contents = contents
        self._index = index
        self._rounding = rounding
        super().__init__(
            {
                "access": In(ACCESS),
                "chunk": In(chunk(config)),
                "sums": In(signed(config.accumulator)).array(chunks(config)),
                "tree": In(tree_result(config)),
                "shift_length": In(SHIFT),
                "write": Out(vector_write(config)),
                "flags": Out(len(Flag)),
                "exponent": Out(SHIFT),
                "table_entry": Out(config.word + config.narrow),
                "table_address": Out(ceil_log2(config.table_depth)),
                "table_word": In(config.word + config.narrow),
                **(self._learning(config) if config.learns else {}),
            }
        )

    @staticmethod
    def _learning(config: EngineConfig) -> dict[str, Any]:
        """The ports of an engine that learns."""
        return {
            "destination": In(destination_bits(config)),
            "peak": In(SHIFT),
            "measured": Out(measured_bits(config)),
            "clamps": Out(1),
        }

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        valid = delay(m, self.chunk.valid[self._index], SELECT, name="valid")
        stages = delay(m, self.chunk, SELECT, name="chunk")
        total = self._select(m, stages)
        shift = self._shift(m, stages)
        base = self._base(m, stages)

        m.submodules.requantise = requantise = Requantise(
            accumulator=config.accumulator, word=config.word, rounding=self._rounding
        )
        m.d.comb += [
            requantise.value.eq(total),
            *(port.eq(own) for port, own in zip(requantise.shift, shift, strict=True)),
            requantise.base.eq(base),
            requantise.add.eq(stages[SELECT].add),
            requantise.width.eq(stages[SELECT].width),
            requantise.overflow.eq(stages[SELECT].overflow),
        ]
        m.submodules.lookup = lookup = Lookup(
            word=config.word,
            narrow=config.narrow,
            depth=config.table_depth,
            rounding=self._rounding,
        )
        # The words that go on from here: the requantiser's, and later the table's.
        narrowing = delay(m, stages[SELECT], Requantise.latency, name="direct")
        narrowed = delay(m, valid[SELECT], Requantise.latency, name="done")
        direct, done = narrowing[-1], narrowed[-1]
        m.d.comb += [
            lookup.access.eq(self.access),
            lookup.z.eq(requantise.result),
            lookup.table.eq(direct.table),
            lookup.segment_bits.eq(direct.segment_bits),
            lookup.fraction_bits.eq(direct.fraction_bits),
            lookup.slope_shift.eq(direct.slope_shift),
            self.table_entry.eq(lookup.entry),
            self.table_address.eq(lookup.address),
            lookup.word.eq(self.table_word),
        ]
        learns = config.learns
        place = data.StructLayout(
            {
                "chunk": len(direct.chunk),
                "destination": len(direct.destination),
                **({"to_weight": 1} if learns else {}),
            }
        )
        here = Signal(place)
        m.d.comb += [
            here.chunk.eq(direct.chunk),
            here.destination.eq(self._moved(m) if learns else direct.destination),
        ]
        if learns:
            m.d.comb += here.to_weight.eq(direct.to_weight)
        looked_up = delay(m, here, Lookup.latency, name="looked_up")[-1]
        looking = delay(m, done & direct.use_table, Lookup.latency, name="looking")
        self._write(m, done & ~direct.use_table, here, requantise.result, looking[-1], looked_up,
                    lookup.y)  # fmt: skip

        wrapping = direct.overflow == Overflow.WRAP
        overflowed = done & requantise.overflowed
        swept = overflowed & (direct.report == Report.SWEEP) if learns else overflowed
        flags = Mux(swept & wrapping, Flag.STATE, 0) | Mux(
            (swept & ~wrapping) | (looking[-1] & lookup.saturated), Flag.SATURATED, 0
        )
        if learns:
            clamps = overflowed & (direct.report == Report.CLAMP)
            flags = flags | Mux(clamps, Flag.WEIGHT, 0)
            m.d.sync += self.clamps.eq(clamps)
            self._measure(m, requantise.exact, narrowing[EXACT], narrowed[EXACT])
        m.d.comb += self.flags.eq(flags)
        return m

    def _moved(self, m: Module) -> Signal:
        """The destination with its row, when a result is narrowed."""
        return delay(m, self.destination, SELECT - WHERE + Requantise.latency, name="moved")[-1]

    def _measure(self, m: Module, exact: Any, of: Any, valid: Any) -> None:
        """What of a result Register.PEAK counts, a cycle later."""
        magnitude = exact ^ exact[-1].replicate(len(exact))
        counts = valid & (of.report == Report.PEAK)
        m.d.sync += self.measured.eq(Mux(counts, magnitude[PEAK_BITS:], 0))

    def _select(self, m: Module, stages: list[Any]) -> Signal:
        """The sum, SELECT cycles after issue: a lane's, or a row's of the tree."""
        config = self._config
        width = signed(config.accumulator)
        places = [divmod(row, config.drains) for row in range(config.lanes)]
        number = Array(C(number, len(self.chunk.chunk)) for number, _ in places)[self.tree.row]
        own = Array(C(drain == self._index, 1) for _, drain in places)[self.tree.row]
        m.submodules.rows = rows = Memory(
            shape=width, depth=config.slots << len(self.chunk.chunk), init=[]
        )
        write, read = rows.write_port(), rows.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(Cat(number, self.tree.slot)),
            write.data.eq(self.tree.value),
            write.en.eq(self.tree.valid & own),
            read.addr.eq(Cat(stages[1].chunk, stages[1].slot)),
        ]
        row = Signal(width, reset_less=True)
        m.d.sync += row.eq(read.data)
        total = Signal(width, reset_less=True)
        sums = Array(self.sums)[stages[SUMS].chunk]
        m.d.sync += total.eq(Mux(stages[SUMS].tree, row, sums))
        return total

    def _shift(self, m: Module, stages: list[Any]) -> list[Any]:
        """By how much to shift, SELECT cycles after issue."""
        m.submodules.exponents = exponents = memory(
            SHIFT, self._config.exponent_depth, self._contents.exponents_of(self._index)
        )
        write, read = exponents.write_port(), exponents.read_port()
        m.d.comb += [
            write.addr.eq(self.access.address),
            write.data.eq(self.access.data),
            write.en.eq(
                self.access.write
                & (self.access.space == Space.EXPONENT)
                & (self.access.lane == self._index)
            ),
            read.addr.eq(self.chunk.exponent),
        ]
        m.d.sync += self.exponent.eq(read.data)
        before = stages[SUMS - 1]
        dynamic = Signal(SHIFT)
        with m.Switch(before.dynamic):
            with m.Case(DynamicShift.LENGTH):
                m.d.comb += dynamic.eq(self.shift_length)
            if self._config.learns:
                with m.Case(DynamicShift.PEAK):
                    m.d.comb += dynamic.eq(self.peak)
        known = Signal(SHIFT.width + 1, reset_less=True)  # all but the exponent
        m.d.sync += known.eq(before.shift + dynamic)
        exponent = Mux(stages[SUMS].use_exponents, self.exponent, 0)
        amount = known + exponent
        # The largest shift leaves nothing but the rounding of the sign: more changes nothing.
        most = (1 << SHIFT.width) - 1
        shift = Signal(SHIFT)
        m.d.comb += shift.eq(Mux(amount > most, most, amount))
        return copies(m, shift, SELECTS, name="shift")

    def _base(self, m: Module, stages: list[Any]) -> Signal:
        """The base word, SELECT cycles after issue.

        This copy of vector memory holds only this drain's lanes, word by word, so that no
        multiplexer over lanes is needed, and of their words the first, which alone are bases.
        """
        config = self._config
        banks = 1 << len(self.chunk.chunk)
        m.submodules.bases = bases = memory(
            signed(config.word), config.bases * banks, self._contents.bases(config, self._index)
        )
        port, read = bases.write_port(), bases.read_port()
        write = delay(m, self.write, 1, name="write")[-1]
        m.d.comb += [
            port.addr.eq(Cat(write.chunk, write.address)),
            port.data.eq(write.value),
            port.en.eq(to_vector(write) & (write.address < config.bases)),
            read.addr.eq(Cat(stages[1].chunk, stages[1].base)),
        ]
        return delay(m, read.data, 1, name="base")[-1]

    def _write(
        self, m: Module, direct: Any, here: Any, result: Any, looked: Any, looked_up: Any, y: Any
    ) -> None:
        """The write register: a direct result, a table result or a host's word."""
        host = self._host_write(m)
        m.d.sync += [
            self.write.valid.eq(direct | looked),
            self.write.chunk.eq(Mux(looked, looked_up.chunk, here.chunk)),
            self.write.address.eq(Mux(looked, looked_up.destination, here.destination)),
            self.write.value.eq(Mux(looked, y, result)),
        ]
        if self._config.learns:
            m.d.sync += self.write.to_weight.eq(~looked & here.to_weight)
        with m.If(host.valid):
            m.d.sync += self.write.eq(host)

    def _host_write(self, m: Module) -> Any:
        """A host's write into vector memory, as this drain would do it, a cycle later."""
        config = self._config
        write = Signal(vector_write(config), name="host_write")
        m.d.sync += [
            write.valid.eq(0),
            write.address.eq(self.access.address),
            write.value.eq(self.access.data),
        ]
        with m.If(self.access.write & (self.access.space == Space.VECTOR)):
            with m.Switch(self.access.lane):
                for number, lane in enumerate(range(self._index, config.lanes, config.drains)):
                    with m.Case(lane):
                        m.d.sync += [write.valid.eq(1), write.chunk.eq(number)]
        return write
