"""The JAX engine gives the integers of the NumPy level, for one sequence and for many."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import echoloom as el
from echoloom.backends.compile.pipeline import calibrated_again
from echoloom.backends.run import run_jax
from echoloom.backends.run.chunked_sweep import chunk_length
from echoloom.backends.run.jax_words import kind_of, structure
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.ir.flags import Flag
from echoloom.ir.formats import Q, Type, largest
from echoloom.ir.host import RunResult
from echoloom.ir.ops import Op
from echoloom.ir.widths import Widths


class Membrane(el.Hamiltonian):
    """Positions that pull at each other through a matrix, in a well of the fourth power."""

    coupling: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        stretch = jnp.sum((self.coupling @ q) ** 2)
        return 0.5 * stretch + 0.02 * jnp.sum(q**4) - q @ jnp.tanh(self.drive @ u)


def membrane() -> Membrane:
    random = np.random.default_rng(0)
    return Membrane(
        jnp.asarray(0.6 * np.eye(3) + 0.1 * random.normal(size=(3, 3))),
        jnp.asarray(random.normal(size=(3, 3))),
    )


CASES: dict[str, dict[str, Any]] = {
    "linear": {},
    "real, two blocks": {"complex": False, "blocks": 2},
    "regression": {"task": "regression", "output_step": 2},
    "nonlinear": {"unit": "nonlinear", "step": 0.1},
    "custom": {"unit": membrane, "state": 3},
}


@lru_cache
def program_of(case: str) -> el.CompiledProgram:
    arguments: dict[str, Any] = {"state": 2, "blocks": 1} | CASES[case]
    if callable(arguments.get("unit")):
        arguments["unit"] = arguments["unit"]()
    model = el.HSSM(2, 3, 3, **arguments, key=jax.random.key(1))
    return el.compile(model, inputs(4, 9), targets(model, 4, 9, seed=8), lanes=2)


def inputs(count: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.5, 1.5, (count, steps, 2))


def targets(model: el.HSSM, count: int, steps: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if model.task == "classification":
        return random.integers(0, model.outputs, count)
    return random.uniform(-0.9, 0.9, (count, steps // model.output_step, model.outputs))


def assert_same(fast: RunResult, exact: RunResult) -> None:
    expected = exact.named() | {"exponent": exact.exponent}
    found = fast.named() | {"exponent": fast.exponent}
    assert found.keys() == expected.keys()
    for name, words in expected.items():
        assert found[name].dtype == np.int64, name
        np.testing.assert_array_equal(found[name], words, name)


@pytest.mark.parametrize("case", CASES)
def test_every_sequence_has_the_integers_of_the_numpy_level(case: str) -> None:
    program = program_of(case)
    x, y = inputs(3, 9, 1), targets(program.model, 3, 9)
    runner = JaxRunner(program.artifact)
    batch = runner.run(x, y)
    assert_same(batch, numpy_run(program.artifact, x, y))
    for n in range(3):
        single = numpy_run(program.artifact, x[n], y[n])
        assert_same(runner.run(x[n], y[n]), single)
        assert all(np.array_equal(batch.gradients[k][n], g) for k, g in single.gradients.items())
        assert np.array_equal(batch.outputs[n], single.outputs)


def test_one_sequence_of_one_step_and_no_label() -> None:
    program = program_of("linear")
    runner, x = JaxRunner(program.artifact), inputs(1, 1)
    assert_same(runner.run(x, np.array([2])), numpy_run(program.artifact, x, np.array([2])))
    assert_same(runner.run(x), numpy_run(program.artifact, x))


def test_chunks_join_without_a_seam() -> None:
    """19 steps are two chunks of eight and a rest of three."""
    assert chunk_length(19, 8) == 8
    program = program_of("regression")
    x, y = inputs(2, 19, 2), targets(program.model, 2, 19)
    assert_same(JaxRunner(program.artifact, 8).run(x, y), numpy_run(program.artifact, x, y))


@settings(max_examples=20, deadline=None)
@example(0, "linear", True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["linear", "nonlinear"]), st.just(False))
def test_words_of_the_largest_size_are_exact(seed: int, case: str, wraps: bool) -> None:
    """Coefficients at the ends of their words make everything clamp and wrap."""
    program, random = program_of(case), np.random.default_rng(seed)
    coefficients = {
        d.name: random.choice([-1, 1], d.type.shape)
        * (largest(d.type.q.width) - random.integers(0, 3, d.type.shape))
        for d in program.ir.coefficients
    }
    artifact = replace(program.artifact, coefficients=coefficients)
    x = random.choice([-1.5, 1.5], (3, 9, 2))
    y = random.integers(0, 3, 3)
    result = JaxRunner(program.artifact).run(x, y, coefficients)
    assert_same(result, numpy_run(artifact, x, y))
    assert (result.forward_flags != 0).any()
    assert (result.forward_flags & Flag.STATE).any() or not wraps


def test_accumulators_that_may_have_overflowed_are_summed_step_by_step() -> None:
    """At every width down to where all overflow, through those where a bound just tells it."""
    program, x, y = program_of("linear").ir, inputs(4, 9), np.array([0, 1, 2, 0])
    overflowed = []
    for width in range(46, 34, -1):
        narrow = tuple(
            replace(a, type=Type(a.type.shape, Q(width, a.type.q.frac)))
            for a in program.accumulators
        )
        artifact = replace(
            program_of("linear").artifact, program=replace(program, accumulators=narrow)
        )
        exact = numpy_run(artifact, x, y)
        assert_same(JaxRunner(artifact).run(x, y), exact)
        overflowed.append(bool((exact.echo_flags & Flag.ACCUMULATOR).any()))
    assert any(overflowed) and not all(overflowed)


def test_only_what_is_doubted_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    program = program_of("linear")
    x, y = inputs(3, 9), np.array([0, 1, 2])
    asked: list[tuple[int, ...]] = []
    doubtful = run_jax._doubtful

    def doubt(*arguments: Any) -> np.ndarray:
        found = doubtful(*arguments)
        assert not found.any()
        asked.append(found.shape)
        return np.array([False, True, True]) if len(asked) < 3 else found

    runner = JaxRunner(program.artifact)
    plain = runner.run(x, y)
    monkeypatch.setattr(run_jax, "_doubtful", doubt)
    assert_same(runner.run(x, y), plain)
    assert asked == [(3,), (3,), (2,), (2,)]


def wide_product(program: el.CompiledProgram) -> IntegerProgram:
    """The program with a product declared so wide that float64 could not hold it."""
    body = program.ir.bodies[1]
    wide = next(i for i in body.instrs if i.op is Op.MATVEC)
    wider = replace(wide, type=Type(wide.type.shape, Q(55, wide.type.q.frac)))
    instrs = tuple(wider if i is wide else i for i in body.instrs)
    bodies = tuple(replace(b, instrs=instrs) if b is body else b for b in program.ir.bodies)
    return replace(program.artifact, program=replace(program.ir, bodies=bodies))


@pytest.mark.parametrize("case", ["linear", "regression", "nonlinear"])
def test_what_is_not_proven_exact_runs_on_int64(case: str) -> None:
    program = program_of(case)
    assert kind_of(program.ir, program.artifact.tables) is np.float64
    artifact = wide_product(program)
    assert kind_of(artifact.program, artifact.tables) is np.int64
    x, y = inputs(2, 9), targets(program.model, 2, 9)
    assert_same(JaxRunner(artifact).run(x, y), numpy_run(artifact, x, y))
    wild = {name: 40 * words for name, words in artifact.coefficients.items()}
    found, exact = (
        JaxRunner(artifact).run(x, y, wild),
        numpy_run(replace(artifact, coefficients=wild), x, y),
    )
    assert_same(found, exact)
    assert (exact.forward_flags & Flag.STATE).any()


def test_words_beyond_the_whole_numbers_of_float64_are_exact() -> None:
    """Words of 34 bits times 26 are products of 60."""
    model = program_of("linear").model
    widths = Widths(word=34, narrow=26, accumulator=63)
    program = el.compile(model, inputs(4, 9), targets(model, 4, 9), lanes=2, widths=widths)
    assert kind_of(program.ir, program.artifact.tables) is np.int64
    x, y = inputs(2, 9, 5), targets(model, 2, 9)
    sizes: list[int] = []
    exact = numpy_run(program.artifact, x, y, lambda *at: sizes.append(int(np.abs(at[3]).max())))
    assert max(sizes) > 1 << 53
    assert_same(JaxRunner(program.artifact).run(x, y), exact)


@pytest.mark.parametrize("case", ["linear", "regression", "custom"])
@pytest.mark.parametrize("chunk", [1, 4, 128])
def test_a_trace_has_every_value_of_the_numpy_level(case: str, chunk: int) -> None:
    """In chunks of one step, of four with a rest of one, and of all."""
    program = program_of(case)
    x, y = inputs(1, 9)[0], targets(program.model, 1, 9)[0]
    wanted: dict[Any, Any] = {}
    numpy_run(program.artifact, x, y, lambda *at: wanted.update({at[:3]: at[3]}))
    found = dict(JaxRunner(program.artifact, chunk).trace(x, y))
    assert list(found) == list(wanted)
    for at, words in wanted.items():
        np.testing.assert_array_equal(found[at], np.broadcast_to(words, found[at].shape), str(at))


def test_a_program_calibrated_again_has_the_same_code() -> None:
    program = program_of("linear")
    grown = jax.tree.map(lambda a: 1.6 * a, program.model)
    again = calibrated_again(program, grown, 3.0 * inputs(4, 9), None, Widths())
    assert str(again.ir) != str(program.ir)
    assert structure(again.ir) == structure(program.ir)
    x, y = inputs(3, 9, 3), np.array([0, 1, 2])
    assert_same(JaxRunner(again.artifact).run(x, y), numpy_run(again.artifact, x, y))


def test_samples_out_of_range_are_refused() -> None:
    runner = JaxRunner(program_of("linear").artifact)
    with pytest.raises(el.InputRange, match="a sample reaches 100"):
        runner.run(np.full((2, 9, 2), 100.0), np.array([0, 1]))
