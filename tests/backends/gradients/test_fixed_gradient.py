"""A trainer's gradients from the fabric's integers: means, formats that are outgrown, resuming."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hamiltonians import GALLERY

import echoloom as el
from echoloom.backends.compile.coefficients import coefficient_words
from echoloom.backends.gradients.batch_gradient import fixed_value_and_grad
from echoloom.backends.gradients.fixed_gradient import FixedGradient, calibration_set
from echoloom.frontend.energy.trace import trace
from echoloom.frontend.gradients.bptt import bptt_gradient
from echoloom.frontend.gradients.loss import loss
from echoloom.frontend.models import stack
from echoloom.frontend.models.hssm import trainable, with_statistics
from echoloom.ir.passes.coefficient_formats import coefficient_format
from echoloom.ir.widths import Widths

STEPS = 24


pytestmark = pytest.mark.usefixtures("compile_in_haste")


@lru_cache
def waves() -> tuple[np.ndarray, np.ndarray]:
    """Twelve noisy waves [12, STEPS, 2] of three frequencies, and which it is."""
    random = np.random.default_rng(0)
    y = np.arange(12) % 3
    t = np.arange(STEPS)[None, :, None]
    phase = random.uniform(0.0, 6.0, (12, 1, 2))
    wave = np.sin((0.3 + 0.5 * y[:, None, None]) * t + phase)
    return wave + 0.1 * random.normal(size=wave.shape), y


@lru_cache
def model() -> el.HSSM:
    own = el.HSSM(2, 3, 4, 2, 1, key=jax.random.key(3))
    return with_statistics(own, jnp.asarray(waves()[0]))


@lru_cache
def regressor() -> el.HSSM:
    own = el.HSSM(2, 1, 4, 2, 1, task="regression", output_step=3, key=jax.random.key(3))
    return with_statistics(own, jnp.asarray(waves()[0]))


def source(**arguments: Any) -> FixedGradient:
    return FixedGradient(model(), *waves(), lanes=2, **arguments)


def leaves(gradient: el.HSSM) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(gradient)]


def assert_close(found: el.HSSM, wanted: list[np.ndarray], tolerance: float = 1e-12) -> None:
    for one, other in zip(leaves(found), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())


def scaled(factor: float) -> el.HSSM:
    """The model with a head `factor` times as large."""
    return eqx.tree_at(lambda m: m.head.weight, model(), factor * model().head.weight)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_batch_is_the_mean_of_its_sequences(task: str) -> None:
    x, y = waves()
    own = model() if task == "classification" else regressor()
    if task == "regression":
        y = 0.5 * x[:, 2::3, :1]
    fixed = FixedGradient(own, x, y, lanes=2)
    program = fixed.program.with_parameters(own)
    fixed(own, x[:5], y[:5])
    for pick in (slice(0, 5), slice(5, 7)):  # the second is filled up to the first's size
        step = fixed(own, x[pick], y[pick])
        each = [leaves(program.gradient(a, b)) for a, b in zip(x[pick], y[pick], strict=True)]
        assert_close(step.gradient, [np.mean(g, axis=0) for g in zip(*each, strict=True)])
        assert (step.overflows, step.notes) == (0, ())
        predicted = [program.predict(a) for a in x[pick]]
        exact = np.mean([_loss(own, p, b) for p, b in zip(predicted, y[pick], strict=True)])
        assert float(step.value) == pytest.approx(float(exact), rel=1e-12)
        value, gradient = fixed_value_and_grad(program)(own, x[pick], y[pick])
        assert float(value) == float(step.value)
        assert_close(gradient, leaves(step.gradient), 0.0)


def _loss(own: el.HSSM, outputs: np.ndarray, label: Any) -> Any:
    if own.task == "regression":
        return np.mean((outputs - label) ** 2)
    return -jax.nn.log_softmax(jnp.asarray(outputs))[label]


def test_the_gradient_has_the_shape_and_type_of_backpropagation() -> None:
    x, y = waves()
    own = jax.tree.map(lambda a: a.astype(jnp.float32), model())
    step = source()(own, x[:2].astype(np.float32), y[:2])
    exact = bptt_gradient(own, jnp.asarray(x[0], jnp.float32), int(y[0]))
    assert jax.tree.structure(step.gradient) == jax.tree.structure(exact)
    for one, other in zip(jax.tree.leaves(step.gradient), jax.tree.leaves(exact), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
    assert step.value.dtype == jnp.float32


def test_a_weight_margin_is_room_to_grow() -> None:
    x, y = waves()
    tight = el.compile(model(), x, y, lanes=2)
    roomy = el.compile(model(), x, y, lanes=2, weight_margin=1)
    grown = jax.tree.map(lambda a: 1.99 * a, model().head)
    with pytest.raises(el.CoefficientRange, match="head"):
        tight.with_parameters(eqx.tree_at(lambda m: m.head, model(), grown))
    roomy.with_parameters(eqx.tree_at(lambda m: m.head, model(), grown))
    assert str(el.compile(model(), x, y, lanes=2, weight_margin=0)) == str(tight)
    with pytest.raises(ValueError, match="weight_margin is 17, but a word of 18 bits can spare"):
        el.compile(model(), x, y, lanes=2, weight_margin=17)


def test_a_margin_keeps_the_exponents_of_a_vector_together() -> None:
    values = np.array([0.9, 0.01, 1e-9, 0.0])
    assert coefficient_format(values, 18, True).fracs == (17, 23, 46, 17)
    assert coefficient_format(values, 18, True, 1).fracs == (16, 20, 20, 16)
    assert coefficient_format(values, 18, False, 3).fracs == (14,)


def test_an_outgrown_format_is_found_again() -> None:
    x, y = waves()
    fixed = source()
    before = fixed.program
    assert fixed(scaled(1.9), x[:4], y[:4]).notes == ()
    assert fixed.program is before
    step = fixed(scaled(9.0), x[:4], y[:4])
    assert len(step.notes) == 1
    assert step.notes[0].startswith("calibrated again: coefficient head.weight reaches")
    assert "\n" not in step.notes[0]
    again = fixed.program.with_parameters(scaled(9.0))
    each = [leaves(again.gradient(a, b)) for a, b in zip(x[:4], y[:4], strict=True)]
    assert_close(step.gradient, [np.mean(g, axis=0) for g in zip(*each, strict=True)])
    with pytest.raises(el.CoefficientRange, match=r"head\.weight"):
        source(recalibrate=False)(scaled(9.0), x[:4], y[:4])


def test_inputs_beyond_the_calibrated_range_widen_it() -> None:
    x, y = waves()
    step = source()(model(), 9.0 * x[:2], y[:2])
    assert len(step.notes) == 1
    assert step.notes[0].startswith("calibrated again: a sample reaches")
    with pytest.raises(el.InputRange):
        source(recalibrate=False)(model(), 9.0 * x[:2], y[:2])


@lru_cache
def resonance() -> tuple[el.HSSM, np.ndarray, np.ndarray]:
    """A model of one slow, drag-free oscillator; two quick inputs and one that swings it up."""
    own = el.HSSM(2, 2, 3, 1, 1, complex=False, step=0.5, key=jax.random.key(0))
    own = eqx.tree_at(
        lambda m: (m.blocks[0].unit.stiffness, m.encoder.bias),
        own,
        (jnp.asarray([0.05]), jnp.zeros(3)),
    )
    t = np.arange(96)
    quick = np.where(t % 2, 1.0, -1.0)
    slow = np.sign(np.sin(0.5 * np.sqrt(0.05) * t + 0.01))
    x = np.stack([quick, -quick, slow])[:, :, None] * np.ones(2)
    return own, x, np.array([0, 1, 0])


def test_what_overflows_is_left_out_and_counted() -> None:
    own, x, y = resonance()
    fixed = FixedGradient(own, x[:2], y[:2], lanes=2, margin=0, recalibrate=False)
    program = fixed.program.with_parameters(own)
    assert [program.run(a, b).overflow for a, b in zip(x, y, strict=True)] == [False, False, True]
    step = fixed(own, x, y)
    assert step.overflows == 1
    each = [leaves(program.gradient(a, b)) for a, b in zip(x[:2], y[:2], strict=True)]
    assert_close(step.gradient, [np.mean(g, axis=0) for g in zip(*each, strict=True)])
    assert float(step.value) == float(fixed(own, x[:2], y[:2]).value)
    nothing = fixed(own, x[2:], y[2:])
    assert nothing.overflows == 1 and float(nothing.value) == 0.0
    assert all(not leaf.any() for leaf in leaves(nothing.gradient))
    with pytest.raises(el.Overflowed, match=r"on 1 of 3 sequences \(2\)"):
        fixed_value_and_grad(program)(own, x, y)


def test_an_overflow_is_a_reason_to_calibrate_again() -> None:
    own, x, y = resonance()
    fixed = FixedGradient(own, x[:2], y[:2], lanes=2, margin=0)
    step = fixed(own, x, y)
    assert step.notes[0].startswith(
        "calibrated again: 1 of 3 sequences overflowed: in sequence 2 b0.free."
    )
    assert step.overflows == 0
    program = fixed.program.with_parameters(own)
    each = [leaves(program.gradient(a, b)) for a, b in zip(x, y, strict=True)]
    assert_close(step.gradient, [np.mean(g, axis=0) for g in zip(*each, strict=True)])


def test_a_restored_source_goes_on_bit_for_bit() -> None:
    x, y = waves()
    fixed, other = source(), source()
    fixed(scaled(9.0), x[:4], y[:4])
    kept = fixed.state()
    other.restore(kept)
    assert str(other.program) == str(fixed.program) != str(source().program)
    for factor in (8.0, 40.0):  # the second calibrates both anew
        one, two = (f(scaled(factor), x[4:8], y[4:8]) for f in (fixed, other))
        assert one.notes == two.notes and float(one.value) == float(two.value)
        assert_close(one.gradient, leaves(two.gradient), 0.0)
    assert fixed.state() == other.state()
    for junk in (b"", b"1234567812345678junk", kept[:-5]):
        with pytest.raises(ValueError, match="the saved state of training in fixed point"):
            other.restore(junk)
    assert fixed.state() == other.state()


def test_a_curved_unit_has_its_nudges_measured_again() -> None:
    x, y = waves()
    own = el.HSSM(2, 3, 4, 2, 1, unit="nonlinear", step=0.1, key=jax.random.key(0))
    fixed, other = (FixedGradient(own, x, y, lanes=2, refresh=2) for _ in range(2))
    notes = []
    for _ in range(5):
        other.restore(fixed.state())  # as if resumed at every step
        steps = [f(own, x[:2], y[:2]) for f in (fixed, other)]
        assert steps[0].notes == steps[1].notes
        notes.append(steps[0].notes)
    again = ("calibrated again: 2 batches have passed",)
    assert notes == [(), (), again, (), again]
    linear = source(refresh=1)
    assert [linear(model(), x[:2], y[:2]).notes for _ in range(3)] == [()] * 3


@pytest.mark.parametrize("name", ["linear", "nonlinear", "fput", "rotors"])
def test_new_parameters_give_the_words_of_a_new_trace(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last two units fold coefficients on the host."""
    folds = name in GALLERY
    unit = GALLERY[name](4, jax.random.key(1)) if folds else name
    state = GALLERY[name].positions if folds else 2
    own = el.HSSM(2, 3, 4, state, 1, unit=unit, step=0.1, key=jax.random.key(0))
    program = el.compile(own, waves()[0], lanes=2, widths=Widths(weight_margin=2))
    moved = jax.tree.map(lambda a: a * (1.0 + 0.3 * jnp.cos(a)), own)
    traced: dict[str, np.ndarray] = {}

    def recorded(*arguments: Any, **more: Any) -> Any:
        result = trace(*arguments, **more)
        traced.update(result.values)
        return result

    monkeypatch.setattr(stack, "trace", recorded)
    values = stack.folded_stack(moved).values(moved)
    made = {n.replace(stack.BLOCK, "b0", 1): value for n, value in traced.items()}
    assert any(n in made for n in program.artifact.coefficients) or not folds
    values |= made
    for d in program.ir.coefficients:
        if d.fixed:
            values[d.name] = program.coefficient(d.name)
        elif d.half_of:
            values[d.name] = values[d.half_of]
    fresh = coefficient_words(program.ir, values)
    found = program.with_parameters(moved).artifact.coefficients
    assert any((fresh[n] != w).any() for n, w in program.artifact.coefficients.items())
    for coefficient, words in fresh.items():
        np.testing.assert_array_equal(found[coefficient], words, coefficient)


