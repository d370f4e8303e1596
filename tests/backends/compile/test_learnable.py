"""What a program lets learn, the training that its formats hold for, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import numpy as np
import pytest
from tiny_programs import INPUTS, small_model

import echoloom as el
from echoloom.backends.compile.pipeline import Arguments, compiled
from echoloom.ir.learning import Rule
from echoloom.ir.ops import Op
from echoloom.ir.sections import Section
from echoloom.ir.widths import Widths

X = np.random.default_rng(0).standard_normal((6, 8, INPUTS))
Y = (X[:, :, 0].mean(1) > 0.0).astype(int)
FEW = {"batch": 3, "updates": 12}
LINEAR = {"outputs": 2, "complex": False}


def arguments(rule: Rule | None, **sizes: Any) -> Arguments:
    model = small_model(**{**LINEAR, **sizes})
    return Arguments(model, X, Y, "ecp5-85k", 4, None, 4, None, None, rule)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    found: dict[str, Any] = {}
    rule = el.SignUpdate(step=2.0**-5, **FEW)  # type: ignore[arg-type]
    found["program"] = compiled(arguments(rule), lambda s, own: found.update({s.name: own}))
    return found


def test_all_that_can_learn_does(made: dict[str, Any]) -> None:
    plan = made["program"].learning
    names = {t.name for t in plan.tensors}
    assert plan.frozen == {"b0.step": "its gradient is 3 sums, which only the host adds up"}
    assert names == {d.name for d in made["program"].ir.coefficients} - {"b0.step"}
    assert [t.name for t in plan.tensors if t.positive] == ["b0.unit.stiffness"]
    signs = {a.target: np.sign(a.scale) for a in made["program"].ir.accumulators}
    assert all(t.sign == signs[t.name] for t in plan.tensors)
    assert plan.length == X.shape[1]


def test_a_tensor_that_learns_has_one_exponent(made: dict[str, Any]) -> None:
    program = made["program"]
    learned = {t.name: t.frac for t in program.learning.tensors}
    for d in program.ir.coefficients:
        if d.name in learned:
            assert d.type.q.scalar_frac == learned[d.name]
            assert d.type.q.width == Widths.narrow
    assert all(not a.type.q.per_element for a in program.ir.accumulators)
    assert any(d.type.q.per_element for d in compiled(arguments(None)).ir.coefficients)


def test_channels_keep_exponents_where_their_matrix_does_not_learn() -> None:
    large = np.array([1.0, 1.0, 300.0])
    model = small_model(**LINEAR)
    model = eqx.tree_at(lambda m: m.encoder.weight, model, model.encoder.weight / large)

    def uniform(learn: tuple[str, ...]) -> bool:
        rule = el.SignUpdate(learn=learn, batch=3, updates=2)
        ir = el.compile(model, X * large, Y, lanes=4, learning=rule).ir
        return not ir.body(Section.FORWARD_STEP).frame[0].type.q.per_element

    assert not uniform(("head",))
    assert uniform(("encoder", "head"))


def test_addends_are_held(made: dict[str, Any]) -> None:
    ir = made["program"].ir
    held = [d.name for d in ir.states if d.name.endswith(".held")]
    biases = ["encoder.bias", "head.bias", "b0.shift", "b0.value.bias", "b0.gate.bias"]
    assert sorted(held) == sorted(f"{name}.held" for name in biases)
    prologue = ir.body(Section.FORWARD_PROLOGUE)
    factors = {i.args[0] for i in prologue.instrs if i.op is Op.MUL}
    assert factors == set(biases)
    read = {a for b in ir.bodies if b is not prologue for i in b.instrs for a in i.args}
    assert read.isdisjoint(biases) and read.issuperset(held)


def test_what_is_held_is_the_weight_of_the_moment(made: dict[str, Any]) -> None:
    """Other words of a bias move the outputs, though no memory but the weights' has them."""
    artifact = made["program"].artifact
    words = dict(artifact.coefficients)
    before = made["program"].predict(X[0])
    words["head.bias"] = words["head.bias"] + 1000
    moved = replace(made["program"], artifact=replace(artifact, coefficients=words))
    frac = next(t.frac for t in moved.learning.tensors if t.name == "head.bias")
    np.testing.assert_array_equal(moved.predict(X[0]) - before, [1000 * 2.0**-frac] * 2)
    np.testing.assert_allclose(before, compiled(arguments(None)).predict(X[0]), atol=1e-3)


