"""A chunk of steps at a time gives what a step at a time gives, to the last bit."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from hamiltonians import GALLERY
from ir_models import Built, Sizes, build

import echoloom as el
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.ir import staged
from echoloom.ir.flags import Flag
from echoloom.ir.host import Host, run
from echoloom.ir.interpret import Machine
from echoloom.ir.ops import Op
from echoloom.ir.real import REAL_RULES
from echoloom.ir.staged import StagedMachine

CASES = [
    Sizes(inputs=3, hidden=3, blocks=2),
    Sizes(unit="quartic", task="regression", complex=False),
]


def played(built: Built, machine: Machine) -> dict[str, Any]:
    x = built.samples
    targets = np.full((*x.shape[:2], built.sizes.outputs), 0.5)
    labels = np.zeros(len(x), int) if built.sizes.task == "classification" else targets
    outputs = run(Host(machine.program, 1), machine.sweep, x, labels).outputs
    states = {d.name: machine.values[d.name] for d in machine.program.states}
    return {"outputs": outputs} | states | machine.accumulators


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("sizes", CASES, ids=lambda s: s.unit)
def test_real_numbers(sizes: Sizes, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one step, of two (of three sequences each) with a rest, and of all."""
    monkeypatch.setattr(staged, "VALUES", chunk)
    built = build(sizes)
    program = built.held
    outer = {i.name for b in program.bodies for i in b.instrs if i.op is Op.OUTER}
    loose = {name for b in program.bodies for name, value in b.accumulates if value in outer}
    exact = played(built, Machine(program, REAL_RULES, dict(built.values)))
    found = played(built, StagedMachine(program, REAL_RULES, dict(built.values)))
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        if name in loose:  # a matrix product adds in its own order
            np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-14)
        else:
            np.testing.assert_array_equal(found[name], value, name)


@pytest.mark.parametrize("scale", [1, 40])
@pytest.mark.parametrize("sizes", CASES, ids=lambda s: s.unit)
def test_integers_and_flags(sizes: Sizes, scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coefficients 40 times too large make states wrap, which the flags have to say."""
    monkeypatch.setattr(staged, "VALUES", 7)
    built = build(sizes)
    words = {name: scale * w for name, w in built.words.items()}
    integer = IntegerProgram(built.quantised, words, built.tables, 1)
    classification = sizes.task == "classification"
    labels = np.zeros(3, int) if classification else np.full((3, 7, sizes.outputs), 0.5)
    exact = numpy_run(integer, built.samples, labels)
    found = numpy_run(integer, built.samples, labels, machine=StagedNumpyMachine)
    for name, value in exact.named().items():
        np.testing.assert_array_equal(found.named()[name], value, name)
    assert bool((exact.forward_flags & Flag.STATE).any()) == (scale > 1)


def test_an_outer_product_with_what_no_step_changes() -> None:
    """The perceptron's gradient has one: a coefficient's, with the positions."""
    unit = GALLERY["perceptron"]
    model = el.HSSM(
        2, 2, 3, unit.positions, 1, unit=unit(3, jax.random.key(1)), step=0.2,
        key=jax.random.key(0),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(3, 7, 2))
    program = el.compile(model, x, lanes=2)
    exact = numpy_run(program.artifact, x, np.array([0, 1, 1]))
    found = numpy_run(program.artifact, x, np.array([0, 1, 1]), machine=StagedNumpyMachine)
    for name, value in exact.named().items():
        np.testing.assert_array_equal(found.named()[name], value, name)
