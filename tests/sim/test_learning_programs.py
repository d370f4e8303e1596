"""A program that learns is one like others: streams, ONNX and given beginnings; and its training
goes the way that its formats were chosen for."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning_programs import made, well

import echoloom as el
from echoloom.backends.compile.pipeline import Arguments, compiled
from echoloom.frontend.models.hssm import with_statistics

UPDATES, BATCH, STEPS = 6, 6, 10


def test_other_ways_to_run_it() -> None:
    program, x, y = made("linear")
    whole = program.run(x[0])
    stream = program.stream()
    stream.push(x[0][:2])
    np.testing.assert_array_equal(stream.push(x[0][2:]), program.real_outputs(whole))
    rest = [(np.zeros(4), np.zeros(4))]
    np.testing.assert_array_equal(program.run(x[0], initial=rest).outputs, whole.outputs)
    report = el.verify(program, x[:1], [int(y[0])], levels=("onnx",))
    assert report.levels["onnx"].mismatches == 0
    plain = el.compile(program.model, x, y, lanes=1)
    for name, own in plain.coefficient_gradients(plain.run(x[0], y[0]), len(x[0])).items():
        found = program.coefficient_gradients(program.run(x[0], y[0]), len(x[0]))[name]
        np.testing.assert_allclose(found, own, rtol=0.0, atol=0.02 * np.abs(own).max())


def task(unit: str) -> tuple[el.HSSM, np.ndarray, np.ndarray]:
    """An untrained model, tones of two pitches [12, STEPS, 2], and which or how loud they are."""
    kinds: dict[str, dict[str, Any]] = {
        "real": {"complex": False},
        "own": {"unit": well(), "step": 0.2},
        "steep": {"unit": well()},
        "regression": {},
    }
    kind = kinds.get(unit, {"unit": unit})
    random, at = np.random.default_rng(2), np.arange(STEPS)
    pitch = np.arange(12) % 2
    tone = np.sin((0.3 + 0.9 * pitch)[:, None] * at + random.uniform(0, 6, (12, 1)))
    x = np.stack([tone, 0.3 * random.normal(size=tone.shape)], axis=-1)
    regression = unit == "regression"
    sizes: dict[str, Any] = {"task": "regression"} if regression else {}
    model = el.HSSM(2, 1 if regression else 2, 3, 2, 1, **sizes, **kind, key=jax.random.key(3))
    y = np.tanh(np.cumsum(x[..., :1], axis=1) / 4.0) if regression else pitch
    return with_statistics(model, jnp.asarray(x, model.encoder.weight.dtype)), x, y


@pytest.mark.parametrize("unit", ["real", "linear", "nonlinear", "own", "regression"])
def test_integers_go_the_way_of_the_course(unit: str) -> None:
    """The same rule on the same batches: weights that part are those whose gradient is next to
    nothing, and nothing leaves its format on the way."""
    model, x, y = task(unit)
    rule = el.SignUpdate(step=2.0**-6, updates=UPDATES, batch=BATCH, halve_at=(3,))
    found: dict[str, Any] = {}
    program = compiled(
        Arguments(model, x, y, "ecp5-85k", 4, None, 4, None, None, rule),
        lambda stage, made: found.update({stage.name: made}),
    )
    result = program.learn(x, y, level="numpy")
    assert not result.overflowed.any()
    _, last = found["course"].course.ends
    assert program.learning is not None
    near = [
        np.abs(result.weights[t.name][-1] * 2.0**-t.frac - last[t.name]).reshape(-1) < 2.0**-t.frac
        for t in program.learning.tensors
    ]
    assert np.concatenate(near).mean() > 0.9
    moved = [np.any(w[-1] != w[0]) for w in result.weights.values()]
    assert all(moved)


def test_a_unit_that_its_training_drives_off_is_refused() -> None:
    model, x, y = task("steep")
    rule = el.SignUpdate(step=2.0**-6, updates=UPDATES, batch=BATCH)
    with pytest.raises(ValueError, match=r"^after [1-6] updates of training block 0 runs away: at"):
        el.compile(model, x, y, lanes=4, learning=rule)
