"""Streams: one sequence in pushes of any size, at the NumPy and JAX levels and beside float64."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import echoloom as el
from echoloom.frontend.models import parts
from echoloom.frontend.models.hssm import rest

T = 40
# Two blocks or one, real or complex, with substeps, one channel or more; an output every 3 steps.
KINDS: dict[str, dict[str, Any]] = {
    "classification": {"inputs": 3, "outputs": 2, "hidden": 4, "state": 2, "blocks": 2},
    "complex": {"inputs": 1, "outputs": 3, "hidden": 3, "state": 2, "blocks": 1, "complex": True},
    "regression": {"inputs": 2, "outputs": 2, "hidden": 3, "state": 3, "blocks": 1,
                   "task": "regression", "output_step": 3, "substeps": 2, "step": 0.3},
    "nonlinear": {"inputs": 1, "outputs": 1, "hidden": 2, "state": 2, "blocks": 2,
                  "unit": "nonlinear", "task": "regression"},
}  # fmt: skip


@lru_cache
def program_of(kind: str) -> el.CompiledProgram:
    model = el.HSSM(**KINDS[kind], key=jax.random.key(3))
    return el.compile(model, signal(model, 2 * T)[None], lanes=2)


def signal(model: el.HSSM, steps: int) -> np.ndarray:
    k = np.arange(steps)[:, None]
    return np.sin(0.3 * k + np.arange(model.inputs)) * np.cos(0.07 * k)


def answer(model: el.HSSM, outputs: int) -> Any:
    if model.task == "classification":
        return 1
    return 0.5 * np.cos(np.arange(outputs * model.outputs)).reshape(outputs, model.outputs)


def joined(program: el.CompiledProgram, outputs: list[np.ndarray]) -> np.ndarray:
    return outputs[-1] if program.ir.is_classification else np.concatenate(outputs)


def check_pushes(kind: str, level: str, sizes: list[int]) -> None:
    program = program_of(kind)
    x = signal(program.model, sum(sizes))
    whole, stream = program.run(x), program.stream(level=level)
    ends = np.cumsum(sizes)
    results = [stream.run(x[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
    assert np.array_equal(joined(program, [r.outputs for r in results]), whole.outputs)
    for name, words in whole.states.items():
        assert np.array_equal(results[-1].states[name], words)
    flags = [int(result.forward_flags) for result in results]
    assert np.bitwise_or.reduce(flags) == whole.forward_flags
    assert stream.steps == len(x)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 2, 5, 13]), max_size=9))
def test_pushes_give_the_integers_of_one_run(kind: str, sizes: list[int]) -> None:
    check_pushes(kind, "numpy", [3, *sizes])


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_pushes_give_the_integers_of_one_run_in_jax(kind: str) -> None:
    check_pushes(kind, "jax", [3, 1, 0, 7, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_every_push_answers_for_the_sequence_so_far(kind: str) -> None:
    program = program_of(kind)
    x, stream = signal(program.model, 9), program.stream()
    for end in range(3, 10, 3):
        found = stream.push(x[end - 3 : end])
        wanted = program.predict(x[:end])
        if not program.ir.is_classification:
            wanted = wanted[len(wanted) - len(found) :]
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_near_the_float_model(kind: str) -> None:
    program = program_of(kind)
    x, stream = signal(program.model, T), program.stream()
    found = joined(program, [stream.push(x[at : at + 7]) for at in range(0, T, 7)])
    wanted = np.asarray(program.model(jnp.asarray(x)))
    assert np.abs(found - wanted).max() < 1e-3 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_of_all_steps_has_the_gradient_of_the_sequence(kind: str) -> None:
    program = program_of(kind)
    x, stream = signal(program.model, T), program.stream(window=100)
    stream.run(x[:11])
    stream.run(x[11:])
    label = answer(program.model, T // program.model.output_step)
    found, wanted = stream.echo(label), program.run(x, label)
    for name, words in wanted.named().items():
        if name != "forward flags":  # of an echo alone there are none
            assert np.array_equal(found.named()[name], words), name
    assert found.exponent == wanted.exponent
    assert eqx.tree_equal(stream.gradient(label), program.gradient(x, label))


@pytest.mark.parametrize("kind", KINDS)
def test_an_echo_goes_back_to_where_the_window_begins(kind: str) -> None:
    program = program_of(kind)
    x, stream, window = signal(program.model, T), program.stream(window=T), 12
    stream.run(x)
    for steps in (window, 5, 1):
        before = program.run(x[: T - steps]).states
        count = stream._outputs(T, steps)
        if not count and not program.ir.is_classification:
            continue
        found = stream.echo(answer(program.model, count), steps)
        for name, words in before.items():
            # Back at the position of that time, with the momentum turned round.
            sign = -1 if name.endswith("p") else 1
            assert np.array_equal(found.echo_states[name], sign * words), (name, steps)
    assert np.array_equal(stream.run(x[:3]).outputs[-1:],
                          program.run(np.concatenate([x, x[:3]])).outputs[-1:])  # fmt: skip


def truncated(model: el.HSSM, x: np.ndarray, label: Any, window: int) -> el.HSSM:
    """float64 backpropagation through the last `window` steps; what was before is fixed."""

    def loss(model: el.HSSM) -> jax.Array:
        c = model.resolve()
        fixed = jax.lax.stop_gradient(c)
        step = lambda c: lambda states, at: parts.advance(c, states, at)  # noqa: E731
        states, early = jax.lax.scan(step(fixed), rest(fixed), x[: len(x) - window])
        _, late = jax.lax.scan(step(c), jax.lax.stop_gradient(states), x[len(x) - window :])
        if model.task == "classification":
            mean = (jax.lax.stop_gradient(early).sum(0) + late.sum(0)) / len(x)
            return -jax.nn.log_softmax(parts.head(c.head, mean))[label]
        every = model.output_step
        late = late[every - 1 - (len(x) - window) % every :: every]
        outputs = jnp.tanh(jax.vmap(lambda h: parts.head(c.head, h))(late))
        return jnp.mean((outputs - label) ** 2)

    return eqx.filter_grad(loss)(model)


@pytest.mark.parametrize("kind", KINDS)
def test_a_windows_gradient_is_truncated_backpropagation(kind: str) -> None:
    program = program_of(kind)
    x, window = signal(program.model, T), 14  # which begins between two outputs
    stream = program.stream(window=20)
    for at in range(0, T, 8):
        stream.push(x[at : at + 8])
    count = stream._outputs(T, window)
    label = answer(program.model, count)
    found = jax.tree.leaves(eqx.filter(stream.gradient(label, window), eqx.is_array))
    wanted = jax.tree.leaves(eqx.filter(truncated(program.model, x, label, window), eqx.is_array))
    whole = np.sqrt(sum(float(np.sum(w**2)) for w in wanted))
    for own, other in zip(found, wanted, strict=True):
        gap = np.linalg.norm(np.asarray(own) - np.asarray(other))
        assert gap < 0.01 * np.linalg.norm(other) + 1e-3 * whole


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_levels_give_the_same_gradients_of_a_window(kind: str) -> None:
    program, found = program_of(kind), []
    x = signal(program.model, 16)
    for level in ("numpy", "jax"):
        stream = program.stream(window=9, level=level)
        stream.run(x[:8])
        stream.run(x[8:])
        found.append(stream.echo(answer(program.model, stream._outputs(16, 9))).named())
    for name, words in found[0].items():
        assert np.array_equal(found[1][name], words), name


def test_an_empty_push_changes_nothing() -> None:
    program = program_of("regression")
    stream, x = program.stream(window=4), signal(program.model, 7)
    assert stream.push(x[:0]).shape == (0, 2)
    assert stream.push(x[:2]).shape == (0, 2)  # an output every three steps
    before = stream.state
    assert stream.push(x[:0]).shape == (0, 2)
    assert stream.state is before
    program = program_of("classification")
    stream, x = program.stream(), signal(program.model, 7)
    with pytest.raises(ValueError, match="nothing was pushed yet"):
        stream.push(x[:0])
    logits = stream.push(x)
    assert np.array_equal(stream.push(x[:0]), logits)


def test_a_push_that_raises_leaves_the_state() -> None:
    program = program_of("classification")
    stream, x = program.stream(), signal(program.model, 7)
    stream.push(x)
    before = stream.state
    for bad, sentence in (
        (x * 1e9, "x reaches"),
        (x[:, :2], r"its shape is \[7, 2\], but a stream of this model takes \[k, 3\]"),
        (np.full((1, 3), np.nan), "every value must be finite"),
    ):
        with pytest.raises(ValueError, match=sentence):
            stream.push(bad)
    assert stream.state is before


def test_what_a_stream_refuses() -> None:
    program = program_of("classification")
    with pytest.raises(ValueError, match="keeps 0 samples or more, got window=-1"):
        program.stream(window=-1)
    with pytest.raises(ValueError, match="level is one of numpy, jax, got 'rtl'"):
        program.stream(level="rtl")
    stream = program.stream(window=3)
    with pytest.raises(
        ValueError, match="over 0 steps needs as many samples, but this stream keeps 0"
    ):
        stream.gradient(1)
    stream.push(signal(program.model, 5))
    with pytest.raises(ValueError, match="keeps 3 of 5"):
        stream.gradient(1, 4)
    regression = program_of("regression").stream(window=2)
    regression.push(signal(program_of("regression").model, 4))
    with pytest.raises(ValueError, match=r"shape is \[1, 1\], but the targets of this window"):
        regression.gradient(np.zeros((1, 1)))
    with pytest.raises(ValueError, match="needs an output in it"):
        regression.gradient(np.zeros((0, 2)), 1)


def test_an_overflow_is_raised_and_the_stream_stays() -> None:
    """A sum over time has so many bits: at some step it is full, and the push says so."""
    program = program_of("classification")
    carried = program.stream().state.carried
    pool = next(iter(carried.sums))
    width = next(a.type.q.width for a in program.ir.accumulators if a.name == pool)
    stream = program.stream()
    full = {pool: np.full_like(carried.sums[pool], (1 << width - 1) - 1)}
    state = replace(stream.state, carried=replace(carried, sums=full))
    for level in ("numpy", "jax"):
        stream = program.stream(initial=state, level=level)
        with pytest.raises(el.Overflowed):
            stream.push(signal(program.model, 4))
        assert stream.state is state
