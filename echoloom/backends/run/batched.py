"""A batch's integers, by the level that has them sooner."""

from __future__ import annotations

import math
from typing import Any

from echoloom.backends.run.integers import Floats
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.ir.host import RunResult

# Numbers in a batch for which JAX compiles longer than NumPy runs: sequences times steps times
# words of a step.
FEW = 1 << 26


def batch_run(integer: IntegerProgram, X: Floats, y: Any) -> RunResult:
    """All integers of X [n, T, inputs] with labels or targets y: under NumPy, or under JAX."""
    words = sum(math.prod(i.type.shape) for b in integer.program.bodies for i in b.instrs)
    if X.shape[0] * X.shape[1] * words < FEW:
        return numpy_run(integer, X, y, machine=StagedNumpyMachine)
    return JaxRunner(integer).run(X, y)
