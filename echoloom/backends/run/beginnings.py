"""What a sequence begins with: rest, or states that are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from echoloom.backends.run.integers import output_type, to_words
from echoloom.backends.run.levels import IntegerProgram
from echoloom.backends.run.run_numpy import NumpyMachine
from echoloom.backends.run.stream_state import StreamState, check_state, digests
from echoloom.ir.carried import Carried, carried_types
from echoloom.ir.places import Coordinate, Copy, Letter
from echoloom.ir.sections import Section


def at_rest(program: IntegerProgram) -> Carried:
    """Where every sequence begins: what the forward prologue writes, and sums of nothing."""
    machine = NumpyMachine(program.program, program.coefficients, program.tables)
    machine.run(Section.FORWARD_PROLOGUE)
    states, sums = carried_types(program.program)
    words = {
        name: np.array(np.broadcast_to(machine.values.get(name, np.int64(0)), (d.size,)), np.int64)
        for name, d in states.items()
    }
    zeros = {name: np.zeros(d.shape or (1,), np.int64) for name, d in sums.items()}
    return Carried(0, words, zeros)


def begun_at(program: IntegerProgram, initial: Any) -> Carried:
    """What a sequence begins with that starts at q0 and p0: `initial` is a pair of real vectors for
    every block, or a StreamState, or None for rest. What is Carried is believed.

    Raises ValueError for other shapes, InputRange for what the formats do not hold, WrongState for
    another program's state.
    """
    if isinstance(initial, Carried):
        return initial
    if isinstance(initial, StreamState):
        check_state(program, initial)
        return initial.carried
    rest = at_rest(program)
    if initial is None:
        return rest
    at = program.program.coordinates()
    blocks = 1 + max(c.block for c in at)
    pairs = list(initial) if isinstance(initial, Sequence | np.ndarray) else [initial]
    if len(pairs) != blocks or any(not _is_pair(p) for p in pairs):
        raise ValueError(
            f"initial: there are {len(pairs)} entries, but a pair (q0, p0) for each of {blocks} "
            "blocks is needed"
        )
    types = {d.name: d.type for d in program.program.states}
    states = dict(rest.states)
    for block, pair in enumerate(pairs):
        for letter, name, values in zip(Letter, ("q0", "p0"), pair, strict=True):
            state = at[Coordinate(block, Copy.FREE, letter)]
            what, values = f"{name} of block {block}", np.asarray(values, np.float64)
            if values.shape != types[state].shape:
                raise ValueError(
                    f"initial: {what} has shape {list(values.shape)}, but "
                    f"{list(types[state].shape)} is needed"
                )
            if not np.isfinite(values).all():
                raise ValueError(f"initial: {what} must be finite")
            states[state] = to_words(values, types[state].q, what)
    return Carried(0, states, rest.sums)


def begun(program: IntegerProgram, initial: Any) -> StreamState:
    """The state of a stream that begins there: as `begun_at`, or with a StreamState just that."""
    if isinstance(initial, StreamState):
        check_state(program, initial)
        return initial
    inputs = next(d for d in program.program.body(Section.FORWARD_STEP).frame).type.size
    return StreamState(
        digests(program), begun_at(program, initial), np.zeros((0, inputs)),
        np.zeros((0, output_type(program.program).size), np.int64),
    )  # fmt: skip


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, Sequence | np.ndarray) and len(entry) == 2
