"""The level "jax": the engine that training runs on, each case by itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from echoloom.backends.run.run_jax import JaxRunner
from echoloom.sim.first_difference import Difference
from echoloom.sim.level import Case, Job, Run
from echoloom.sim.locate import first_value, numpy_trace


def jax_level(job: Job) -> Iterator[Run]:
    job.progress("jax: compiling and running")
    runner = JaxRunner(job.program.artifact)
    for case in job.cases:
        found = runner.run(case.x, case.label, carried=case.carried)
        locate = partial(_locate, runner, case)
        yield Run(case, case.expected.named(), found.named(), locate)


def _locate(runner: JaxRunner, case: Case) -> Difference | None:
    given = case.x, case.label, case.carried
    return first_value("jax", numpy_trace(runner.artifact, *given), runner.trace(*given))
