"""Integer programs, and their runs through the NumPy level.

`Artifact` is everything the integer levels need and nothing else: no model, no floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from echoloom.backends.run.integers import Floats, Words, host_of
from echoloom.backends.run.run_numpy import NumpyMachine
from echoloom.ir.carried import Carried
from echoloom.ir.host import Host, RunResult, run
from echoloom.ir.interpret import Observer
from echoloom.ir.learning import Learning
from echoloom.ir.passes.image import Mapped
from echoloom.ir.passes.proofs import Bounds, bounds
from echoloom.ir.program import Program
from echoloom.ir.tables import TableContents


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """A quantised program with its coefficient words and tables; `learning` says what of it a board
    updates by itself."""

    program: Program
    coefficients: Mapping[str, Words]
    tables: Mapping[str, TableContents]
    output_step: int
    learning: Learning | None = field(default=None, kw_only=True)

    @property
    def host(self) -> Host:
        """Writes the sweeps of its runs."""
        return host_of(self.program, self.output_step)

    def bounds(self, steps: int) -> Bounds:
        """How large every word can get in sequences of up to so many steps, which begin at rest,
        whatever the inputs are that their formats hold."""
        learned = frozenset(t.name for t in self.learning.tensors) if self.learning else frozenset()
        return bounds(self.program, self.coefficients, self.tables, steps, learned)


@dataclass(frozen=True, eq=False)
class Artifact(IntegerProgram):
    """An integer program placed on an engine."""

    mapped: Mapped


def numpy_run(
    artifact: IntegerProgram,
    x: Floats,
    label: Any = None,
    observer: Observer | None = None,
    echo_steps: int | None = None,
    machine: type[NumpyMachine] = NumpyMachine,
    carried: Carried | None = None,
) -> RunResult:
    """x [..., T, inputs] through the NumPy level; with a label (or targets) also the echo.

    `echo_steps` stops the echo after so many steps. A StagedNumpyMachine gives the same integers
    in less time, for x [n, T, inputs]; only its observer sees things otherwise. All sequences go on
    from what is `carried`, from rest if None.
    """
    level = machine(artifact.program, artifact.coefficients, artifact.tables, observer)
    return run(artifact.host, level.sweep, x, label, echo_steps, carried=carried)
