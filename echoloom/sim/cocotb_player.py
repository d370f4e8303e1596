"""Plays a script on the engine's Verilog under cocotb.

Imported by cocotb inside the simulator. The clock runs in the simulator; Python wakes only for
words that move and for polls. Inputs change in the high half of the clock, handshakes are looked
at on the falling edge: then every signal has settled, whatever order the simulator works in.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import (
    Event,
    FallingEdge,
    RisingEdge,
    SimTimeoutError,
    Timer,
    with_timeout,
)

from echoloom.sim.script import (
    FAILURE,
    FINISHED,
    JOB,
    SILENCE,
    STREAMS,
    Recording,
    Script,
    Turn,
    joined,
    load_script,
    save,
    turns,
)

PERIOD = 4  # nanoseconds of simulated time


async def into_high(clock: Any) -> None:
    """Wait for the high half of the next clock, clear of the edge itself."""
    await RisingEdge(clock)
    await Timer(PERIOD // 4, "ns")


async def clocks(clock: Any, count: int) -> None:
    """Wait from the high half of a clock into the high half of the `count`-th after it.

    Not cocotb's ClockCycles, which wakes Python in every clock.
    """
    # A timer that ends with an edge may come before or after it: end between two edges.
    await Timer(count * PERIOD - PERIOD // 2, "ns")
    await into_high(clock)


class Source:
    """Sends words into a stream."""

    def __init__(self, dut: Any, stream: str, gaps: np.ndarray) -> None:
        self.clock = dut.clk
        self.payload = getattr(dut, f"{stream}__payload")
        self.valid = getattr(dut, f"{stream}__valid")
        self.ready = getattr(dut, f"{stream}__ready")
        self.valid.value = 0
        self.gaps = gaps.tolist()
        self.sent = 0
        # From the falling edge over the rising one. Icarus may run a write that is made at the
        # edge before the circuit has seen the old value.
        self.next_high = Timer(PERIOD * 3 // 4, "ns")

    async def send(self, words: list[int]) -> None:
        """Send `words`; begins and ends in the high half of a clock."""
        for word in words:
            if gap := self.gaps[self.sent % len(self.gaps)]:
                self.valid.value = 0
                await clocks(self.clock, gap)
            self.payload.value = word
            self.valid.value = 1
            await FallingEdge(self.clock)
            while not self.ready.value:
                await RisingEdge(self.ready)
                await FallingEdge(self.clock)
            self.sent += 1
            await self.next_high
        self.valid.value = 0


class Sink:
    """Takes and keeps all words of a stream."""

    def __init__(self, dut: Any, stream: str, gaps: np.ndarray) -> None:
        self.clock = dut.clk
        self.payload = getattr(dut, f"{stream}__payload")
        self.valid = getattr(dut, f"{stream}__valid")
        self.ready = getattr(dut, f"{stream}__ready")
        self.ready.value = 1
        self.gaps = gaps.tolist()
        self.words: list[int] = []
        self._wanted = 0
        self._enough = Event()

    async def run(self) -> None:
        taken = 0
        while True:
            if gap := self.gaps[taken % len(self.gaps)]:
                await into_high(self.clock)
                self.ready.value = 0
                await clocks(self.clock, gap)
                self.ready.value = 1
            await FallingEdge(self.clock)
            while not self.valid.value:
                await RisingEdge(self.valid)
                await FallingEdge(self.clock)
            taken += 1
            self.words.append(self.payload.value.to_unsigned())
            if len(self.words) >= self._wanted:
                self._enough.set()

    async def reach(self, count: int) -> None:
        """Wait until `count` words are kept; ends in the high half of a clock."""
        if len(self.words) < count:
            self._wanted = count
            self._enough.clear()
            await self._enough.wait()
        await into_high(self.clock)


class Player:
    """Plays the turns of a script one after the other."""

    def __init__(self, dut: Any, script: Script) -> None:
        self.dut = dut
        self.script = script
        gaps = {name: getattr(script, f"gaps_{name}") for name in STREAMS}
        self.request = Source(dut, "request", gaps["request"])
        self.samples = Source(dut, "samples", gaps["samples"])
        self.response = Sink(dut, "response", gaps["response"])
        self.outputs = Sink(dut, "outputs", gaps["outputs"])
        self.polling = joined(script.poll)
        self.trace: list[int] = []
        self.marks: list[tuple[int, ...]] = []

    async def reset(self) -> None:
        self.dut.rst.value = 1
        Clock(self.dut.clk, PERIOD, "ns").start()
        for _ in range(3):
            await into_high(self.dut.clk)
        self.dut.rst.value = 0
        cocotb.start_soon(self.response.run())
        cocotb.start_soon(self.outputs.run())
        if self.script.trace_columns[0]:
            cocotb.start_soon(self._watch_trace())
        await clocks(self.dut.clk, 1)

    async def _watch_trace(self) -> None:
        valid, bits = self.dut.trace_valid, self.dut.trace_bits
        while True:
            await FallingEdge(self.dut.clk)
            while not valid.value:
                await RisingEdge(valid)
                await FallingEdge(self.dut.clk)
            self.trace.append(bits.value.to_unsigned())

    async def _until_done(self, first_poll: int, poll: int) -> None:
        pause = first_poll
        while True:
            await clocks(self.dut.clk, pause)
            pause = poll
            before = len(self.response.words)
            await self.request.send(self.polling)
            await self.response.reach(before + 1)
            if self.response.words.pop() & FINISHED:
                return

    async def turn(self, turn: Turn) -> None:
        """Play one pass and mark where its words end."""
        await self.request.send(turn.before)
        feeding = cocotb.start_soon(self.samples.send(turn.samples))
        taking = cocotb.start_soon(self.outputs.reach(turn.outputs))
        await self._until_done(turn.first_poll, turn.poll)
        await feeding
        await taking
        taking = cocotb.start_soon(self.response.reach(len(self.response.words) + len(turn.after)))
        await self.request.send(turn.after)
        await taking
        clock = int(get_sim_time("ns")) // PERIOD
        words = self.outputs.words, self.response.words, self.trace
        self.marks.append((*map(len, words), clock))

    async def play(self) -> None:
        """Play all turns; SimulationError's sentence is what a RuntimeError here says."""
        await self.reset()
        for number, turn in enumerate(turns(self.script)):
            before = self.samples.sent
            try:
                await with_timeout(self.turn(turn), turn.limit * PERIOD, "ns")
            except SimTimeoutError:
                raise RuntimeError(
                    f"pass {number} did not finish within {turn.limit} clocks: "
                    f"{self.samples.sent - before} of {len(turn.samples)} samples taken, "
                    f"{len(self.outputs.words)} output words and {len(self.response.words)} "
                    "responses given since reset"
                ) from None
        await clocks(self.dut.clk, SILENCE)

    def recording(self) -> Recording:
        words = self.outputs.words, self.response.words
        return Recording.of(self.script, *words, self.trace, self.marks)


@cocotb.test()
async def play(dut: Any) -> None:
    """Play the job's script and save the recording, or one sentence why there is none."""
    directory = Path(os.environ[JOB])
    try:
        player = Player(dut, load_script(directory))
        await player.play()
        save(player.recording(), directory)
    except Exception as error:
        (directory / FAILURE).write_text(str(error) or repr(error))
        raise