def test_formats_hold_for_the_course(made: dict[str, Any]) -> None:
    course = made["course"].course
    margin = course.learning.rule.margin
    first, last = course.ends
    for d in made["program"].ir.coefficients:
        if d.name in course.largest:
            reached = float(course.largest[d.name].max())
            assert reached >= max(np.abs(first[d.name]).max(), np.abs(last[d.name]).max())
            room = 2.0 ** (d.type.q.width - 1 - d.type.q.scalar_frac)
            assert reached * 2**margin <= room <= max(reached, 2.0**-40) * 2 ** (margin + 1)
    assert (last["b0.unit.stiffness"] >= 0.0).all()
    assert course.losses[-1] < course.losses[0] / 2.0
    np.testing.assert_array_equal(first["b0.step"], last["b0.step"])


def test_a_step_moves_every_weight_by_as_much(made: dict[str, Any]) -> None:
    course = made["course"].course
    first, last = course.ends
    steps = np.abs(last["head.weight"] - first["head.weight"]) / 2.0**-5
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
    assert steps.max() <= FEW["updates"]


def test_signals_have_room_for_what_the_trained_model_does(made: dict[str, Any]) -> None:
    """Ranges are those of every snapshot, not of the untrained model alone."""
    alone = compiled(arguments(None))
    ranges = made["ranges"]
    key = (Section.FORWARD_EPILOGUE, alone.ir.body(Section.FORWARD_EPILOGUE).emits[0])
    untrained = np.abs([alone.predict(x) for x in X]).max()
    assert ranges.values[key] > 1.2 * untrained


@pytest.mark.parametrize(
    ("learn", "said"),
    [
        (("heads",), "learn names 'heads', but what can learn is encoder.weight, encoder.bias"),
        (("b0.step",), "learn names 'b0.step', but b0.step cannot learn on a board: its gradient"),
        (("b1",), "learn names 'b1', but what can learn is"),
    ],
)
def test_what_cannot_learn_is_refused(learn: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError) as refusal:
        compiled(arguments(el.SignUpdate(learn=learn, **FEW)))  # type: ignore[arg-type]
    assert str(refusal.value).startswith(said)


def test_a_rule_may_name_what_learns() -> None:
    rule = el.SignUpdate(learn=("head", "b0.value.weight"), **FEW)  # type: ignore[arg-type]
    program = compiled(arguments(rule))
    assert program.learning is not None
    learned = [t.name for t in program.learning.tensors]
    assert learned == ["head.weight", "head.bias", "b0.value.weight"]
    why = program.learning.frozen["b0.readout"]
    assert why == "it is not among those that the rule lets learn"
    held = [d.name for d in program.ir.states if d.name.endswith(".held")]
    assert held == ["head.bias.held"]


def test_learning_needs_labels_and_a_rule() -> None:
    model = small_model(**LINEAR)
    with pytest.raises(ValueError, match="learning needs labels"):
        el.compile(model, X, learning=el.SignUpdate())
    with pytest.raises(ValueError, match="learning is 'sign', but it must be None, a SignUpdate"):
        el.compile(model, X, Y, learning="sign")  # type: ignore[arg-type]


def test_a_training_that_runs_away_is_refused() -> None:
    with pytest.raises(ValueError, match="the training runs away at update 2 of 12"):
        compiled(arguments(el.SignUpdate(step=1e300, **FEW)))  # type: ignore[arg-type]


def test_rules_that_short_words_cannot_follow() -> None:
    model = small_model(**LINEAR)
    with pytest.raises(ValueError, match="a ScaledUpdate needs words of 28 bits or more"):
        el.compile(model, X, Y, target="up5k", lanes=2, learning=el.ScaledUpdate(**FEW))  # type: ignore[arg-type]
    momentum = el.SignUpdate(momentum=True, **FEW)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="momentum needs weights of 18 bits or more"):
        el.compile(model, X, Y, target="up5k", lanes=2, learning=momentum)
