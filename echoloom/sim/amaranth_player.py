"""Plays a script on the engine under Amaranth's own simulator: no Verilog, no build, slow."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Value
from amaranth.sim import Simulator

from echoloom.sim.bench import Bench
from echoloom.sim.script import FINISHED, SILENCE, Recording, Script, joined, turns
from echoloom.sim.simulation_error import SimulationError


class _Gaps:
    """Clocks to hold a stream back before every word."""

    def __init__(self, clocks: np.ndarray) -> None:
        self.clocks = clocks.tolist()
        self.words, self.wait = 0, self.clocks[0]

    def clock(self, transfer: bool) -> None:
        if transfer:
            self.words += 1
            self.wait = self.clocks[self.words % len(self.clocks)]
        elif self.wait:
            self.wait -= 1


class _Source:
    """Sends the words of a list."""

    def __init__(self, stream: Any, clocks: np.ndarray) -> None:
        self.stream, self.gaps = stream, _Gaps(clocks)
        self.payload = Value.cast(stream.payload)
        self.words: list[int] = []
        self.sent = 0

    def queue(self, words: list[int]) -> None:
        self.words, self.sent = words, 0

    @property
    def empty(self) -> bool:
        return self.sent == len(self.words)

    def drive(self, context: Any) -> bool:
        valid = not self.empty and not self.gaps.wait
        context.set(self.stream.valid, valid)
        if valid:
            context.set(self.payload, self.words[self.sent])
        return valid

    def clock(self, transfer: bool) -> None:
        if not self.empty:
            self.gaps.clock(transfer)
        self.sent += transfer


class _Sink:
    """Takes and keeps all words of a stream."""

    def __init__(self, stream: Any, clocks: np.ndarray) -> None:
        self.stream, self.gaps = stream, _Gaps(clocks)
        # Recordings hold bits, not signed numbers.
        self.bits = Value.cast(stream.payload).as_unsigned()
        self.words: list[int] = []

    def drive(self, context: Any) -> bool:
        ready = not self.gaps.wait
        context.set(self.stream.ready, ready)
        return ready

    def clock(self, transfer: bool, bits: int) -> None:
        if transfer:
            self.words.append(bits)
        self.gaps.clock(transfer)


class _Player:
    """Moves the words of a script, one call of `clock` a clock cycle."""

    def __init__(self, component: Bench, script: Script) -> None:
        self.script = script
        self.component: Any = component
        self.request = _Source(component.request, script.gaps_request)
        self.samples = _Source(component.samples, script.gaps_samples)
        self.response = _Sink(component.response, script.gaps_response)
        self.outputs = _Sink(component.outputs, script.gaps_outputs)
        self.traced = bool(script.trace_columns[0])
        self.trace: list[int] = []
        self.marks: list[tuple[int, ...]] = []
        self.clocks = 0
        self.end = 0

    async def clock(self, context: Any) -> None:
        if self.clocks >= self.end:
            number = len(self.marks)
            raise SimulationError(
                f"pass {number} did not finish within {self.script.turns[number]['limit']} "
                f"clocks: {len(self.samples.words) - self.samples.sent} samples not taken, "
                f"{len(self.outputs.words)} output words and {len(self.response.words)} "
                f"responses given since reset"
            )
        self.clocks += 1
        offered = [source.drive(context) for source in (self.request, self.samples)]
        accepted = [sink.drive(context) for sink in (self.response, self.outputs)]
        edge = context.tick().sample(
            self.request.stream.ready,
            self.samples.stream.ready,
            self.response.stream.valid,
            self.response.bits,
            self.outputs.stream.valid,
            self.outputs.bits,
            self.component.trace_valid,
            Value.cast(self.component.trace_bits),
        )
        _, _, request, samples, response, response_bits, outputs, outputs_bits, *trace = await edge
        self.request.clock(bool(offered[0] and request))
        self.samples.clock(bool(offered[1] and samples))
        self.response.clock(bool(accepted[0] and response), response_bits)
        self.outputs.clock(bool(accepted[1] and outputs), outputs_bits)
        if self.traced and trace[0]:
            self.trace.append(trace[1])

    async def _until_done(self, context: Any, first_poll: int, poll: int) -> None:
        polling = joined(self.script.poll)
        pause = first_poll
        while True:
            for _ in range(pause):
                await self.clock(context)
            pause = poll
            count = len(self.response.words)
            self.request.queue(polling)
            while len(self.response.words) == count:
                await self.clock(context)
            if self.response.words.pop() & FINISHED:
                return

    async def play(self, context: Any) -> None:
        for turn in turns(self.script):
            self.end = self.clocks + turn.limit
            self.request.queue(turn.before)
            while not self.request.empty:
                await self.clock(context)
            self.samples.queue(turn.samples)
            await self._until_done(context, turn.first_poll, turn.poll)
            while not self.samples.empty or len(self.outputs.words) < turn.outputs:
                await self.clock(context)
            responses = len(self.response.words) + len(turn.after)
            self.request.queue(turn.after)
            while not self.request.empty or len(self.response.words) < responses:
                await self.clock(context)
            words = self.outputs.words, self.response.words, self.trace
            self.marks.append((*map(len, words), self.clocks))
        self.end = self.clocks + SILENCE
        for _ in range(SILENCE):
            await self.clock(context)


def play(component: Bench, script: Script) -> Recording:
    """Play `script` on a fresh component.

    Raises SimulationError when a pass exceeds its limit of clocks.
    """
    player = _Player(component, script)
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(player.play)
    simulator.run()
    words = player.outputs.words, player.response.words
    return Recording.of(script, *words, player.trace, player.marks)
