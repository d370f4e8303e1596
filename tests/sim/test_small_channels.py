"""Input channels of very different sizes: the same numbers, at every level."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import samples, target_of

import echoloom as el
from echoloom.backends.gradients.batch_gradient import fixed_value_and_grad
from echoloom.backends.run.integers import input_types
from echoloom.frontend.models.sizes import Task
from echoloom.ir.parser import parse

FAR = (1000.0, 0.001)


def scaled(model: el.HSSM, sizes: Any) -> el.HSSM:
    """The model whose channels are `sizes` times as large: the same function of its inputs."""
    weight = jnp.asarray(np.asarray(model.encoder.weight, np.float64) / np.asarray(sizes))
    return eqx.tree_at(lambda m: m.encoder.weight, model, weight)


@lru_cache
def pair(task: Task = "classification", inputs: int = 2) -> tuple[el.HSSM, np.ndarray]:
    """A model whose input channels reach equally far, as the columns of its encoder do."""
    step = 2 if task == "regression" else 1
    model = el.HSSM(
        inputs, 2, 4, 2, 1, complex=False, task=task, output_step=step, step=0.3,
        key=jax.random.key(3),
    )  # fmt: skip
    weight = np.asarray(model.encoder.weight, np.float64)
    weight = np.stack([np.roll(weight[:, 0], j) for j in range(inputs)], axis=1)
    x = samples(model, 4, 10)
    x = np.stack([np.roll(x[..., 0], j, axis=1) for j in range(inputs)], axis=-1)
    return eqx.tree_at(lambda m: m.encoder.weight, model, jnp.asarray(weight)), x


def compiled(
    sizes: tuple[float, ...] = FAR, task: Task = "classification"
) -> tuple[el.CompiledProgram, np.ndarray]:
    return _compiled(tuple(map(float, sizes)), task)


@lru_cache
def _compiled(sizes: tuple[float, ...], task: Task) -> tuple[el.CompiledProgram, np.ndarray]:
    model, x = pair(task, len(sizes))
    x = x * np.asarray(sizes)
    return el.compile(scaled(model, sizes), x, lanes=2), x


@pytest.mark.parametrize("sizes", [(2.0**10, 2.0**-10), (2.0**-10, 2.0**10), (1.0, 2.0**-30)])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_powers_of_two_change_no_integer(sizes: tuple[float, ...], task: Task) -> None:
    program, x = compiled(sizes, task)
    plain, own = compiled((1.0, 1.0), task)
    label = target_of(plain.model, 10)
    assert program.image == plain.image  # so neither do cycles
    wanted, found = plain.run(own[1], label).named(), program.run(x[1], label).named()
    assert wanted.keys() == found.keys()
    for name, words in wanted.items():
        assert np.array_equal(found[name], words), name
    for one, other in zip(
        jax.tree.leaves(plain.gradient(own[1], label)),
        jax.tree.leaves(scaled(program.gradient(x[1], label), np.asarray(sizes))),
        strict=True,
    ):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("sizes", [FAR, (3e-7, 5e5), (1.0, 0.0, 1e-6)])
def test_every_channel_learns_like_backpropagation_through_time(
    task: Task, sizes: tuple[float, ...]
) -> None:
    """Columns of the encoder's gradient each on its own; an input of zeros has none."""
    program, x = compiled(sizes, task) if 0.0 not in sizes else silent(task)
    label = target_of(program.model, 10)
    for k in range(2):
        exact = program.model(jnp.asarray(x[k]))
        assert np.abs(program.predict(x[k]) - np.asarray(exact)).max() < 1e-4
        found = program.gradient(x[k], label)
        wanted = el.bptt_gradient(program.model, jnp.asarray(x[k]), label)
        learned = (eqx.filter(g, el.trainable(g)) for g in (found, wanted))
        for a, b in zip(*map(jax.tree.leaves, learned), strict=True):
            assert np.linalg.norm(a - b) < 3e-3 * np.linalg.norm(b)
        columns = found.encoder.weight - wanted.encoder.weight
        for error, own in zip(columns.T, np.asarray(wanted.encoder.weight).T, strict=True):
            assert np.linalg.norm(error) <= 3e-3 * np.linalg.norm(own)


