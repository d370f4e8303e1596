"""Sequences through the engine's RTL, as the same RunResults as the other levels.

Echo requests need the forward pass's outputs (the loss error is the host's), so a batch runs as
two simulations of the same engine: forward passes alone, then forward and echo pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from echoloom.ir.objective import length_words
from echoloom.ir.passes.layout import Place
from echoloom.sim.requests import PassRequest, PassResult
from echoloom.sim.run_rtl import Simulator, Wrapper, run_rtl


@dataclass(frozen=True, eq=False)
class RtlRun:
    """One sequence's integers and the engine's own counters (echo: None without a label)."""

    result: RunResult
    forward: PassResult
    echo: PassResult | None


def rtl_runs(
    artifact: Artifact,
    image: Image,
    xs: Sequence[Floats],
    labels: Sequence[Any] | None,
    simulator: Simulator = "verilator",
    stall_seed: int | None = None,
    trace: bool = False,
    wrapper: Wrapper | None = None,
    outputs: Sequence[Words] | None = None,
) -> list[RtlRun]:
    """Run xs (each [T, inputs]) back to back; labels[i] (None: forward only) adds an echo.

    `outputs` are the forward outputs that the host computes errors from, where they are already
    known; otherwise a first simulation finds them.
    """
    labels = [None] * len(xs) if labels is None else list(labels)
    host = _Host(artifact, image)
    if outputs is None and any(label is not None for label in labels):
        first = run_rtl(image, [host.forward(x) for x in xs], simulator, wrapper=wrapper)
        outputs = [host.outputs(r, x) for r, x in zip(first, xs, strict=True)]
    passes: list[PassRequest] = []
    exponents: list[Words] = []
    for index, (x, label) in enumerate(zip(xs, labels, strict=True)):
        passes.append(host.forward(x))
        if label is not None:
            assert outputs is not None
            request, exponent = host.echo(x, label, outputs[index])
            passes.append(request)
            exponents.append(exponent)
    results = iter(run_rtl(image, passes, simulator, stall_seed, trace, wrapper=wrapper))
    scale = iter(exponents)
    runs = []
    for x, label in zip(xs, labels, strict=True):
        forward = next(results)
        echo = next(results) if label is not None else None
        runs.append(host.collect(x, forward, echo, next(scale) if echo else None))
    return runs


def rtl_echo_prefix(
    artifact: Artifact,
    image: Image,
    x: Floats,
    label: Any,
    outputs: Words,
    steps: int,
    simulator: Simulator,
    wrapper: Wrapper | None = None,
) -> dict[str, Words]:
    """Gradient words after the first `steps` steps of an echo."""
    host = _Host(artifact, image)
    echo, exponent = host.echo(x, label, outputs)
    echo = replace(echo, frames=echo.frames[:steps])
    results = run_rtl(image, [host.forward(x), echo], simulator, wrapper=wrapper)
    forward, after = results
    return dict(host.collect(x, forward, after, exponent).result.gradients)


class _Host:
    """Knows where a program's values are on the engine."""

    def __init__(self, artifact: Artifact, image: Image):
        self.artifact, self.image = artifact, image
        self.program, self.at = artifact.program, artifact.mapped.allocation
        self.types = input_types(self.program)
        self.states = forward_states(self.program)
        self.echo_states = tuple(d.name for d in self.program.states if "." in d.name)
        self.gradients = tuple(a for a in self.program.accumulators if a.target)

    def forward(self, x: Floats) -> PassRequest:
        shift, inverse = length_words(len(x))
        words = host_frames(self.program, x)
        frames = np.zeros((len(x), self.image.frame), np.int64)
        frames[:, : words.shape[1]] = words
        writes: tuple[tuple[Space, int, int, int], ...] = ()
        count = output_type(self.program).size
        outputs = count * (len(x) // self.artifact.output_step)
        registers = {Register.SHIFT_LENGTH: shift, Register.OUTPUT_STEP: self.artifact.output_step}
        if is_classification(self.program):
            word = to_words([inverse], self.types["inverse_length"].q, "1/T")
            writes = tuple(self._writes("inverse_length", word))
            outputs = count
            registers[Register.OUTPUT_STEP] = 1
        reads = tuple(self._vector_reads(self.states))
        return PassRequest("forward", frames, registers, writes, reads, outputs)

    def echo(self, x: Floats, label: Any, outputs: Words) -> tuple[PassRequest, Words]:
        words = host_frames(self.program, x)
        writes: tuple[tuple[Space, int, int, int], ...] = ()
        if is_classification(self.program):
            error, exponent = error_words(self.program, outputs, label)
            writes = tuple(self._writes("error", error))
            frames, _ = echo_frames(self.program, words, None, np.zeros(0), 1)
        else:
            predictions = to_real(outputs, output_type(self.program).q)
            targets = np.asarray(label, np.float64)
            frames, exponent = echo_frames(
                self.program, words, targets, predictions, self.artifact.output_step
            )
        stacked = np.ascontiguousarray(np.concatenate(list(frames.values()), axis=1))
        reads = tuple(self._vector_reads(self.echo_states)) + tuple(self._gradient_reads())
        return PassRequest("echo", stacked, {}, writes, reads, 0), exponent

    def outputs(self, result: PassResult, x: Floats) -> Words:
        if is_classification(self.program):
            return result.outputs
        return result.outputs.reshape(-1, output_type(self.program).size)

    def collect(
        self, x: Floats, forward: PassResult, echo: PassResult | None, exponent: Words | None
    ) -> RtlRun:
        states = self._vectors(self.states, forward.reads)
        outputs = self.outputs(forward, x)
        flags = np.asarray(forward.flags, np.int64)
        zero = np.zeros((), np.int64)
        if echo is None or exponent is None:
            result = RunResult(outputs, states, flags, {}, {}, zero, zero)
            return RtlRun(result, forward, None)
        echo_states = self._vectors(self.echo_states, echo.reads)
        offset = sum(v.size for v in echo_states.values())
        gradients = {}
        for accumulator in self.gradients:
            place = self.at.gradient.places[accumulator.name]
            count = place.rows * place.columns
            words = echo.reads[offset : offset + count]
            offset += count
            flat = np.empty(count, np.int64)
            for word, (index, _, _) in zip(words, place.elements(self.at.lanes), strict=True):
                flat[index] = word
            gradients[accumulator.name] = flat.reshape(accumulator.type.shape)
        echo_flags = np.asarray(echo.flags, np.int64)
        result = RunResult(outputs, states, flags, gradients, echo_states, echo_flags, exponent)
        return RtlRun(result, forward, echo)

    def _place(self, name: str) -> Place:
        return self.at.states.get(name) or self.at.vectors.places[name]

    def _writes(self, name: str, words: Words) -> Iterable[tuple[Space, int, int, int]]:
        for index, lane, address in self._place(name).elements(self.at.lanes):
            yield Space.VECTOR, lane, address, int(words[index])

    def _vector_reads(self, names: Iterable[str]) -> Iterable[tuple[Space, int, int]]:
        for name in names:
            for _, lane, address in self._place(name).elements(self.at.lanes):
                yield Space.VECTOR, lane, address

    def _gradient_reads(self) -> Iterable[tuple[Space, int, int]]:
        for accumulator in self.gradients:
            place = self.at.gradient.places[accumulator.name]
            for _, lane, address in place.elements(self.at.lanes):
                yield Space.GRADIENT, lane, address

    def _vectors(self, names: Iterable[str], words: Words) -> dict[str, Words]:
        values, offset = {}, 0
        for name in names:
            size = self._place(name).rows
            values[name] = words[offset : offset + size]
            offset += size
        return values
