"""The float model against the integers: a wrong model is found, rounding is not taken for one."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import samples, target_of

import echoloom as el
from echoloom.ir.flags import Flag
from echoloom.ir.program import Accumulator
from echoloom.sim.float_distance import FloatDistance, float_distance
from echoloom.sim.level import Case

STEPS = 12


class Well(el.Hamiltonian):
    """A quartic well; `present` says which of its terms are there."""

    quadratic: jax.Array
    quartic: jax.Array
    drive: jax.Array
    present: tuple[bool, bool, bool] = eqx.field(static=True)

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        terms = (
            0.5 * jnp.sum(self.quadratic * q**2),
            0.2 * jnp.sum(self.quartic * q**4),
            -q @ (self.drive @ u),
        )
        zero = jnp.zeros(())
        return sum((t for t, there in zip(terms, self.present, strict=True) if there), zero)


def well(*present: Any) -> el.HSSM:
    random = np.random.default_rng(3)
    quadratic, quartic = (jnp.asarray(random.uniform(0.2, 1.0, 2)) for _ in range(2))
    unit = Well(quadratic, quartic, jnp.asarray(random.normal(size=(2, 3))), present)
    return el.HSSM(2, 2, 3, 2, 1, unit=unit, step=0.4, key=jax.random.key(1))


def distance(program: el.CompiledProgram, x: np.ndarray, labels: list[Any]) -> FloatDistance | None:
    cases = [
        Case(one, label, program.run(one, label)) for one, label in zip(x, labels, strict=True)
    ]
    return float_distance(program, cases)


@lru_cache(maxsize=1)
def compiled() -> tuple[el.CompiledProgram, np.ndarray]:
    model = well(True, True, True)
    x = samples(model, 3, STEPS)
    return el.compile(model, x, lanes=2), x


@pytest.mark.parametrize(
    "model",
    [
        el.HSSM(2, 2, 3, 2, 2, key=jax.random.key(0)),
        el.HSSM(2, 3, 3, 2, 1, unit="nonlinear", step=0.1, key=jax.random.key(1)),
        el.HSSM(
            2, 1, 3, 2, 1, complex=False, task="regression", output_step=3, integrator="imex",
            substeps=2, key=jax.random.key(2),
        ),
        well(True, True, True),
    ],
    ids=["linear", "nonlinear", "regression", "own"],
)  # fmt: skip
def test_rounding_stays_below_its_bound_and_not_far_below(model: el.HSSM) -> None:
    x = samples(model, 3, STEPS)
    found = distance(
        el.compile(model, x, lanes=2), x, [target_of(model, STEPS), None, target_of(model, STEPS)]
    )
    assert found is not None and found.gradient is not None
    parameters = len(jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    assert found.compared == 3 + 2 * parameters
    assert 0.0 < found.outputs.relative < 1e-3
    assert 0.02 < found.nearest.share < 0.7


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_dropped_term_of_the_energy_is_found(missing: int) -> None:
    """A program of a model without one term, said to be of the model with all of them."""
    present = [number != missing for number in range(3)]
    smaller = well(*present)
    x = samples(smaller, 2, STEPS)
    wrong = replace(el.compile(smaller, x, lanes=2), model=well(True, True, True))
    with pytest.raises(el.WrongModel, match=r"the output of sequence 0 is .* another model"):
        distance(wrong, x, [1, None])


@pytest.mark.core
@pytest.mark.parametrize("factor", [0.0, -1.0, 1.05])
def test_a_wrong_gradient_is_found_where_outputs_are_right(factor: float) -> None:
    program, x = compiled()

    def spoilt(a: Accumulator) -> Accumulator:
        return replace(a, scale=a.scale * factor) if a.target == "b0.unit.quadratic" else a

    ir = replace(program.ir, accumulators=tuple(map(spoilt, program.ir.accumulators)))
    wrong = replace(program, artifact=replace(program.artifact, program=ir))
    with pytest.raises(
        el.WrongModel, match=r"the gradient by blocks\[0\]\.unit\.hamiltonian\.quadratic of sequ"
    ):
        distance(wrong, x, [None, 1, 0])


def test_verify_says_how_far_the_float_model_is_and_refuses_a_wrong_one() -> None:
    program, x = compiled()
    report = el.verify(program, x, [1, None, 0], levels=["jax"])
    assert report.float_model is not None and report.float_model.gradient is not None
    assert report.float_model.nearest.share < 0.7
    wrong = replace(program, model=well(True, False, True))
    with pytest.raises(el.WrongModel):
        el.verify(wrong, x, [1, None, 0], levels=["jax"])


def test_a_loaded_program_is_as_far(tmp_path: Path) -> None:
    program, x = compiled()
    program.save(tmp_path / "well.elp")
    unit = well(True, True, True).blocks[0].resolve().unit
    again = el.load(tmp_path / "well.elp", unit)
    assert distance(again, x, [1, None, 0]) == distance(program, x, [1, None, 0])


def test_what_overflows_is_not_held_against_the_floats() -> None:
    program, x = compiled()
    cases = [Case(one, None, program.run(one)) for one in x]
    result = cases[1].expected
    result = replace(result, forward_flags=np.int64(Flag.STATE), outputs=0 * result.outputs)
    lost = replace(cases[1], expected=result)
    found = float_distance(program, [cases[0], lost, cases[2]])
    assert found is not None and found.compared == 2 and found.gradient is None
    assert float_distance(program, [lost]) is None


def test_sequences_of_one_step_and_of_unequal_length() -> None:
    program, x = compiled()
    xs = [x[0][:1], x[1], x[2][:5]]
    cases = [Case(one, 1, program.run(one, 1)) for one in xs]
    assert float_distance(program, cases) is not None