@lru_cache
def silent(task: Task) -> tuple[el.CompiledProgram, np.ndarray]:
    model, x = pair(task, 3)
    x = x * np.array([1.0, 0.0, 1e-6])
    return el.compile(scaled(model, (1.0, 1.0, 1e-6)), x, lanes=2), x


def test_a_silent_channel_has_the_format_of_the_largest() -> None:
    program, _ = silent("classification")
    large, zero, small = input_types(program.ir)["x"].q.fracs
    assert zero == large < small


@pytest.mark.parametrize("sizes", [(1.0, 1.0), (1e-3,), (1.0, 0.0), (4.0, 0.5)])
def test_channels_that_are_near_each_other_share_one_format(sizes: tuple[float, ...]) -> None:
    model, x = pair("classification", len(sizes))
    program = el.compile(model, x * np.asarray(sizes), lanes=2)
    assert not input_types(program.ir)["x"].q.per_element


def test_all_levels_agree() -> None:
    program, x = compiled(task="regression")
    label = target_of(program.model, 2)
    levels = ("jax", "onnx", "rtl")
    report = el.verify(program, x[:1, :2], [label], simulator="amaranth", levels=levels)
    assert report.lsb_off == 0
    for level in report.levels.values():
        assert level.mismatches == 0 < level.compared


def test_a_batch_gives_the_mean_of_its_sequences() -> None:
    program, x = compiled()
    labels = np.stack([target_of(program.model, 10, seed) for seed in range(len(x))])
    _, gradient = fixed_value_and_grad(program)(program.model, x, labels)
    each = [program.gradient(a, b) for a, b in zip(x, labels, strict=True)]
    mean = jax.tree.map(lambda *g: np.mean(g, axis=0), *each)
    for found, wanted in zip(jax.tree.leaves(gradient), jax.tree.leaves(mean), strict=True):
        assert np.allclose(found, wanted, rtol=1e-6, atol=0.0)


def test_the_program_itself_holds_the_exponents(tmp_path: Any) -> None:
    program, x = compiled()
    assert parse(str(program)) == program.ir
    program.save(tmp_path / "far.elp")
    loaded = el.load(tmp_path / "far.elp")
    assert loaded.ir == program.ir and loaded.rounding == program.rounding
    assert np.array_equal(loaded.run(x[0]).outputs, program.run(x[0]).outputs)


def test_other_parameters_keep_the_exponents_and_a_column_has_its_own_range() -> None:
    program, x = compiled()
    grown = scaled(program.model, (1.0, 0.8))
    assert (
        np.abs(program.with_parameters(grown).predict(x[0]) - grown(jnp.asarray(x[0]))).max() < 3e-5
    )
    with pytest.raises(
        el.CoefficientRange, match=r"column 0 of coefficient encoder.weight reaches"
    ):
        program.with_parameters(scaled(program.model, (1e-3, 1.0)))


def test_a_sample_beyond_its_channel_s_range_is_refused_by_name() -> None:
    program, x = compiled()
    q = input_types(program.ir)["x"].q
    assert 2.0 ** (27 - q.fracs[0]) > 100.0  # the other channel would hold it
    wild = x[0] * np.array([1.0, 1e5])
    held = (2**27 - 1) * 2.0 ** -q.fracs[1]
    sentence = f"channel 1 of x reaches {np.abs(wild[:, 1]).max():.6g}, but this program holds at "
    sentence += f"most {held:.6g} there; compile with samples that cover the range"
    with pytest.raises(el.InputRange) as caught:
        program.run(wild)
    assert str(caught.value) == sentence
    for level in ("jax", "onnx"):
        with pytest.raises(el.InputRange):
            el.verify(program, wild[None], [None], levels=(level,))
    with pytest.raises(el.InputRange, match="channel 1 of a sample"):
        fixed_value_and_grad(program)(program.model, wild[None], np.array([0]))
