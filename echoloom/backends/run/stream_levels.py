"""The levels that a stream may run at on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from echoloom.backends.run.levels import IntegerProgram
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.ir.host import Level


def _numpy(program: IntegerProgram) -> Level:
    return StagedNumpyMachine(program.program, program.coefficients, program.tables).sweep


def _jax(program: IntegerProgram) -> Level:
    return JaxRunner(program).sweep


LEVELS: Mapping[str, Callable[[IntegerProgram], Level]] = {"numpy": _numpy, "jax": _jax}


def stream_level(program: IntegerProgram, name: str) -> Level:
    """An `ir.host.Level` for sweeps that say what is carried into them. ValueError for a level that
    there is not."""
    if name not in LEVELS:
        raise ValueError(f"a stream's level is one of {', '.join(LEVELS)}, got {name!r}")
    return LEVELS[name](program)
