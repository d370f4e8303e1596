"""The level "rtl": the engine with the program's image, in a simulator or as its golden twin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from echoloom.backends.engine.requests import PassResult
from echoloom.backends.engine.sweeps import pass_request, swept
from echoloom.backends.run.levels import Artifact, numpy_run
from echoloom.hdl.pass_results import Write
from echoloom.ir.host import RunResult, Sweep
from echoloom.ir.sections import SWEPT, Section
from echoloom.sim.first_difference import Difference, signal_difference
from echoloom.sim.level import Case, Job, Run
from echoloom.sim.locate import Trace, numpy_trace
from echoloom.sim.run_rtl import run_rtl

LEVEL = "rtl"


def rtl_level(job: Job) -> Iterator[Run]:
    job.progress(f"rtl: building and running under {job.simulator}")
    for case, (result, passes) in zip(job.cases, _run(job, job.cases, job.stall_seed), strict=True):
        find = partial(locate, job, case)
        yield Run(case, case.expected.named(), result.named(), find, passes)


def _run(
    job: Job,
    cases: Sequence[Case],
    stall_seed: int | None = None,
    trace: bool = False,
    echo_steps: int | None = None,
) -> Iterator[tuple[RunResult, dict[str, PassResult]]]:
    """Cases back to back in one simulation, of echoes no more than the first `echo_steps` steps:
    every sequence's integers and passes."""
    artifact, host, image = job.program.artifact, job.program.artifact.host, job.loaded
    asked = [sweeps(job, case, echo_steps) for case in cases]
    passes = [pass_request(artifact, image, sweep) for own in asked for sweep in own.values()]
    results = iter(run_rtl(image, passes, job.simulator, stall_seed, trace, wrapper=job.wrapper))
    for own in asked:
        gave = {name: next(results) for name in own}
        found = {name: swept(artifact, own[name], one) for name, one in gave.items()}
        forward = next(iter(found.values()))
        yield host.result(forward, found.get("echo"), own.get("echo")), gave


def sweeps(job: Job, case: Case, echo_steps: int | None = None) -> dict[str, Sweep]:
    """The sweeps of a sequence by the names of their passes.

    An echo needs its forward pass's outputs before that has run, because the host makes the error
    of them: those of the NumPy level, which the pass has to equal.
    """
    host = job.program.artifact.host
    if case.carried is None:
        name, forward = "forward", host.forward(case.x)
    else:
        name, forward = "resume", host.resumed(case.x, case.carried)
    own = {name: forward}
    if case.label is not None:
        echo = host.echo(forward, case.expected.outputs, case.label)
        own["echo"] = echo if echo_steps is None else echo.first(echo_steps)
    return own


def locate(job: Job, case: Case) -> Difference | None:
    """The first stored word that differs from NumPy, or else the first gradient step."""
    artifact = job.program.artifact
    ((_, passes),) = _run(job, [case], trace=True)
    writes = (write for one in passes.values() for write in one.trace)
    trace = numpy_trace(artifact, case.x, case.label, case.carried)
    difference = _first_write(artifact, trace, writes)
    if difference is None and case.label is not None:
        difference = _first_gradient_step(job, case)
    return difference


def _first_write(artifact: Artifact, wanted: Trace, writes: Iterable[Write]) -> Difference | None:
    stored, at = _stored(artifact), artifact.mapped.allocation
    written = Counter[tuple[Section, int, int]]()
    for write in writes:
        section = write.section
        # A word has one writer a step. Iterations overlap: theirs is not the step's number.
        step = written[section, write.lane, write.address]
        written[section, write.lane, write.address] += 1
        if (section, write.address) not in stored:
            return Difference(
                LEVEL, step, "", f"vector word {write.address}", (write.lane,), None,
                "no write", write.value, section.name.lower(),
            )  # fmt: skip
        name, value, rows, group = stored[section, write.address]
        element = group * at.lanes + write.lane
        expected = wanted.get((section, step, value))
        if expected is None or element >= rows:
            continue
        words = np.broadcast_to(expected, (rows,))
        actual = words.copy()
        actual[element] = write.value
        found = signal_difference(LEVEL, name, words, actual, step, section.name.lower())
        if found is not None:
            return found
    return None


def _stored(artifact: Artifact) -> dict[tuple[Section, int], tuple[str, str, int, int]]:
    """What a word of vector memory is, in every section: the name of what is stored there, of the
    value that it gets, how many elements that has, and the row group."""
    stored = {}
    for section in SWEPT:
        plan = artifact.mapped.schedules[section]
        # A state that is not updated in place is copied; `lower` marks that word like this.
        updates = artifact.program.body(section).updates
        copies = {f"{state}'": (state, value) for state, value in updates}
        for (label, group), entry in zip(plan.labels, plan.drain, strict=True):
            name, value = copies.get(label, (label, label))
            rows = artifact.mapped.allocation.vector(section, name).rows
            stored[section, entry.destination] = label, value, rows, group
    return stored


def _first_gradient_step(job: Job, case: Case) -> Difference | None:
    """Gradient words leave no trace: bisects the number of echo steps after which one is wrong."""

    def wrong(steps: int) -> Difference | None:
        wanted = numpy_run(
            job.program.artifact, case.x, case.label, echo_steps=steps, carried=case.carried
        ).gradients
        ((found, _),) = _run(job, [case], echo_steps=steps)
        section = Section.ECHO_STEP.name.lower()
        for name, words in wanted.items():
            actual = found.gradients[name]
            difference = signal_difference(LEVEL, name, words, actual, steps - 1, section)
            if difference is not None:
                return difference
        return None

    low, high = 0, len(case.x)
    found = wrong(high)
    if found is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        earlier = wrong(middle)
        if earlier is None:
            low = middle
        else:
            high, found = middle, earlier
    return found
