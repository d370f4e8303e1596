"""The level "jax": the engine that training runs on, each case by itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from echoloom.backends.run.integers import Floats
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.sim.first_difference import Difference
from echoloom.sim.level import Job, Run
from echoloom.sim.locate import first_value, numpy_trace


def jax_level(job: Job) -> Iterator[Run]:
    job.progress("jax: compiling and running")
    runner = JaxRunner(job.program.artifact)
    for case in job.cases:
        found = runner.run(case.x, case.label)
        locate = partial(_locate, runner, case.x, case.label)
        yield Run(case, case.expected.named(), found.named(), locate)


def _locate(runner: JaxRunner, x: Floats, label: Any) -> Difference | None:
    wanted = numpy_trace(runner.artifact, x, label)
    return first_value("jax", wanted, runner.trace(x, label))
