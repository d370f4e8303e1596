"""What a level of `el.verify` is: another way of running a program, held against NumPy's integers.

To add one: write a file with a function like those in `level_jax.py`, `level_rtl.py` and
`level_onnx.py`, and give it a name in `verify.LEVELS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.engine.requests import PassResult
from echoloom.backends.run.integers import Floats, Words
from echoloom.ir.carried import Carried
from echoloom.ir.contract import Image
from echoloom.ir.host import RunResult
from echoloom.sim.first_difference import Difference
from echoloom.sim.run_rtl import Simulator, Wrapper

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Case:
    """One sequence: samples x [T, inputs], a label or targets (None: forward only), what the NumPy
    level made of it, and what it began with (None: rest)."""

    x: Floats
    label: Any
    expected: RunResult
    carried: Carried | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """What a level is to run. The settings are `verify`'s; each level looks at its own."""

    program: CompiledProgram
    cases: tuple[Case, ...]
    simulator: Simulator = "verilator"
    stall_seed: int | None = None
    image: Image | None = None
    wrapper: Wrapper | None = None
    onnx: str | os.PathLike[str] | None = None
    progress: Progress = lambda message: None
    port: str | None = None

    @property
    def loaded(self) -> Image:
        """What engines are loaded with."""
        return self.program.image if self.image is None else self.image


@dataclass(frozen=True)
class Reals:
    """Real numbers that a level has held against JAX's, and their worst relative error."""

    what: str
    compared: int
    worst: float


@dataclass(frozen=True, eq=False)
class Run:
    """What a level made of one case.

    `expected` and `actual` are integers by name, in the order in which they are computed. Should
    they differ, `locate` finds the first value on the way that does, where it can. `passes` are
    those whose clock cycles the level counts, by name; `reals` what it compared by itself.
    """

    case: Case
    expected: Mapping[str, Words] = field(default_factory=dict)
    actual: Mapping[str, Words] = field(default_factory=dict)
    locate: Callable[[], Difference | None] = lambda: None
    passes: Mapping[str, PassResult] = field(default_factory=dict)
    reals: Reals | None = None


Level = Callable[[Job], Iterator[Run]]
"""Runs a job's cases one after the other. Raises Mismatch for what it compares by itself,
SimulationError where it gives no result, ToolMissing without the packages that it needs."""
