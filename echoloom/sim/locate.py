"""After a mismatch: replays one sequence with every stored word recorded, and finds the first.

A stored word is named by the IR value it is; gradient words leave no trace, so their first wrong
step is found by echoes of growing length.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.levels import Artifact, numpy_run
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.ir.contract import Image
from echoloom.ir.sections import Section
from echoloom.sim.first_difference import Difference, lowest_bit, split_name
from echoloom.sim.level_rtl import rtl_echo_prefix, rtl_runs
from echoloom.sim.run_rtl import Simulator, Wrapper

Trace = dict[tuple[Section, int, str], Words]


def numpy_trace(artifact: Artifact, x: Floats, label: Any) -> Trace:
    """Every value of a NumPy run, in order of computation."""
    trace: Trace = {}

    def observe(section: Section, iteration: int, name: str, value: Words) -> None:
        trace[section, iteration, name] = value

    numpy_run(artifact, x, label, observe)
    return trace


def _difference(
    level: str, section: Section, step: int, name: str, expected: Words, actual: Words
) -> Difference | None:
    expected, actual = np.broadcast_arrays(expected, actual)
    unequal = np.asarray(expected != actual)
    if not unequal.any():
        return None
    element = tuple(int(i) for i in np.unravel_index(int(unequal.argmax()), unequal.shape))
    a, b = int(expected[element]), int(actual[element])
    block, signal = split_name(name)
    where = f"{signal} ({section.name.lower()})"
    return Difference(level, step, block, where, element, lowest_bit(a, b), a, b)


def locate_jax(artifact: Artifact, x: Floats, label: Any) -> Difference | None:
    """First value of the JAX level that differs from the NumPy level, step by step."""
    wanted = numpy_trace(artifact, x, label)
    for (section, step, name), actual in JaxRunner(artifact).trace(x, label):
        if (section, step, name) not in wanted:
            continue
        found = _difference("jax", section, step, name, wanted[section, step, name], actual)
        if found is not None:
            return found
    return None


def locate_rtl(
    artifact: Artifact,
    image: Image,
    x: Floats,
    label: Any,
    outputs: Words,
    simulator: Simulator,
    wrapper: Wrapper | None,
) -> Difference | None:
    """First stored word, or else first gradient step, of the RTL that differs from NumPy."""
    wanted = numpy_trace(artifact, x, label)
    (run,) = rtl_runs(
        artifact, image, [x], [label], simulator, trace=True, wrapper=wrapper,
        outputs=None if label is None else [outputs],
    )  # fmt: skip
    writes = (*run.forward.trace, *(run.echo.trace if run.echo is not None else ()))
    found = _first_write(artifact, wanted, writes)
    if found is None and label is not None:
        found = _first_gradient_step(artifact, image, x, label, outputs, simulator, wrapper)
    return found


def _first_write(artifact: Artifact, wanted: Trace, writes: Any) -> Difference | None:
    names = _names(artifact)
    program, at = artifact.program, artifact.mapped.allocation
    for write in writes:
        section = Section(write.section)
        if (section, write.address) not in names:
            return Difference(
                "rtl", write.iteration, "", f"vector word {write.address}", (write.lane,), None,
                "no write", write.value,
            )  # fmt: skip
        name, group = names[section, write.address]
        element = group * at.lanes + write.lane
        value = dict(program.body(section).updates)[name[:-1]] if name.endswith("'") else name
        expected = wanted.get((section, write.iteration, value))
        if expected is None:
            continue
        flat = np.broadcast_to(expected, (at.vector(section, name.rstrip("'")).rows,))
        if element < flat.size and int(flat[element]) != write.value:
            block, signal = split_name(name)
            word = int(flat[element])
            return Difference(
                "rtl", write.iteration, block, f"{signal} ({section.name.lower()})", (element,),
                lowest_bit(word, write.value), word, write.value,
            )  # fmt: skip
    return None


def _names(artifact: Artifact) -> dict[tuple[Section, int], tuple[str, int]]:
    """Which value and row group a vector-memory address is, in every section."""
    names = {}
    for section, plan in artifact.mapped.schedules.items():
        for (value, group), entry in zip(plan.labels, plan.drain, strict=True):
            names[section, entry.destination] = (value, group)
    return names


def _first_gradient_step(
    artifact: Artifact,
    image: Image,
    x: Floats,
    label: Any,
    outputs: Words,
    simulator: Simulator,
    wrapper: Wrapper | None,
) -> Difference | None:
    """Bisects the number of echo steps after which a gradient word is wrong."""

    def wrong(steps: int) -> Difference | None:
        wanted = numpy_run(artifact, x, label, echo_steps=steps).gradients
        found = rtl_echo_prefix(artifact, image, x, label, outputs, steps, simulator, wrapper)
        for name, words in wanted.items():
            difference = _difference("rtl", Section.ECHO_STEP, steps - 1, name, words, found[name])
            if difference is not None:
                return difference
        return None

    low, high = 0, len(x)
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