class Twins(el.Hamiltonian):
    """Two numbers that stand for vectors, and may be equal when a program is compiled."""

    spring: jax.Array
    quartic: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        well = 0.5 * self.spring * jnp.sum(q**2) + 0.25 * self.quartic * jnp.sum(q**4)
        return well - q @ jnp.tanh(self.drive @ u)


def test_coefficients_that_are_equal_by_chance_stay_two() -> None:
    drive = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4)))
    names = []
    for quartic in (1.0, 0.25):  # folded: half the spring, a quarter of this
        unit = Twins(jnp.asarray(0.5), jnp.asarray(quartic), drive)
        own = el.HSSM(2, 3, 4, 2, 1, unit=unit, step=0.1, key=jax.random.key(0))
        names.append({part: [*own] for part, own in stack.folded_stack(own).folded.items()})
    assert names[0] == names[1]


def test_clamped_signals_are_a_reason_to_calibrate_again() -> None:
    x, y = waves()
    fixed = source(margin=1, weight_margin=4)
    assert fixed(model(), x, y).notes == ()
    step = fixed(scaled(9.0), x, y)
    assert len(step.notes) == 1
    assert re.fullmatch(
        r"calibrated again: signals of \d+ of 12 sequences were clamped: in sequence \d+ .+ holds "
        r"at most .+",
        step.notes[0],
    )
    program = fixed.program.with_parameters(scaled(9.0))
    assert not any(program.run(a, b).saturated for a, b in zip(x, y, strict=True))
    assert fixed(scaled(9.0), x, y).notes == ()


