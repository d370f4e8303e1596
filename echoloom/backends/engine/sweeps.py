"""A sweep as a pass on the engine: a program's values are words of the engine's memories."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echoloom.backends.engine.requests import PassRequest, PassResult
from echoloom.backends.run.integers import Words, output_type
from echoloom.backends.run.levels import Artifact
from echoloom.ir.contract import Image, Register, Space
from echoloom.ir.host import Sweep, Swept
from echoloom.ir.passes.layout import Place
from echoloom.ir.sections import FORWARD, STEPS


def pass_request(artifact: Artifact, image: Image, sweep: Sweep) -> PassRequest:
    """The pass that makes a sweep of one sequence."""
    (step,) = (section for section in sweep.sections if section in STEPS)
    body = artifact.program.body(step)
    rows = np.concatenate([sweep.frames[d.name] for d in body.frame], axis=1)
    frames = np.zeros((sweep.length, image.frame), np.int64)
    frames[:, : rows.shape[1]] = rows
    writes = tuple(
        (Space.VECTOR, lane, address, int(words[index]))
        for name, words in sweep.runtime.items()
        for index, lane, address in _elements(artifact, _vector(artifact, name))
    )
    reads = tuple(
        (space, lane, address)
        for _, space, place in _read(artifact, sweep)
        for _, lane, address in _elements(artifact, place)
    )
    return PassRequest(
        "forward" if sweep.sections == FORWARD else "echo",
        frames,
        {Register.SHIFT_LENGTH: sweep.shift, Register.OUTPUT_STEP: sweep.every},
        writes,
        reads,
        sweep.rows * output_type(artifact.program).size,
    )


def swept(artifact: Artifact, sweep: Sweep, found: PassResult) -> Swept:
    """What the pass of a sweep gave."""
    shapes = {a.name: a.type.shape for a in artifact.program.accumulators}
    words = iter(found.reads)
    states: dict[str, Words] = {}
    sums: dict[str, Words] = {}
    for name, space, place in _read(artifact, sweep):
        flat = np.empty(place.rows * place.columns, np.int64)
        for index, _, _ in _elements(artifact, place):
            flat[index] = next(words)
        if space is Space.VECTOR:
            states[name] = flat
        else:
            sums[name] = flat.reshape(shapes[name])
    outputs = found.outputs.reshape(sweep.rows, -1) if sweep.rows else None
    return Swept(outputs, states, sums, np.asarray(found.flags, np.int64))


def _read(artifact: Artifact, sweep: Sweep) -> Iterator[tuple[str, Space, Place]]:
    """What to read after a sweep: names, and where they are."""
    for name in sweep.states:
        yield name, Space.VECTOR, _vector(artifact, name)
    for name in sweep.sums:
        yield name, Space.GRADIENT, artifact.mapped.allocation.gradient.places[name]


def _vector(artifact: Artifact, name: str) -> Place:
    at = artifact.mapped.allocation
    return at.states.get(name) or at.vectors.places[name]


def _elements(artifact: Artifact, place: Place) -> Iterator[tuple[int, int, int]]:
    return place.elements(artifact.mapped.config.lanes)
