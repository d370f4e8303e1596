"""Integer results that every level reports in the same form, and the words a host sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.flags import Flag
from echoloom.ir.formats import Q, Type, largest
from echoloom.ir.program import Program
from echoloom.ir.session import normalised_error, softmax_error

Words = NDArray[np.int64]
Floats = NDArray[np.float64]

FAILURES = Flag.STATE | Flag.ACCUMULATOR


class InputRange(ValueError):
    """A sample or target is outside the range that the program was calibrated for."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """One sequence (or a batch, with leading axes): all integers.

    outputs: logits [outputs] or predictions [T', outputs]; states: final q and p of every block
    after the forward pass; gradients, echo_states: every accumulator and every state after the
    echo, empty without a label; exponent: gradients are to be multiplied by 2**exponent.
    flags: Flag bits of the forward pass and of the echo.
    """

    outputs: Words
    states: Mapping[str, Words]
    forward_flags: Words
    gradients: Mapping[str, Words]
    echo_states: Mapping[str, Words]
    echo_flags: Words
    exponent: Words

    @property
    def overflow(self) -> bool:
        """Whether anything on the state path or an accumulator overflowed."""
        return bool(np.any((self.forward_flags | self.echo_flags) & FAILURES))

    @property
    def saturated(self) -> bool:
        """Whether a feed-forward word or an error was clamped to its range."""
        return bool(np.any((self.forward_flags | self.echo_flags) & Flag.SATURATED))

    def named(self) -> dict[str, Words]:
        """Everything under one name each, in the order in which it is computed."""
        named = {f"state {k}": v for k, v in self.states.items()}
        named["outputs"] = self.outputs
        named["forward flags"] = self.forward_flags
        named |= {f"echo state {k}": v for k, v in self.echo_states.items()}
        named |= {f"gradient {k}": v for k, v in self.gradients.items()}
        named["echo flags"] = self.echo_flags
        return named


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


def is_classification(program: Program) -> bool:
    return any(d.name == "error" for d in program.runtime)


def error_words(program: Program, outputs: Words, label: Any) -> tuple[Words, Words]:
    """The normalised softmax - one-hot of logit words [..., outputs], as words; its exponent."""
    logits = to_real(outputs, output_type(program).q)
    error, exponent = normalised_error(softmax_error(logits, np.asarray(label)))
    return to_words(error, input_types(program)["error"].q, "the error"), exponent


def forward_states(program: Program) -> tuple[str, ...]:
    return tuple(d.name for d in program.states if ".free." in d.name)