def test_calibration_takes_the_sequences_that_reach_farthest() -> None:
    samples = np.zeros((1000, 3, 2))
    samples[137, 1, 1] = -5.0
    chosen = calibration_set(samples, None)
    assert len(chosen) == 65 and 137 in chosen and {0, 999} <= set(chosen.tolist())
    assert calibration_set(samples[:3], np.ones((3, 1, 1))).tolist() == [0, 1, 2]


def test_twenty_steps_lead_where_backpropagation_leads() -> None:
    x, y = waves()
    fixed = source()

    @jax.jit
    def exact(own: el.HSSM) -> Any:
        parameters, frozen = eqx.partition(own, trainable(own))
        return jax.value_and_grad(
            lambda p: jnp.mean(jax.vmap(lambda a, b: loss(eqx.combine(p, frozen), a, b))(x, y))
        )(parameters)

    def after(gradient_of: Any) -> list[float]:
        own, optimizer, values = model(), optax.adam(2e-2), []
        state = optimizer.init(eqx.filter(own, trainable(own)))
        for _ in range(20):
            value, gradient = gradient_of(own)
            changes, state = optimizer.update(eqx.filter(gradient, trainable(own)), state)
            own = eqx.apply_updates(own, changes)
            values.append(float(value))
        return values

    def integers(own: el.HSSM) -> Any:
        step = fixed(own, x, y)
        assert step.overflows == 0
        return step.value, step.gradient

    found, wanted = after(integers), after(exact)
    assert found[-1] < 0.7 * found[0]
    np.testing.assert_allclose(found, wanted, rtol=0.01)
