"""Between real numbers and a quantised program's words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.formats import Q, Type, largest
from echoloom.ir.host import Host
from echoloom.ir.program import Program

Words = NDArray[np.int64]
Floats = NDArray[np.float64]

OF_MANY = {"x": "a sample", "target": "a target"}


class InputRange(ValueError):
    """A sample or target is outside the range that the program was calibrated for."""


def to_words(values: Any, q: Q, what: str) -> Words:
    """Round to q's words; InputRange when a value does not fit, of a vector's values the one that
    is farthest out."""
    values = np.asarray(values, np.float64)
    words = np.rint(values * 2.0**q.grid)
    limit = largest(q.width)
    if np.any(np.abs(words) > limit):
        worst = np.unravel_index(np.argmax(np.abs(words)), words.shape)
        channel = f"channel {worst[-1]} of " if q.per_element else ""
        held = limit * 2.0 ** -np.broadcast_to(q.grid, words.shape)[worst]
        raise InputRange(
            f"{channel}{what} reaches {abs(values[worst]):.6g}, but this program holds at most "
            f"{held:.6g}{' there' if channel else ''}; compile with samples that cover the range"
        )
    return words.astype(np.int64)


def to_real(words: Any, q: Q) -> Floats:
    """float64 view of words."""
    return np.asarray(words, np.float64) * 2.0**-q.grid


def input_types(program: Program) -> dict[str, Type]:
    """Types of everything the host sends: frames and runtime values."""
    types = {d.name: d.type for b in program.bodies for d in b.frame}
    return types | {d.name: d.type for d in program.runtime}


def output_type(program: Program) -> Type:
    """Type of the words the program emits."""
    emitted = [program.types(b)[v] for b in program.bodies for v in b.emits]
    if len(emitted) != 1:
        raise ValueError(f"a program emits one value, this one {len(emitted)}")
    return emitted[0]


def host_of(program: Program, output_step: int) -> Host:
    """The host of a quantised program, who sends and reads words.

    Its sweeps raise InputRange for what does not fit; a batch's samples are not called x, which is
    one sequence.
    """
    types, emitted = input_types(program), output_type(program)

    def encode(name: str, values: Any) -> Words:
        many = np.ndim(values) > 2
        return to_words(values, types[name].q, OF_MANY.get(name, name) if many else name)

    return Host(program, output_step, encode, lambda words: to_real(words, emitted.q))
