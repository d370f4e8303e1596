"""Which level runs something: NumPy's what is short, JAX, which has to compile first, what is long.

Either gives the same integers, and ranges of which the same formats come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echoloom.backends.run.integers import Floats
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.backends.run.real_jax import JaxRealMachine, compiled
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.ir.distribute import stages
from echoloom.ir.host import RunResult
from echoloom.ir.interpret import Machine
from echoloom.ir.ops import Op
from echoloom.ir.passes.calibrate import interpreted
from echoloom.ir.passes.recorder import Recorder
from echoloom.ir.program import Program
from echoloom.ir.real import REAL_RULES
from echoloom.ir.sections import STEPS
from echoloom.ir.staged import StagedMachine

# NumPy's seconds for an operation of a recurrence at one step, and for a number that an operation
# makes; how long a run has to be before compiling takes less. Integers, whose sums are watched step
# by step, take five times as long, and two and a half times as long to compile.
OPERATION, NUMBER, WORTH, INTEGERS = 2e-6, 1.6e-8, 2.0, 2.0


def numpy_time(program: Program, steps: int, sequences: int) -> float:
    """About how many seconds NumPy needs for a real program's forward sweep and echo. It is counted
    and not measured, so that nothing depends on the moment."""
    seconds = 0.0
    for section in STEPS:
        body = program.body(section)
        recurrent = sum(len(stage.recurrent) for stage in stages(body))
        numbers = sequences * sum(i.type.size for i in body.instrs if i.op is not Op.OUTER)
        seconds += steps * (recurrent * OPERATION + numbers * NUMBER)
    return seconds


def recording(program: Program, coefficients: Mapping[str, Floats], recorder: Recorder) -> Machine:
    """What `ir.passes.calibrate.measure` takes."""
    long = numpy_time(program, recorder.length, recorder.count) >= WORTH
    return (compiled if long else interpreted)(program, coefficients, recorder)


def real_machine(
    program: Program, coefficients: Mapping[str, Floats], samples: Floats
) -> StagedMachine:
    """A machine of real numbers for samples [n, T, inputs]."""
    long = numpy_time(program, samples.shape[1], len(samples)) >= WORTH
    return (JaxRealMachine if long else StagedMachine)(program, REAL_RULES, dict(coefficients))


def integer_run(program: IntegerProgram, samples: Floats, labels: Any) -> RunResult:
    """Forward sweep and echo of samples [n, T, inputs] with their labels or targets."""
    if INTEGERS * numpy_time(program.program, samples.shape[1], len(samples)) >= WORTH:
        return JaxRunner(program).run(samples, labels)
    return numpy_run(program, samples, labels, machine=StagedNumpyMachine)
