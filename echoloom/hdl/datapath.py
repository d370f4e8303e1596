"""Lanes, adder tree and drains with the control pipeline that drives them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.carry_select import CarrySelectSum
from echoloom.hdl.contents import EMPTY, Contents
from echoloom.hdl.drain import Drain
from echoloom.hdl.lane import (
    ADD,
    BROADCAST,
    GRADIENT,
    STORE,
    WEIGHT,
    X_WORD,
    Lane,
    tree_result,
    wraps,
)
from echoloom.hdl.layouts import (
    ACCESS,
    HOST_BITS,
    SHIFT,
    addresses,
    chunk,
    chunks,
    operation,
    row_addresses,
    to_vector,
    vector_write,
)
from echoloom.hdl.pipeline import delay
from echoloom.hdl.rows import Rows
from echoloom.hdl.table_memory import READERS, TableMemory
from echoloom.hdl.tally import measured_bits
from echoloom.hdl.tree import AdderTree
from echoloom.ir.arithmetic import Rounding
from echoloom.ir.contract import EngineConfig, Space, Timing, XMode
from echoloom.ir.flags import Flag

GROUP = 4  # lanes from which one register chooses, and that share what the host says
FRAME_WORD = 2  # cycle in which the input frame's word is there


def _learning(config: EngineConfig) -> dict[str, Any]:
    """The ports of an engine that learns."""
    return {
        "moved": In(row_addresses(config)),
        "peak": In(SHIFT),
        "measured": Out(measured_bits(config)).array(config.drains),
        "clamps": Out(config.drains),
    }


class Datapath(wiring.Component):
    """Everything that computes. `address`, `operation` and `chunk` are issued in cycle t.

    `frame_word`: the input frame's word, cycle t + 2. `emit`: a value for the output stream.
    `flags`: events of this cycle. In an engine that learns `moved` are the addresses with their
    rows, cycle t + 2, `peak` is Register.PEAK, and `measured` and `clamps` are what the drains say.
    `read_data`: what a host asked for, of the memories that
    live here, `read_latency` cycles after the issue registers took its address.
    """

    EMIT_LATENCY = BROADCAST

    access: data.View
    address: data.View
    operation: data.View
    chunk: data.View
    moved: data.View
    peak: Signal
    measured: list[Signal]
    clamps: Signal
    frame_word: Signal
    shift_length: Signal
    emit: data.View
    flags: Signal
    writes: list[data.View]
    read_data: Signal

    def __init__(
        self,
        config: EngineConfig,
        rounding: Rounding = Rounding.HALF_EVEN,
        contents: Contents = EMPTY,
    ) -> None:
        self._config = config
        self._contents = contents
        self._rounding = rounding
        super().__init__(
            {
                "access": In(ACCESS),
                "address": In(addresses(config)),
                "operation": In(operation(config)),
                "chunk": In(chunk(config)),
                "frame_word": In(signed(config.word)),
                "shift_length": In(SHIFT),
                "emit": Out(data.StructLayout({"valid": 1, "value": signed(config.word)})),
                "flags": Out(len(Flag)),
                "writes": Out(vector_write(config)).array(config.drains),
                "read_data": Out(signed(HOST_BITS)),
                **(_learning(config) if config.learns else {}),
            }
        )

    @staticmethod
    def read_latency(config: EngineConfig) -> int:
        """A word goes through all lanes behind its own."""
        return ADD + config.lanes + 2

    @staticmethod
    def timing() -> Timing:
        """The latencies that this datapath has, whatever the caller hoped for."""
        return Timing(
            mac_to_slot=Lane.slot_latency,
            tree_to_slot=ADD + 1,
            gradient=Lane.gradient_latency,
            drain_direct=Drain.direct_latency,
            drain_table=Drain.table_latency,
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        # What the host says has time: it goes to the first lane of each group and from there to
        # the others, and a cycle later to the drains.
        _, access, later = delay(m, self.access, 2, name="access")
        stages = delay(m, self.operation, ADD, name="operation")
        weights = self._address(m, "weight", WEIGHT)
        gradients = self._address(m, "gradient", STORE - 1)

        lanes = [Lane(config, index, self._contents) for index in range(config.lanes)]
        broadcast = self._broadcast(m, [lane.x_word for lane in lanes], stages)
        m.d.comb += [
            self.emit.valid.eq(stages[BROADCAST].emit),
            self.emit.value.eq(broadcast),
        ]
        tree_output, tree_overflow = self._tree(m, lanes, stages[ADD])
        for index, lane in enumerate(lanes):
            m.submodules[f"lane_{index}"] = lane
            write = self.writes[index % config.drains]
            m.d.comb += [
                lane.access.eq(
                    access if index % GROUP == 0 else lanes[index - index % GROUP].passed
                ),
                lane.x.eq(self.address.x),
                lane.y.eq(self.address.y),
                lane.weight_address.eq(weights[-1]),
                *(port.eq(stage) for port, stage in zip(lane.stage, stages, strict=True)),
                lane.broadcast.eq(broadcast),
                lane.gradient_read.eq(gradients[GRADIENT]),
                lane.gradient_write.eq(gradients[-1]),
                lane.slot.eq(self.chunk.slot),
                lane.write.valid.eq(to_vector(write) & (write.chunk == index // config.drains)),
                lane.write.address.eq(write.address),
                lane.write.value.eq(write.value),
            ]
        drains = self._drains(m, later, lanes, tree_output)
        if config.learns:
            self._learn(m, lanes, drains)
        self._flags(m, [lane.overflow for lane in lanes], tree_overflow, drains)
        self._read(m, lanes, drains, broadcast)
        return m

    def _address(self, m: Module, name: str, cycles: int) -> list[Any]:
        """An element's address, cycle by cycle from its issue on; where rows move it, they have
        by cycle Rows.latency."""
        issued = self.address[name]
        if not self._config.learns:
            return delay(m, issued, cycles, name=name)
        late = delay(m, self.moved[name], cycles - Rows.latency, name=name)
        return [*delay(m, issued, Rows.latency - 1, name=f"{name}_issued"), *late]

    def _learn(self, m: Module, lanes: list[Lane], drains: list[Drain]) -> None:
        """Weights as results, and what drains say of them."""
        for index, drain in enumerate(drains):
            m.d.comb += [
                drain.destination.eq(self.moved.destination),
                drain.peak.eq(self.peak),
                self.measured[index].eq(drain.measured),
            ]
            # An element's weight is read so much later than its words: so one latency says of both
            # when they may be read.
            write = delay(m, drain.write, WEIGHT, name=f"weight_write_{index}")[-1]
            for number, lane in enumerate(lanes[index :: self._config.drains]):
                m.d.comb += [
                    lane.weight_write.valid.eq(
                        write.valid & write.to_weight & (write.chunk == number)
                    ),
                    lane.weight_write.address.eq(write.address),
                    lane.weight_write.value.eq(write.value),
                ]
        m.d.comb += self.clamps.eq(Cat(drain.clamps for drain in drains))

    def _broadcast(self, m: Module, words: list[Signal], stages: list[Any]) -> Signal:
        """The word that all lanes get, in cycle BROADCAST: chosen first within groups of GROUP
        lanes, then among the groups and the input frame."""
        low = min(len(stages[0].x_bank), GROUP.bit_length() - 1)
        chosen = []
        for start in range(0, len(words), GROUP):
            group = Signal.like(words[0], name=f"group_{start // GROUP}", reset_less=True)
            m.d.sync += group.eq(Array(words[start : start + GROUP])[stages[X_WORD].x_bank[:low]])
            chosen.append(group)
        frame = delay(m, self.frame_word, BROADCAST - 1 - FRAME_WORD, name="frame_word")[-1]
        banked = Array(chosen)[stages[BROADCAST - 1].x_bank[low:]]
        broadcast = Signal.like(words[0], name="broadcast", reset_less=True)
        streamed = stages[BROADCAST - 1].x_mode == XMode.INPUT
        m.d.sync += broadcast.eq(Mux(streamed, frame, banked))
        return broadcast

    def _tree(self, m: Module, lanes: list[Lane], add: Any) -> tuple[Any, Signal]:
        """Adder tree and its accumulator, a row's sum then goes to a lane's slot."""
        config = self._config
        m.submodules.tree = tree = AdderTree(config)
        m.d.comb += [port.eq(lane.product) for port, lane in zip(tree.products, lanes, strict=True)]
        operation = delay(m, add, tree.latency, name="tree_operation")[-1]
        output = Signal(tree_result(config))
        overflow, summed = Signal(), Signal(reset_less=True)
        m.submodules.tree_adder = adder = CarrySelectSum(max(config.accumulator, len(tree.total)))
        m.d.comb += adder.a.eq(Mux(operation.tree_restart, 0, output.value))
        m.d.comb += adder.b.eq(tree.total)
        exact = Signal.like(adder.total, reset_less=True)
        m.d.sync += [
            exact.eq(adder.total),
            summed.eq(operation.tree),
            output.valid.eq(operation.tree_push),
            output.slot.eq(operation.slot),
            output.row.eq(operation.row),
            overflow.eq(summed & wraps(exact, config.accumulator)),
        ]
        with m.If(operation.tree):
            m.d.sync += output.value.eq(adder.total)
        return output, overflow

    def _drains(self, m: Module, access: Any, lanes: list[Lane], tree: Any) -> list[Drain]:
        config = self._config
        drains = [
            Drain(config, index, self._rounding, self._contents) for index in range(config.drains)
        ]
        for index, drain in enumerate(drains):
            m.submodules[f"drain_{index}"] = drain
            m.d.comb += [
                drain.access.eq(access),
                drain.chunk.eq(self.chunk),
                drain.tree.eq(tree),
                drain.shift_length.eq(self.shift_length),
                self.writes[index].eq(drain.write),
            ]
            for number in range(chunks(config)):
                lane = number * config.drains + index
                if lane < config.lanes:
                    m.d.comb += drain.sums[number].eq(lanes[lane].sum)
        for first in range(0, config.drains, READERS):
            own = drains[first : first + READERS]
            m.submodules[f"table_{first // READERS}"] = table = TableMemory(
                width=config.word + config.narrow,
                depth=config.table_depth,
                readers=len(own),
                init=self._contents.tables,
            )
            m.d.comb += table.access.eq(access)
            for drain, address, word in zip(own, table.address, table.word, strict=True):
                m.d.comb += [address.eq(drain.table_address), drain.table_word.eq(word)]
        return drains

    def _flags(
        self, m: Module, overflows: list[Signal], tree_overflow: Signal, drains: list[Drain]
    ) -> None:
        accumulator = tree_overflow
        for overflow in overflows:
            accumulator = accumulator | overflow
        flags = Mux(accumulator, Flag.ACCUMULATOR, 0)
        for drain in drains:
            flags = flags | drain.flags
        m.d.sync += self.flags.eq(flags)

    def _read(self, m: Module, lanes: list[Lane], drains: list[Drain], broadcast: Signal) -> None:
        """Host reads ride on the datapath: nothing else moves, so all words stand still."""
        lane = self.access.lane
        m.d.comb += [after.read_before.eq(before.read_word) for before, after in pairwise(lanes)]
        with m.Switch(self.access.space):
            with m.Case(Space.WEIGHT, Space.GRADIENT):
                m.d.sync += self.read_data.eq(lanes[-1].read_word)
            with m.Case(Space.VECTOR):
                m.d.sync += self.read_data.eq(broadcast)
            with m.Case(Space.TABLE):
                m.d.sync += self.read_data.eq(drains[0].table_entry)
            with m.Case(Space.EXPONENT):
                m.d.sync += self.read_data.eq(Array(drain.exponent for drain in drains)[lane])
