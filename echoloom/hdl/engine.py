"""The engine: host, sequencer, instruction streams, input frames, datapath, output buffer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from amaranth.hdl import Array, Module, ResetInserter, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from echoloom.hdl.contents import EMPTY, Contents
from echoloom.hdl.datapath import Datapath
from echoloom.hdl.fetch import Fetch
from echoloom.hdl.frames import Frames
from echoloom.hdl.host_port import Host
from echoloom.hdl.issue import DrainIssue, MacIssue
from echoloom.hdl.layouts import (
    HOST_BITS,
    REQUEST,
    drain_entry,
    mac_entry,
    to_vector,
    trace,
    word_stream,
)
from echoloom.hdl.pipeline import RESET_CYCLES
from echoloom.hdl.rows import Rows
from echoloom.hdl.sequencer import Sequencer
from echoloom.hdl.tally import Tally
from echoloom.ir.arithmetic import Rounding
from echoloom.ir.contract import EngineConfig, Space, Timing

PROMISED = Timing()
# Values that may still be on their way when the output buffer is looked at.
IN_FLIGHT_EMITS = Datapath.EMIT_LATENCY + 2


class Engine(wiring.Component):
    """A statically scheduled vector engine; `docs/engine.md` is its manual.

    `clear`, for RESET_CYCLES or longer, stops it and clears registers and streams; no memory. The
    datapath has no reset, which would be a net to all of the chip: it runs empty meanwhile.

    Raises ValueError where `timing` promises latencies that this hardware does not have.
    `rounding` is for tests that show what wrong rounding does. `contents` is what memories hold
    from the start, and registers from every reset on. A reset empties
    the sections, but for those that are there from the start: they stay as they are.
    `busy` and `done` are the bits of STATUS; `frame_waits`: an input frame is complete that no
    sweep took yet.
    """

    clear: Signal
    request: Any
    response: Any
    samples: Any
    outputs: Any
    trace: Any
    busy: Signal
    done: Signal
    frame_waits: Signal

    def __init__(
        self,
        config: EngineConfig,
        timing: Timing = PROMISED,
        rounding: Rounding = Rounding.HALF_EVEN,
        contents: Contents = EMPTY,
    ) -> None:
        self.config = config
        self._contents = contents
        self.timing = replace(Datapath.timing(), overhead=Sequencer.overhead)
        if timing != self.timing:
            raise ValueError(f"this engine has {self.timing}, asked for {timing}")
        self._rounding = rounding
        super().__init__(
            {
                "clear": In(1),
                "request": In(stream.Signature(REQUEST)),
                "response": Out(stream.Signature(HOST_BITS)),
                "samples": In(word_stream(config)),
                "outputs": Out(word_stream(config)),
                "trace": Out(trace(config)),
                "busy": Out(1),
                "done": Out(1),
                "frame_waits": Out(1),
            }
        )

    @staticmethod
    def read_latency(config: EngineConfig) -> int:
        """Cycles that a host read takes, at most: it enters at the issue registers, two cycles
        before the datapath, and leaves through registers on either side of the datapath's and the
        one of the answer."""
        return Datapath.read_latency(config) + 6

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        flush = self.timing.drain_table + self.timing.tree_to_slot + config.tree_latency
        assert flush < RESET_CYCLES, "results are in flight for longer than a reset lasts"
        held = self._contents
        host = Host(config, read_latency=self.read_latency(config), registers=held.registers)
        sequencer = Sequencer(config, flush=flush, sections=held.sections)
        mac_fetch = Fetch(Space.MAC, mac_entry(config), config.mac_depth, held.mac)
        drain_fetch = Fetch(Space.DRAIN, drain_entry(config), config.drain_depth, held.drain)
        frames = Frames(config)
        buffer = fifo.SyncFIFOBuffered(
            width=config.word, depth=2 * config.output_depth + IN_FLIGHT_EMITS
        )
        mac_issue, drain_issue = MacIssue(config), DrainIssue(config)
        datapath = Datapath(config, self._rounding, held)
        cleared = {
            "host": host, "sequencer": sequencer, "mac_fetch": mac_fetch,
            "drain_fetch": drain_fetch, "frames": frames, "output_buffer": buffer,
            "mac_issue": mac_issue, "drain_issue": drain_issue,
        }  # fmt: skip
        for name, part in cleared.items():
            m.submodules[name] = ResetInserter(self.clear)(part)
        m.submodules.datapath = datapath

        connect(m, flipped(self.request), host.request)
        connect(m, flipped(self.response), host.response)
        connect(m, flipped(self.samples), frames.samples)
        for part in (sequencer, mac_fetch, drain_fetch, mac_issue, drain_issue, datapath):
            m.d.comb += part.access.eq(host.access)
        m.d.comb += [
            self.busy.eq(sequencer.busy | host.start),
            self.done.eq(sequencer.done & ~self.busy),
            self.frame_waits.eq(frames.available),
            host.busy.eq(sequencer.busy),
            host.done.eq(sequencer.done),
            host.counts.eq(sequencer.counts),
            host.stalls.eq(sequencer.stalls),
            host.lanes.eq(mac_issue.lanes),
            host.flags.eq(datapath.flags),
            sequencer.start.eq(host.start),
            sequencer.wanted.eq(host.wanted),
            sequencer.length.eq(host.length),
            sequencer.output_step.eq(host.output_step),
            sequencer.output_phase.eq(host.output_phase),
            sequencer.frame_available.eq(frames.available),
            sequencer.output_room.eq(buffer.level <= config.output_depth),
            frames.length.eq(host.frame),
            frames.begin.eq(sequencer.begin),
            frames.take.eq(sequencer.take),
            frames.release.eq(sequencer.release),
            frames.stage.eq(mac_issue.stage),
            frames.address.eq(mac_issue.address.frame),
            mac_issue.overwrite.eq(Array(sequencer.first)[mac_fetch.entry.stage]),
            mac_issue.keep.eq(Array(sequencer.keep)[mac_fetch.entry.stage]),
            datapath.address.eq(mac_issue.address),
            datapath.operation.eq(mac_issue.operation),
            datapath.chunk.eq(drain_issue.chunk),
            datapath.frame_word.eq(frames.word),
            datapath.shift_length.eq(host.shift_length),
            buffer.w_data.eq(datapath.emit.value),
            buffer.w_en.eq(datapath.emit.valid),
            self.outputs.payload.eq(buffer.r_data),
            self.outputs.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(self.outputs.ready),
        ]
        m.d.sync += [
            host.datapath_data.eq(datapath.read_data),
            host.mac_data.eq(mac_fetch.column),
            host.drain_data.eq(drain_fetch.column),
            host.section_data.eq(sequencer.read_data),
        ]
        for fetch, issue, first in (
            (mac_fetch, mac_issue, sequencer.next_section.mac),
            (drain_fetch, drain_issue, sequencer.next_section.drain),
        ):
            m.d.comb += [
                fetch.first.eq(first),
                fetch.rewind.eq(sequencer.rewind),
                fetch.runs.eq(sequencer.runs),
                fetch.time.eq(sequencer.time),
                fetch.steps.eq(sequencer.steps),
                issue.entry.eq(fetch.entry),
                issue.begin.eq(fetch.begin),
            ]
            with m.If(~sequencer.busy):
                m.d.comb += fetch.first.eq(host.access.address)
        if config.learns:
            self._learn(m, host, sequencer, mac_issue, drain_issue, datapath)
        self._trace(m, sequencer, datapath)
        for port, fetch in ((self.trace.mac, mac_fetch), (self.trace.drain, drain_fetch)):
            m.d.comb += [port.begin.eq(fetch.begin), port.entry.eq(fetch.entry)]
        return m

    def _learn(
        self,
        m: Module,
        host: Host,
        sequencer: Sequencer,
        mac: MacIssue,
        drain: DrainIssue,
        datapath: Datapath,
    ) -> None:
        """What only an engine that learns has: rows that addresses go by, and a tally."""
        m.submodules.rows = rows = Rows(self.config)
        tally = Tally(self.config)
        m.submodules.tally = ResetInserter(self.clear)(tally)
        starts = host.start & host.wanted.rows
        m.d.comb += [
            rows.moves.eq(sequencer.by_rows),
            rows.iteration.eq(sequencer.iteration),
            rows.weight_row.eq(host.weight_row),
            rows.gradient_row.eq(host.gradient_row),
            rows.stage.eq(mac.stage),
            rows.given.weight.eq(mac.address.weight),
            rows.given.gradient.eq(mac.address.gradient),
            rows.chunk_stage.eq(drain.chunk.stage),
            rows.to_weight.eq(drain.chunk.to_weight),
            rows.given.destination.eq(drain.chunk.destination),
            datapath.moved.eq(rows.moved),
            tally.scan.eq(starts & ~host.wanted.updates),
            tally.update.eq(starts & host.wanted.updates),
            *(port.eq(own) for port, own in zip(tally.measured, datapath.measured, strict=True)),
            tally.clamps.eq(datapath.clamps),
            datapath.peak.eq(tally.peak),
            host.peak.eq(tally.peak),
            host.clamped.eq(tally.clamped),
        ]

    def _trace(self, m: Module, sequencer: Sequencer, datapath: Datapath) -> None:
        m.d.comb += [
            self.trace.section.eq(sequencer.section),
            self.trace.iteration.eq(sequencer.iteration),
        ]
        # A host's own writes are not the program's.
        running = sequencer.busy
        for index, (port, write) in enumerate(zip(self.trace.drains, datapath.writes, strict=True)):
            m.d.comb += [
                port.valid.eq(to_vector(write) & running),
                port.lane.eq(write.chunk * self.config.drains + index),
                port.address.eq(write.address),
                port.value.eq(write.value),
            ]
