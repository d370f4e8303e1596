"""A sweep as a pass on the engine: a program's values are words of the engine's memories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from echoloom.backends.engine.requests import KINDS, PassRequest, PassResult
from echoloom.backends.run.integers import Words, output_type
from echoloom.backends.run.levels import Artifact
from echoloom.ir.contract import Image, Register, Space
from echoloom.ir.host import Sweep, Swept
from echoloom.ir.passes.layout import Place
from echoloom.ir.sections import ECHO, STEPS

Held = Mapping[str, Words]
"""Words that an engine is known to have, by the names of states and sums."""


def pass_request(
    artifact: Artifact, image: Image, sweep: Sweep, held: Held = MappingProxyType({})
) -> PassRequest:
    """The pass that makes a sweep of one sequence. What is carried into it is written where the
    engine does not hold it."""
    (step,) = (section for section in sweep.sections if section in STEPS)
    body = artifact.program.body(step)
    rows = np.concatenate([sweep.frames[d.name] for d in body.frame], axis=1)
    frames = np.zeros((sweep.length, image.frame), np.int64)
    frames[:, : rows.shape[1]] = rows
    carried = {} if sweep.carried is None else sweep.carried.words
    missing = {n: w for n, w in carried.items() if not np.array_equal(w, held.get(n, ()))}
    writes = tuple(
        (space, lane, address, int(words.flat[index]))
        for name, words in {**sweep.runtime, **missing}.items()
        for space, place in [_place(artifact, name)]
        for index, lane, address in _elements(artifact, place)
    )
    reads = tuple(
        (space, lane, address)
        for _, space, place in _read(artifact, sweep)
        for _, lane, address in _elements(artifact, place)
    )
    return PassRequest(
        "add" if sweep.adds else KINDS[sweep.sections],
        frames,
        {
            Register.SHIFT_LENGTH: sweep.shift,
            Register.OUTPUT_STEP: sweep.every,
            Register.OUTPUT_PHASE: sweep.phase,
        },
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
    for name in (*sweep.states, *sweep.sums):
        yield name, *_place(artifact, name)


def _place(artifact: Artifact, name: str) -> tuple[Space, Place]:
    at = artifact.mapped.allocation
    if name in at.gradient.places:
        return Space.GRADIENT, at.gradient.places[name]
    return Space.VECTOR, at.states.get(name) or at.vectors.places[name]


def held_after(held: Held, sweep: Sweep, found: Swept) -> Held:
    """What an engine holds after a sweep: an echo leaves what it does not move."""
    kept = held if sweep.sections == ECHO else {}
    return {**kept, **found.states, **found.sums}


def _elements(artifact: Artifact, place: Place) -> Iterator[tuple[int, int, int]]:
    return place.elements(artifact.mapped.config.lanes)
