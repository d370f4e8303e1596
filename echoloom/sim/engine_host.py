"""A host's words on an engine: where a program's values are, in passes asked for and in results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from echoloom.backends.run.integers import (
    Floats,
    RunResult,
    Words,
    error_words,
    forward_states,
    input_types,
    is_classification,
    output_type,
    to_real,
    to_words,
)
from echoloom.backends.run.levels import Artifact, echo_frames, host_frames
from echoloom.ir.contract import Image, Register, Space
from echoloom.ir.host import echo_states
from echoloom.ir.objective import length_words
from echoloom.ir.passes.layout import Place
from echoloom.sim.requests import PassRequest, PassResult

Writes = tuple[tuple[Space, int, int, int], ...]
Places = Mapping[str, Place]


class EngineHost:
    """Asks for a sequence's passes, and reads its integers out of what they gave."""

    def __init__(self, artifact: Artifact, image: Image):
        self.artifact, self.image = artifact, image
        self.program, self.at = artifact.program, artifact.mapped.allocation
        self.types = input_types(self.program)
        self.states = {name: self._place(name) for name in forward_states(self.program)}
        self.echo_states = {name: self._place(name) for name in echo_states(self.program)}
        self.sums = {
            a.name: self.at.gradient.places[a.name] for a in self.program.accumulators if a.target
        }
        self.shapes = {a.name: a.type.shape for a in self.program.accumulators}

    def forward(self, x: Floats) -> PassRequest:
        """The pass over samples x [T, inputs]."""
        shift, inverse = length_words(len(x))
        words = host_frames(self.program, x)
        frames = np.zeros((len(x), self.image.frame), np.int64)
        frames[:, : words.shape[1]] = words
        writes: Writes = ()
        count = output_type(self.program).size
        outputs = count * (len(x) // self.artifact.output_step)
        registers = {Register.SHIFT_LENGTH: shift, Register.OUTPUT_STEP: self.artifact.output_step}
        if is_classification(self.program):
            word = to_words([inverse], self.types["inverse_length"].q, "1/T")
            writes = self._writes("inverse_length", word)
            outputs = count
            registers[Register.OUTPUT_STEP] = 1
        reads = tuple(self._reads(Space.VECTOR, self.states))
        return PassRequest("forward", frames, registers, writes, reads, outputs)

    def echo(self, x: Floats, label: Any, outputs: Words, steps: int | None = None) -> PassRequest:
        """The echo, or its first `steps` steps, of a forward pass with these outputs."""
        words = host_frames(self.program, x)
        writes: Writes = ()
        if is_classification(self.program):
            error, _ = error_words(self.program, outputs, label)
            writes = self._writes("error", error)
            frames, _ = echo_frames(self.program, words, None, np.zeros(0), 1)
        else:
            predictions = to_real(outputs, output_type(self.program).q)
            targets = np.asarray(label, np.float64)
            frames, _ = echo_frames(
                self.program, words, targets, predictions, self.artifact.output_step
            )
        stacked = np.ascontiguousarray(np.concatenate(list(frames.values()), axis=1)[:steps])
        reads = (
            *self._reads(Space.VECTOR, self.echo_states),
            *self._reads(Space.GRADIENT, self.sums),
        )
        return PassRequest("echo", stacked, {}, writes, reads, 0)

    def result(self, forward: PassResult, echo: PassResult | None, exponent: Words) -> RunResult:
        """A sequence's integers; `exponent` is the gradients', which the host knows."""
        outputs = forward.outputs
        if not is_classification(self.program):
            outputs = outputs.reshape(-1, output_type(self.program).size)
        states = self._values(self.states, iter(forward.reads))
        flags, zero = np.asarray(forward.flags, np.int64), np.zeros((), np.int64)
        if echo is None:
            return RunResult(outputs, states, flags, {}, {}, zero, zero)
        words = iter(echo.reads)
        echo_states = self._values(self.echo_states, words)
        sums = self._values(self.sums, words)
        echo_flags = np.asarray(echo.flags, np.int64)
        return RunResult(outputs, states, flags, sums, echo_states, echo_flags, exponent)

    def _place(self, name: str) -> Place:
        return self.at.states.get(name) or self.at.vectors.places[name]

    def _writes(self, name: str, words: Words) -> Writes:
        return tuple(
            (Space.VECTOR, lane, address, int(words[index]))
            for index, lane, address in self._place(name).elements(self.at.lanes)
        )

    def _reads(self, space: Space, places: Places) -> Iterable[tuple[Space, int, int]]:
        for place in places.values():
            for _, lane, address in place.elements(self.at.lanes):
                yield space, lane, address

    def _values(self, places: Places, words: Iterator[int]) -> dict[str, Words]:
        """Values by name out of the words of `_reads`."""
        values = {}
        for name, place in places.items():
            flat = np.empty(place.rows * place.columns, np.int64)
            for index, _, _ in place.elements(self.at.lanes):
                flat[index] = next(words)
            values[name] = flat.reshape(self.shapes.get(name, flat.shape))
        return values
