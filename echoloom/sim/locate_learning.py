"""After a training has gone wrong inside a batch: which sequence, step and signal was it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.run.integers import Words
from echoloom.backends.run.learning_run import Lesson, Update, plan_of
from echoloom.backends.run.levels import numpy_run
from echoloom.ir.contract import Image
from echoloom.sim.first_difference import Difference
from echoloom.sim.level import Case, Job
from echoloom.sim.level_rtl import locate
from echoloom.sim.run_rtl import Simulator, Wrapper


def locate_in_batch(
    program: CompiledProgram,
    lesson: Lesson,
    expected: Sequence[Update],
    number: int,
    image: Image,
    simulator: Simulator,
    wrapper: Wrapper | None,
) -> Difference | None:
    """The first signal that differs when the sequences of update `number` run by themselves, on the
    weights that they met; None where they do not differ then."""
    before = expected[number - 1][1].weights if number else {}
    held = {**program.artifact.coefficients, **before}
    artifact = replace(program.artifact, coefficients=held)
    weighed = with_weights(program, image, held)
    job = Job(replace(program, artifact=artifact), (), simulator, image=weighed, wrapper=wrapper)
    for at in dict.fromkeys(lesson.order[number].tolist()):
        x, label = lesson.xs[at], lesson.labels[at]
        found = locate(job, Case(x, label, numpy_run(artifact, x, label)))
        if found is not None:
            return replace(found, update=number)
    return None


def with_weights(program: CompiledProgram, image: Image, words: Mapping[str, Words]) -> Image:
    """An image whose weights that learn are these words, all else as it is."""
    banks = [list(bank) for bank in image.weight]
    for t in plan_of(program.artifact).tensors:
        for index, lane, address in t.weight.elements(image.config.lanes):
            banks[lane][address] = int(words[t.name].flat[index])
    return replace(image, weight=tuple(map(tuple, banks)))
