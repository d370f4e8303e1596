"""After a mismatch: every value of a run, by section, step and name, held against NumPy's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.ir.carried import Carried
from echoloom.ir.sections import Section
from echoloom.sim.first_difference import Difference, signal_difference

Key = tuple[Section, int, str]  # section, iteration, the IR value's name
Trace = dict[Key, Words]


def numpy_trace(
    artifact: IntegerProgram, x: Floats, label: Any, carried: Carried | None = None
) -> Trace:
    """Every value of a NumPy run, in order of computation."""
    trace: Trace = {}

    def observe(section: Section, iteration: int, name: str, value: Words) -> None:
        trace[section, iteration, name] = value

    numpy_run(artifact, x, label, observe, carried=carried)
    return trace


def first_value(level: str, wanted: Trace, found: Iterable[tuple[Key, Any]]) -> Difference | None:
    """The first of the values `found` at a level, in their order, that is not as `wanted`."""
    for key, actual in found:
        if key in wanted:
            section, step, name = key
            expected, actual = np.broadcast_arrays(wanted[key], actual)
            where = section.name.lower()
            difference = signal_difference(level, name, expected, actual, step, where)
            if difference is not None:
                return difference
    return None
