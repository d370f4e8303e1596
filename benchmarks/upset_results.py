"""One sequence, forward and echo: what the host asks of an engine, and what the answers say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

import echoloom as el
from echoloom.backends.engine.requests import PassRequest, PassResult
from echoloom.backends.engine.sweeps import pass_request, swept
from echoloom.ir.host import FAILURES, RunResult, Sweep, Swept, forward_states

PASSES = 2  # the forward sweep and its echo


class Report(Enum):
    """Who says that something is wrong, the cheapest first."""

    ENDED = "pass ends wrong"
    FLAG = "flag"
    RETURN = "no return"
    CHECKSUM = "checksum"
    TWICE = "played twice"


@dataclass(frozen=True)
class Verdict:
    """What an upset did: whether it changed a result, and who would say so. Another play is only
    made where nobody else does. `read`: whether its word is read before it is written again, as far
    as that is known."""

    harmful: bool
    reports: frozenset[Report]
    read: bool = True


@dataclass(frozen=True, eq=False)
class Asked:
    """A pass that is asked for: the sweep that it is to make."""

    sweep: Sweep
    request: PassRequest


class Question:
    """A sequence of a program, from rest, and its label."""

    def __init__(self, program: el.CompiledProgram, x: Any, label: Any) -> None:
        self.image, self._artifact = program.image, program.artifact
        self._label = np.asarray(label)
        self._forward = self._artifact.host.forward(np.asarray(x, np.float64))
        self.samples: list[list[int]] = self._forward.frames["x"].tolist()

    def following(self, found: Sequence[Swept]) -> Asked:
        """The pass that is asked for after these."""
        host, sweep = self._artifact.host, self._forward
        if found:
            sweep = host.echo(sweep, host.outputs(found[0]), self._label)
        return Asked(sweep, pass_request(self._artifact, self.image, sweep))

    def answer(self, asked: Asked, found: PassResult) -> Swept:
        """What a pass has given."""
        return swept(self._artifact, asked.sweep, found)

    def result(self, found: Sequence[Swept], echo: Asked) -> RunResult:
        """All integers of both passes."""
        return self._artifact.host.result(found[0], found[1], echo.sweep)

    def reports(self, found: Sequence[Swept]) -> set[Report]:
        """Who says of two passes alone that something is wrong."""
        names = forward_states(self._artifact.program)
        back = not any(np.any(found[1].states[name]) for name in names)
        overflowed = int(found[0].flags | found[1].flags) & FAILURES
        said = {Report.FLAG: bool(overflowed), Report.RETURN: not back}
        return {report for report, wrong in said.items() if wrong}


def same(a: RunResult, b: RunResult) -> bool:
    """Whether all results are equal, whatever flags say."""
    one, other = a.named(), b.named()
    return all(np.array_equal(one[name], other[name]) for name in one if "flags" not in name)
