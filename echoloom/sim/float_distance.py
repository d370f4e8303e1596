"""How far a program's integers are from the float model, and how far their formats may put them.

Levels that agree on a wrong model agree. So outputs and gradients of the integers are held against
the float model itself and its gradient through time. The bound has two parts, both measured on the
program in real numbers: what rounding to its formats changes, on several grids
(`backends/shifted_grid.py`), and what its nudges change, against nudges a thousand times smaller.
It says nothing about sequences on which the program overflows, or has a course so chaotic that
rounding alone decides where it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.raw_gradients import raw_gradient
from echoloom.backends.run.integers import Floats, output_type, to_real
from echoloom.backends.run.shifted_grid import Grids, real_run
from echoloom.frontend.gradients.bptt import bptt_gradient, bptt_value_and_grad
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import float64
from echoloom.ir.host import RunResult
from echoloom.sim.level import Case

GRIDS = 4
SMALLER_NUDGE = 2.0**-10
# How much further out than the farthest of four the integers' own grid may lie. Over random models
# the bound is two to ten times the distance.
SPARE = 8.0
KEPT = 4096  # steps of which the float gradient keeps every activation; beyond, it remakes them
CHUNK = 256
FLOAT64 = 1e-9  # what float64 itself may be off, relative


class WrongModel(ArithmeticError):
    """The integers are further from the float model than their formats can put them."""


OUTPUTS = "the output"


@dataclass(frozen=True)
class Distance:
    """Of one result of one sequence: |integers - floats| / |floats| (Euclidean), and its bound."""

    what: str
    sequence: int
    relative: float
    bound: float

    @property
    def share(self) -> float:
        """How much of the bound is used; over 1 the formats do not explain it."""
        return self.relative / self.bound


@dataclass(frozen=True)
class FloatDistance:
    """The worst of all sequences: the farthest from the float model, and the nearest to its bound.

    `outputs` are logits or predictions, `gradient` the tensors of the raw parameters (None where no
    sequence echoes).
    """

    compared: int
    outputs: Distance
    gradient: Distance | None
    nearest: Distance


def float_distance(program: CompiledProgram, cases: Sequence[Case]) -> FloatDistance | None:
    """Distances of what the NumPy level made of `cases`.

    None where every sequence overflows. Raises WrongModel, which names the first result that no
    rounding explains.
    """
    found: list[Distance] = []
    with jax.enable_x64(True):
        for group in _groups(cases):
            found += _of_group(program, group)
    if not found:
        return None
    wrong = next((d for d in found if not d.share <= 1.0), None)
    if wrong is not None:
        raise WrongModel(
            f"{wrong.what} of sequence {wrong.sequence} is {wrong.relative:.2g} from the float "
            f"model, relative, where the program's formats and nudges explain {wrong.bound:.2g} at "
            "most: the program computes another model than the one it was compiled from"
        )
    outputs = [d for d in found if d.what == OUTPUTS]
    gradients = [d for d in found if d.what != OUTPUTS]
    return FloatDistance(
        len(found),
        max(outputs, key=lambda d: d.relative),
        max(gradients, key=lambda d: d.relative) if gradients else None,
        max(found, key=lambda d: d.share),
    )


def _groups(cases: Sequence[Case]) -> list[list[tuple[int, Case]]]:
    """Numbered cases that run together: of one length, with or without an echo, none overflowed."""
    groups: dict[tuple[int, bool], list[tuple[int, Case]]] = {}
    for i, case in enumerate(cases):
        if not case.expected.overflow:
            groups.setdefault((len(case.x), case.label is None), []).append((i, case))
    return list(groups.values())


def _of_group(program: CompiledProgram, group: Sequence[tuple[int, Case]]) -> list[Distance]:
    x = np.stack([case.x for _, case in group])
    echoes = group[0][1].label is not None
    y = np.stack([np.asarray(case.label) for _, case in group]) if echoes else None
    values = program.coefficient_values(program.model)
    exact = real_run(program.artifact, values, x, y)
    rounded = [
        real_run(program.artifact, values, x, y, Grids(np.random.default_rng(seed)))
        for seed in range(GRIDS)
    ]
    small = real_run(program.artifact, values, x, y, nudge=SMALLER_NUDGE)
    model = float64(program.model)
    q = output_type(program.ir).q
    found = []
    for row, (i, case) in enumerate(group):
        own = {OUTPUTS: to_real(case.expected.outputs, q)}
        floats = {OUTPUTS: np.asarray(model(jnp.asarray(x[row])))}
        references = _results(program, exact, row, x)
        others = [_results(program, run, row, x) for run in rounded]
        nudged = _results(program, small, row, x)
        if y is not None:
            own |= _tensors(program.raw_gradient(case.expected, x.shape[1]))
            floats |= _tensors(_gradient(model, x[row], y[row]))
        for what, wanted in floats.items():
            size = float(np.linalg.norm(wanted))
            rounding = max(_gap(o[what], references[what]) for o in others)
            bound = SPARE * (rounding + _gap(references[what], nudged[what])) + FLOAT64 * size
            gap = _gap(own[what], wanted)
            found.append(
                Distance(what, i, gap / (size or 1.0), (bound or FLOAT64) / (size or 1.0))
            )  # fmt: skip
    return found


def _results(program: CompiledProgram, run: RunResult, row: int, x: Floats) -> dict[str, Floats]:
    """Outputs and raw gradients of one sequence of a run."""
    found = {OUTPUTS: run.outputs[row]}
    if run.gradients:
        gradients = program.gradients_of_sums(
            {name: total[row] for name, total in run.gradients.items()},
            run.exponent[row],
            run.outputs[row].shape if run.outputs.ndim > 2 else (1, *run.outputs[row].shape),
            x.shape[1],
        )
        found |= _tensors(raw_gradient(program.folded, program.model, gradients))
    return found


def _gradient(model: HSSM, x: Floats, label: Any) -> HSSM:
    if len(x) <= KEPT:
        return bptt_gradient(model, jnp.asarray(x), label)
    through = bptt_value_and_grad(model, rematerialise=CHUNK)
    return through(model, x[None], np.asarray(label)[None])[1]


def _tensors(gradient: HSSM) -> dict[str, Floats]:
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(gradient, eqx.is_array))
    return {
        f"the gradient by {jax.tree_util.keystr(path).lstrip('.')}": np.asarray(leaf)
        for path, leaf in leaves
    }


def _gap(a: Floats, b: Floats) -> float:
    """Euclidean distance; infinite where a number is none."""
    gap = float(np.linalg.norm(np.asarray(a, np.float64) - b))
    return gap if np.isfinite(gap) else np.inf
