"""The host's side: requests, registers and counters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.layouts import ACCESS, HOST_BITS, REQUEST, SHIFT, mac_entry, pass_kind
from echoloom.hdl.tally import CLAMPED_BITS
from echoloom.ir.contract import EngineConfig, Register, Space
from echoloom.ir.engine_passes import BY_ROWS, EnginePass, passes_of
from echoloom.ir.fields import REGISTER_BITS
from echoloom.ir.flags import Flag

COUNTER_BITS = 48
# The passes that have each of the properties of a kind.
KINDS = {
    "echo": (EnginePass.ECHO, EnginePass.ADD),
    "resumes": (EnginePass.RESUME,),
    "adds": (EnginePass.ADD,),
    "rows": BY_ROWS,
    "updates": (EnginePass.UPDATE,),
}


class Host(wiring.Component):
    """Answers requests in order, one at a time.

    A write to a memory is a strobe of `access.write`; `access.read` is high while a read waits for
    its answer, which takes `read_latency` cycles. While the engine is `busy` a request for a
    memory does nothing (a read gives whatever stands there).
    `access` is a register, because it goes everywhere. `start` asks for a pass of the kind
    `wanted`; only a host of an engine that learns has the registers of rows, `peak` and `clamped`.
    Latency: `read_latency` + 2 cycles from taking a read's request to its response.
    """

    request: Any
    response: Any
    access: data.View
    datapath_data: Signal
    mac_data: Signal
    drain_data: Signal
    section_data: Signal
    busy: Signal
    done: Signal
    counts: Signal
    stalls: Signal
    lanes: Signal
    flags: Signal
    start: Signal
    wanted: data.View
    length: Signal
    output_step: Signal
    output_phase: Signal
    frame: Signal
    shift_length: Signal
    weight_row: Signal
    gradient_row: Signal
    peak: Signal
    clamped: Signal

    def __init__(
        self,
        config: EngineConfig,
        *,
        read_latency: int,
        registers: Mapping[Register, int] = MappingProxyType({}),
    ) -> None:
        written = {at: Out(bits, init=registers.get(at, 0)) for at, bits in REGISTER_BITS.items()}
        self._read_latency, self._learns = read_latency, config.learns
        super().__init__(
            {
                "request": In(stream.Signature(REQUEST)),
                "response": Out(stream.Signature(HOST_BITS)),
                "access": Out(ACCESS),
                "datapath_data": In(HOST_BITS),
                "mac_data": In(HOST_BITS),
                "drain_data": In(HOST_BITS),
                "section_data": In(HOST_BITS),
                "busy": In(1),
                "done": In(1),
                "counts": In(1),
                "stalls": In(1),
                "lanes": In(mac_entry(config)["lanes"].shape),
                "flags": In(len(Flag)),
                "start": Out(1),
                "wanted": Out(pass_kind(config)),
                "length": written[Register.LENGTH],
                "output_step": written[Register.OUTPUT_STEP],
                "output_phase": written[Register.OUTPUT_PHASE],
                "frame": Out(range(config.frame_depth + 1), init=registers.get(Register.FRAME, 0)),
                "shift_length": written[Register.SHIFT_LENGTH],
                **(
                    {
                        "weight_row": written[Register.WEIGHT_ROW],
                        "gradient_row": written[Register.GRADIENT_ROW],
                        "peak": In(SHIFT),
                        "clamped": In(CLAMPED_BITS),
                    }
                    if config.learns
                    else {}
                ),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        held = Signal(REQUEST, reset_less=True)
        fresh = Signal()  # `held` is to be done in this cycle
        reading = Signal(range(self._read_latency + 1))  # cycles until read data are there
        idle = Signal(init=1)  # reading == 0
        is_register = held.space == Space.REGISTER
        busy = self.busy | self.start  # `start` is a register: the engine follows a cycle later
        m.d.sync += fresh.eq(self.request.valid & self.request.ready)
        with m.If(self.request.ready):  # whether there is one or not, to be quicker
            m.d.sync += held.eq(self.request.payload)
        m.d.comb += [
            # A write is done while the next request arrives; a read must be answered first.
            self.request.ready.eq(~(fresh & ~held.write) & idle & ~self.response.valid),
        ]
        m.d.sync += [
            self.access.write.eq(fresh & held.write & ~is_register & ~busy),
            self.access.read.eq(~idle & ~busy),
            *(self.access[name].eq(held[name]) for name in ("space", "lane", "address", "data")),
        ]
        registers = self._registers(m, held, fresh & held.write & is_register, busy)

        # A read has time: what is asked for is decoded, chosen and answered in a cycle each.
        register = Signal(HOST_BITS, reset_less=True)
        asked = Signal(len(registers), reset_less=True)
        m.d.sync += asked.eq(Cat(held.address == place for place in registers))
        chosen = [Mux(asked[at], value, 0) for at, value in enumerate(registers.values())]
        m.d.sync += register.eq(reduce(or_, chosen))
        answer = Signal(HOST_BITS, reset_less=True)
        with m.Switch(held.space):
            with m.Case(Space.REGISTER):
                m.d.sync += answer.eq(register)
            with m.Case(Space.MAC):
                m.d.sync += answer.eq(self.mac_data)
            with m.Case(Space.DRAIN):
                m.d.sync += answer.eq(self.drain_data)
            with m.Case(Space.SECTION):
                m.d.sync += answer.eq(self.section_data)
            with m.Default():
                m.d.sync += answer.eq(self.datapath_data)

        answered = reading == 1
        with m.If(fresh & ~held.write):
            m.d.sync += [reading.eq(self._read_latency), idle.eq(0)]
        with m.Elif(~idle):
            m.d.sync += [reading.eq(reading - 1), idle.eq(answered)]
        with m.If(answered):
            m.d.sync += [self.response.valid.eq(1), self.response.payload.eq(answer)]
        with m.Elif(self.response.ready):
            m.d.sync += self.response.valid.eq(0)
        return m

    def _registers(self, m: Module, held: Any, write: Any, busy: Any) -> dict[Register, Any]:
        """Registers as the host reads them."""
        counter = unsigned(COUNTER_BITS)
        cycles, stalls, useful = (
            Signal(counter, name=name) for name in ("cycles", "stalls", "useful")
        )
        sticky = Signal(len(Flag))
        counts, stalled, lanes = Signal(), Signal(), Signal.like(self.lanes)
        m.d.sync += [counts.eq(self.counts), stalled.eq(self.stalls), lanes.eq(self.lanes)]
        written = {
            Register.LENGTH: self.length,
            Register.OUTPUT_STEP: self.output_step,
            Register.OUTPUT_PHASE: self.output_phase,
            Register.FRAME: self.frame,
            Register.SHIFT_LENGTH: self.shift_length,
        }
        if self._learns:
            written |= {
                Register.WEIGHT_ROW: self.weight_row,
                Register.GRADIENT_ROW: self.gradient_row,
            }
        command = write & (held.address == Register.COMMAND) & ~busy
        m.d.sync += [
            self.start.eq(command & held.data.matches(*passes_of(self._learns))),
            *(
                self.wanted[name].eq(held.data.matches(*KINDS[name]))
                for name, _ in self.wanted.shape()
            ),
        ]
        # A cycle later, so that no decoder stands before the registers' enables.
        word = Signal(max(len(value) for value in written.values()), reset_less=True)
        m.d.sync += word.eq(held.data)
        for register, value in written.items():
            chosen = Signal(name=f"write_{register.name}")
            m.d.sync += chosen.eq(write & (held.address == register))
            with m.If(chosen):
                m.d.sync += value.eq(word)
        with m.If(self.start):
            m.d.sync += [cycles.eq(0), stalls.eq(0), useful.eq(0), sticky.eq(0)]
        with m.Else():
            m.d.sync += [
                cycles.eq(cycles + counts),
                stalls.eq(stalls + stalled),
                useful.eq(useful + lanes),
                sticky.eq(sticky | self.flags),
            ]
        measured = (
            {Register.PEAK: self.peak, Register.CLAMPED: self.clamped} if self._learns else {}
        )
        return {
            Register.COMMAND: 0,
            Register.STATUS: busy | ((self.done & ~self.start) << 1),
            Register.FLAGS: sticky,
            Register.CYCLES: cycles,
            Register.STALLS: stalls,
            Register.BUSY: useful,
            **measured,
            **written,
        }
