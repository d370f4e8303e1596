"""Ranges measured under JAX give the formats, nudges and images that NumPy's give."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.compile.pipeline import Arguments, run
from echoloom.backends.compile.stages import real_program, traced
from echoloom.backends.run import by_length, real_jax
from echoloom.backends.run.by_length import recording
from echoloom.backends.run.real_jax import MOST_STEPS, JaxRealMachine, compiled, steps_of_a_chunk
from echoloom.ir.host import Host
from echoloom.ir.passes.calibrate import interpreted, measure
from echoloom.ir.passes.recorder import Recorder, Runaway
from echoloom.ir.program import Program
from echoloom.ir.sections import Section
from echoloom.ir.staged import StagedMachine

pytestmark = pytest.mark.usefixtures("compile_in_haste")
CHUNK, STEPS = 5, 13


class Well(el.Hamiltonian):
    """A quartic that is driven through a tanh, and a mass for every position."""

    k: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return jnp.sum(0.5 * q**2 + 0.25 * self.k * q**4) - q @ jnp.tanh(self.drive @ u)

    def kinetic(self, p: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sqrt(1.0 + p**2))


class Rim(Well):
    """Beyond its rim it goes down for ever, and ever faster."""

    def kinetic(self, p: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(p**2)


def well(kind: type[Well] = Well, k: float = 1.0) -> Well:
    return kind(jnp.array([k, k]), jnp.ones((2, 3)))


CASES: dict[str, dict[str, Any]] = {
    "complex": {"blocks": 2},
    "real, learning": {"complex": False, "learns": True},
    "nonlinear": {"unit": "nonlinear", "step": 0.1},
    "a user's unit, regression": {"unit": well, "task": "regression", "output_step": 2},
}


def model(case: str) -> tuple[el.HSSM, el.SignUpdate | None]:
    own = {"blocks": 1, **CASES[case]}
    rule = el.SignUpdate(updates=6, batch=2) if own.pop("learns", False) else None
    if callable(own.get("unit")):
        own["unit"] = own["unit"]()
    return el.HSSM(2, 3, 3, 2, **own, key=jax.random.key(1)), rule


def samples(steps: int = STEPS) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, steps, 2))


def in_chunks(program: Program, coefficients: Any, recorder: Recorder) -> JaxRealMachine:
    machine = compiled(program, coefficients, recorder)
    machine.most = CHUNK
    return machine


@pytest.mark.parametrize("case", CASES)
def test_the_same_image_to_the_bit(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges and the trials of nudges, by a whole chunk and what it leaves over."""
    own, rule = model(case)
    steps = MOST_STEPS + 3
    x, y = samples(steps), np.array([0, 2, 1])
    if own.task == "regression":
        y = np.random.default_rng(1).uniform(-0.9, 0.9, (3, steps // 2, 3))
    made: list[dict[str, Any]] = []
    for worth in (np.inf, 0.0):
        monkeypatch.setattr(by_length, "WORTH", worth)
        arguments = Arguments(own, x, y, "ecp5-85k", 2, None, 8, None, None, rule)
        made.append(run({"arguments": arguments}))
    one, other = made
    assert one["nudges"].epsilons == other["nudges"].epsilons
    assert str(one["integer"].program) == str(other["integer"].program)
    assert one["image"] == other["image"]


def test_short_runs_are_interpreted_and_long_ones_compiled() -> None:
    source = traced(model("complex")[0], samples())
    real = real_program(source, (1.0,) * 2)
    kinds = [
        type(recording(real.program, real.coefficients, Recorder(real.program, steps, 3)))
        for steps in (100, 100_000)
    ]
    assert kinds == [StagedMachine, JaxRealMachine]


@pytest.mark.parametrize("echo", [False, True])
def test_a_runaway_is_told_in_the_same_words(echo: bool) -> None:
    """The chunk that it happens in, forward or back, is run again by NumPy."""
    own = el.HSSM(2, 3, 3, 2, 1, unit=well(Rim, -1.0), step=0.8, key=jax.random.key(0))
    x = (0.02 if echo else 3.0) * samples()
    source = traced(own, x)
    real = real_program(source, (2.0**12 if echo else 2.0**-20,))
    said = []
    for kind in (interpreted, in_chunks):
        with pytest.raises(Runaway) as caught:
            measure(real.program, real.coefficients, x, None, 1, kind)
        assert caught.value.echo == echo
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_a_chunk_of_many_sequences_has_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven steps of three sequences, and one where not even that fits."""
    source = traced(model("complex")[0], samples())
    real = real_program(source, (1.0,) * 2)
    body = real.program.body(Section.FORWARD_STEP)
    sizes = sum(i.type.size for i in body.instrs)
    monkeypatch.setattr(real_jax, "MOST_NUMBERS", 7 * 3 * sizes)
    for count, steps in ((3, 7), (30, 1)):
        forward = Host(real.program, 1).forward(np.zeros((count, STEPS, 2)))
        assert steps_of_a_chunk(real.program, forward, MOST_STEPS) == steps
