"""program.learn and with_weights: trainings by the program's own integers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from learning_programs import BATCH, CASES, COUNT, RULES, STEPS, made

import echoloom as el
from echoloom.backends.compile.learned import LearnResult, lesson_of, trained
from echoloom.backends.run import learning_jax
from echoloom.backends.run.integers import to_real
from echoloom.backends.run.learning_run import NumpyLearner
from echoloom.ir.flags import Flag
from echoloom.ir.formats import Q, Type, largest
from echoloom.ir.sections import Section


def same(found: LearnResult[Any], expected: LearnResult[Any]) -> None:
    for name, words in expected.weights.items():
        assert np.array_equal(found.weights[name], words), name
        assert np.array_equal(found.clamped[name], expected.clamped[name])
    for name, shifts in expected.shifts.items():
        assert np.array_equal(found.shifts[name], shifts)
    assert np.array_equal(found.losses, expected.losses)
    assert np.array_equal(found.forward_flags, expected.forward_flags)
    assert np.array_equal(found.echo_flags, expected.echo_flags)
    assert found.exponent == expected.exponent


@pytest.mark.parametrize("case", CASES)
def test_weights_come_back_as_a_model(case: str, tmp_path: Path) -> None:
    """Any words do, up to the ends of their formats: the model that they become folds to them."""
    program, _, _ = made(case)
    assert program.learning is not None
    random, words = np.random.default_rng(3), {}
    types = {d.name: d.type for d in program.ir.coefficients}
    for t in program.learning.tensors:
        most = largest(types[t.name].q.width)
        low = 0 if t.positive else -most
        words[t.name] = random.integers(low, most + 1, types[t.name].shape)
        words[t.name].flat[0] = low
    found = program.with_weights(words)
    el.save_model(tmp_path / "m.eqx", found.model)
    unit = program.model.blocks[0].unit
    own = unit.hamiltonian if case == "user" else None  # type: ignore[attr-defined]
    for again in (
        program.with_parameters(found.model),
        program.with_parameters(el.load_model(tmp_path / "m.eqx", own)),
        found,
    ):
        for d in program.ir.coefficients:
            wanted = words.get(d.name, program.artifact.coefficients[d.name])
            assert np.array_equal(again.artifact.coefficients[d.name], wanted), d.name
    assert program.image.config == found.image.config
    found.save(tmp_path / "p.elp")
    loaded = el.load(tmp_path / "p.elp", own)
    assert loaded.image == found.image and loaded.learning == program.learning


def test_models_in_float32_come_back_in_float32() -> None:
    program, _, _ = made("linear")
    narrow = jax.tree.map(
        lambda a: a.astype(np.float32) if jax.numpy.issubdtype(a.dtype, np.floating) else a,
        program.model,
    )
    program = program.with_parameters(narrow)
    assert program.learning is not None
    words = {t.name: program.artifact.coefficients[t.name] + 1 for t in program.learning.tensors}
    found = program.with_weights(words)
    assert found.model.head.weight.dtype == np.float32
    assert np.array_equal(found.artifact.coefficients["head.weight"], words["head.weight"])


def test_weights_that_are_none_are_refused() -> None:
    program, _, _ = made("linear")
    bias = program.artifact.coefficients["head.bias"]
    for words, said in (
        ({"b0.step": 0}, "b0.step is not among the weights that this program learns: encoder"),
        ({"head.bias": bias[:-1]}, "whole numbers of shape .3. are needed, got int64 of shape"),
        ({"head.bias": bias * 1.0}, "got float64"),
        ({"head.bias": bias + (1 << 18)}, "its words go from -131071 to 131071, got"),
    ):
        with pytest.raises(ValueError, match=said):
            program.with_weights(words)


def test_a_result_says_what_happened() -> None:
    program, x, y = made("complex")
    found = program.learn(x, y, 2)
    assert found.order.shape == (2, BATCH) == found.losses.shape
    assert found.weights["head.weight"].shape == (3, 3, 3)
    assert np.array_equal(found.weights["head.bias"][0], program.artifact.coefficients["head.bias"])
    ends = {name: own[-1] for name, own in found.weights.items()}
    held = found.program.artifact.coefficients
    assert all(np.array_equal(held[name], own) for name, own in ends.items())
    before = program.with_weights({name: own[1] for name, own in found.weights.items()})
    for at, outputs in zip(found.order[1], found.outputs[1], strict=True):
        assert np.array_equal(before.run(x[at]).outputs, outputs)
    assert found.exponent == 0 and not found.overflowed.any()
    assert len(np.unique(found.order)) == COUNT  # each comes before any comes twice


@pytest.mark.parametrize("case", ["linear", "nonlinear"])
def test_a_batch_in_turn_gives_the_same(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, x, y = made(case)
    expected = program.learn(x, y, 2, level="jax")
    monkeypatch.setattr(learning_jax, "limits", lambda p: {a.name: 0.0 for a in p.accumulators})
    same(program.learn(x, y, 2, level="jax"), expected)


def test_sums_that_overflow_do_so_in_the_same_sequence() -> None:
    """At every width down to where all overflow."""
    program, x, y = made("nonlinear")
    seen = set()
    for width in range(46, 36, -3):
        sums = tuple(
            replace(a, type=Type(a.type.shape, Q(width, a.type.q.frac)))
            for a in program.ir.accumulators
        )
        artifact = replace(program.artifact, program=replace(program.ir, accumulators=sums))
        tight = replace(program, artifact=artifact)
        found = {level: tight.learn(x, y, 2, level=level) for level in ("numpy", "jax")}
        same(found["jax"], found["numpy"])
        seen |= set((found["numpy"].echo_flags & Flag.ACCUMULATOR).ravel().tolist())
    assert seen == {0, int(Flag.ACCUMULATOR)}


def other_lengths(x: np.ndarray) -> list[np.ndarray]:
    return [x[0], np.concatenate([x[1], x[1]]), x[2][:4], x[3], x[4]]


def test_sequences_of_other_lengths_learn_the_same_under_jax() -> None:
    program, x, y = made("linear")
    found = {
        level: program.learn(other_lengths(x), y, level=level, order=[[0, 1, 2], [4, 2, 2]])
        for level in ("numpy", "jax")
    }
    same(found["jax"], found["numpy"])
    with pytest.raises(ValueError, match="a sequence has 3 steps, but this program was compiled"):
        program.learn([x[0], x[1][:3]], y[:2], 1)


@pytest.mark.parametrize("case", CASES)
def test_sums_of_a_batch_are_the_gradient_of_its_loss(case: str) -> None:
    """Every sequence by itself has its error as large as words hold; the mean of those gradients is
    what one shared exponent and, for sequences of several lengths, one weight by length give."""
    program, x, y = made(case)
    plan = program.learning
    assert plan is not None
    xs = [*x] if case == "regression" else other_lengths(x)
    lesson = lesson_of(program, xs, y, order=[[0, 1, 2]])
    batch = NumpyLearner(program.artifact).batch(lesson, 0)
    alone = [program.coefficient_gradients(program.run(xs[n], y[n]), len(xs[n])) for n in range(3)]
    accumulators = {a.name: a for a in program.ir.accumulators}
    once, per_step = program.artifact.host.objective.shares(batch.outputs[0].shape, plan.length)
    told_once = {name for name, _ in program.ir.body(Section.ECHO_PROLOGUE).accumulates}
    for t in plan.tensors:
        a = accumulators[t.accumulator]
        share = once if t.accumulator in told_once else per_step
        scale = a.scale * share * 2.0**lesson.shared.exponent
        found = to_real(batch.sums[t.accumulator], a.type.q) * scale
        wanted = sum(own[t.name] for own in alone)
        off = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        assert off < 0.01, (t.name, off)


def test_a_regression_has_one_gain_for_all() -> None:
    program, x, y = made("regression")
    found = program.learn(x, y, 1, order=[[0, 1]])
    outputs = [program.artifact.host.decode(program.run(x[n]).outputs) for n in (0, 1)]
    largest_error = max(np.abs(out - y[n]).max() for n, out in enumerate(outputs))
    assert 0.5 <= largest_error * 2.0**-found.exponent < 1.0
    assert program.learn(x, y, 1, order=[[0, 1]], exponent=1).exponent == 1
    with pytest.raises(ValueError, match="6 to 8 steps, but a regression learns on the board"):
        program.learn([x[0], np.zeros((8, 2))], [y[0], np.zeros((4, 3))], 1)


def test_what_does_not_fit_is_refused() -> None:
    program, x, y = made("linear")
    for arguments, said in (
        ({"y": y[:-1]}, "5 sequences and 4 labels"),
        ({"X": x[:0], "y": y[:0]}, "0 sequences and 0 labels"),
        ({"updates": 0}, "updates is 0 and batch 3, but both must be > 0"),
        ({"updates": 1.5}, "learn: updates"),
        ({"level": "rtl"}, "level is 'rtl', but it must be numpy or jax"),
        ({"order": [0, 1]}, "order has shape .2. and type int64"),
        ({"order": [[0, 5]]}, "order names sequences 0 to 5, but there are 5, counted from 0"),
        ({"order": [[0, 1]], "updates": 2}, "order is for 1 updates, but updates is 2"),
        ({"X": [x[0]], "y": [7]}, "label"),
    ):
        with pytest.raises(ValueError, match=said):
            program.learn(**{"X": x, "y": y, **arguments})


def test_a_program_for_no_rule_does_not_learn() -> None:
    program, x, y = made("linear")
    artifact = replace(program.artifact, mapped=replace(program.artifact.mapped, learning=None))
    with pytest.raises(ValueError, match="cannot learn on a board; compile it with learning="):
        replace(program, artifact=artifact).learn(x, y, 1)


def test_learning_lessens_the_loss() -> None:
    """Labels by the sign of the first channel's mean."""
    model = el.HSSM(2, 2, 4, 2, 1, key=jax.random.key(1))
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (16, STEPS, 2)) + np.repeat([[[0.5, 0]], [[-0.5, 0]]], 8, axis=0)
    y = np.repeat([0, 1], 8)
    rule = replace(RULES["sign"], step=2.0**-5, updates=24, batch=4, halve_at=(16,))
    program = el.compile(model, x, y, lanes=4, learning=rule)
    found = trained(program, lesson_of(program, x, y), "jax")
    assert found.losses[-6:].mean() < 0.6 * found.losses[:6].mean()
    assert sum(own.sum() for own in found.clamped.values()) == 0
