"""Bad input through the API: each is one known sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_programs import INPUTS, STEPS, samples, small_model

import echoloom as el
from echoloom.backends.run.integers import input_types
from echoloom.frontend.energy.hamiltonian import Oscillators
from echoloom.frontend.models.units import RawUnit
from echoloom.ir.formats import largest

X = samples()
NAN = X.copy()
NAN[1, 3, 2] = np.nan


class Bare(RawUnit):
    """Oscillators as they are: nothing keeps the stiffness or the steps positive."""

    unit: Oscillators
    step: jax.Array
    readout: jax.Array

    def resolve(self) -> tuple[Oscillators, jax.Array, jax.Array]:
        return self.unit, self.step, self.readout


def bare(stiffness: float, step: float) -> el.HSSM:
    """A model whose second oscillator has the given stiffness and step."""
    model = small_model(complex=False)
    unit, steps, readout = model.blocks[0].unit.resolve()
    assert isinstance(unit, Oscillators)
    unit = Oscillators(unit.stiffness.at[1].set(stiffness), unit.drive)
    own = Bare(unit, steps.at[1].set(step), readout)
    return eqx.tree_at(lambda m: m.blocks[0].unit, model, own)


def regression() -> el.HSSM:
    return small_model(outputs=2, task="regression", output_step=4)


COMPILE: dict[str, tuple[Callable[[], object], str]] = {
    "NaN samples": (
        lambda: el.compile(small_model(), NAN),
        "samples: nan at [1, 3, 2] (1 in all), but every value must be finite.",
    ),
    "infinite samples": (
        lambda: el.compile(small_model(), np.where(np.isnan(NAN), np.inf, NAN)),
        "samples: inf at [1, 3, 2] (1 in all), but every value must be finite.",
    ),
    "channels": (
        lambda: el.compile(small_model(), X[:, :, :2]),
        "samples: the shape is [2, 12, 2], but this model takes [N, T, 3].",
    ),
    "rank": (
        lambda: el.compile(small_model(), X[0]),
        "samples: the shape is [12, 3], but this model takes [N, T, 3].",
    ),
    "no samples": (
        lambda: el.compile(small_model(), X[:0]),
        "samples: there are 0 sequences of 12 steps, but at least one of 1 or more is needed.",
    ),
    "no steps": (
        lambda: el.compile(small_model(), X[:, :0]),
        "samples: there are 2 sequences of 0 steps, but at least one of 1 or more is needed.",
    ),
    "fewer steps than one output": (
        lambda: el.compile(regression(), X[:, :3]),
        "samples: there are 2 sequences of 3 steps, but at least one of 4 or more is needed.",
    ),
    "label out of range": (
        lambda: el.compile(small_model(), X, [0, 3]),
        "labels: 3 at [1] is out of range; the classes of this model are 0 to 2.",
    ),
    "fractional labels": (
        lambda: el.compile(small_model(), X, [0.0, 1.0]),
        "labels: the type is float64, but whole numbers are needed.",
    ),
    "number of labels": (
        lambda: el.compile(small_model(), X, [0, 1, 2]),
        "labels: the shape is [3], but one for each of 2 samples, shape [2], is needed.",
    ),
    "shape of targets": (
        lambda: el.compile(regression(), X, np.zeros((2, STEPS, 2))),
        "labels: the shape is [2, 12, 2], but targets of shape [2, 3, 2] are needed.",
    ),
    "NaN targets": (
        lambda: el.compile(regression(), X, np.full((2, 3, 2), np.nan)),
        "labels: nan at [0, 0, 0] (12 in all), but every value must be finite.",
    ),
    "negative stiffness": (
        lambda: el.compile(bare(-0.5, 0.6), X),
        "check: blocks[0].unit.stiffness resolves to -0.5 at [1], but a stiffness must be >= 0.",
    ),
    "step of zero": (
        lambda: el.compile(bare(0.5, 0.0), X),
        "check: blocks[0].step resolves to 0 at [1], but a step must be > 0.",
    ),
    "negative step": (
        lambda: el.compile(bare(0.5, -0.1), X),
        "check: blocks[0].step resolves to -0.1 at [1], but a step must be > 0.",
    ),
    "raw step that underflows": (
        lambda: el.compile(
            eqx.tree_at(lambda m: m.blocks[0].unit.step, small_model(), jnp.asarray([0.1, -1e4])),
            X,
        ),
        "check: blocks[0].step resolves to 0 at [1], but a step must be > 0.",
    ),
    "unstable oscillator": (
        lambda: el.compile(bare(8.0, 0.8), X),
        "check: blocks[0] has an oscillator with step**2 * stiffness = 5.12 at [1], but the "
        "leapfrog step is stable only below 4.",
    ),
    "NaN parameter": (
        lambda: el.compile(
            eqx.tree_at(lambda m: m.head.bias, small_model(), jnp.asarray([0.0, np.nan, 0.0])), X
        ),
        "check: parameter head.bias is nan at [1]; every parameter must be finite.",
    ),
    "unknown target": (
        lambda: el.compile(small_model(), X, target="ecp5-12k"),
        "unknown target 'ecp5-12k'; known targets are "
        "ecp5-85k, ecp5-45k, ecp5-25k, gw2a-18, hx8k, up5k",
    ),
    "no lanes": (
        lambda: el.compile(small_model(), X, lanes=0),
        "an engine has lanes >= 1, 1 <= drains <= lanes and 1 <= slots <= 8, got lanes=0, "
        "drains=1, slots=4",
    ),
    "more drains than lanes": (
        lambda: el.compile(small_model(), X, lanes=2, drains=3),
        "an engine has lanes >= 1, 1 <= drains <= lanes and 1 <= slots <= 8, got lanes=2, "
        "drains=3, slots=4",
    ),
    "no slots": (
        lambda: el.compile(small_model(), X, lanes=2, slots=0),
        "an engine has lanes >= 1, 1 <= drains <= lanes and 1 <= slots <= 8, got lanes=2, "
        "drains=1, slots=0",
    ),
}


@pytest.mark.parametrize("case", COMPILE)
def test_compile_refuses(case):
    call, sentence = COMPILE[case]
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == sentence


RUN: dict[str, tuple[object, object, str]] = {
    "NaN": (NAN[1], None, "input: nan at [3, 2] (1 in all), but every value must be finite."),
    "shape": (
        X[0, :, :2],
        None,
        "input: its shape is [12, 2], but this model takes [T, 3] with T >= 1.",
    ),
    "rank": (X, None, "input: its shape is [2, 12, 3], but this model takes [T, 3] with T >= 1."),
    "no steps": (
        X[0, :0],
        None,
        "input: its shape is [0, 3], but this model takes [T, 3] with T >= 1.",
    ),
    "label out of range": (
        X[0],
        3,
        "label: 3 is out of range; the classes of this model are 0 to 2.",
    ),
    "negative label": (
        X[0],
        -1,
        "label: -1 is out of range; the classes of this model are 0 to 2.",
    ),
    "fractional label": (
        X[0],
        1.5,
        "label: it is float64[], but classification takes one whole number.",
    ),
}


@pytest.mark.parametrize("case", RUN)
def test_run_refuses(case, classifier):
    x, label, sentence = RUN[case]
    with pytest.raises(ValueError) as caught:
        classifier.run(x, label)
    assert str(caught.value) == sentence


def test_run_refuses_what_lies_outside_the_calibrated_range(classifier):
    with pytest.raises(ValueError) as caught:
        classifier.run(np.full((5, INPUTS), 1e6))
    q = input_types(classifier.ir)["x"].q
    most = largest(q.width) * 2.0**-q.scalar_frac
    assert str(caught.value) == (
        f"x reaches 1e+06, but this program holds at most {most:.6g}; compile with samples that "
        "cover the range"
    )


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [
        (
            np.zeros((STEPS, 2)),
            "label: its shape is [12, 2], but the targets of 12 steps have shape [3, 2].",
        ),
        (
            np.full((3, 2), np.nan),
            "label: nan at [0, 0] (6 in all), but every value must be finite.",
        ),
    ],
)
def test_run_refuses_targets(targets, sentence):
    program = el.compile(regression(), X, lanes=2)
    with pytest.raises(ValueError) as caught:
        program.run(X[0], targets)
    assert str(caught.value) == sentence


REUSE = "compile the new model instead of reusing formats"


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            lambda: small_model(hidden=5),
            f"the new model has hidden = 5, but this program was compiled for 4; {REUSE}",
        ),
        (
            lambda: small_model(complex=False),
            f"the new model has complex = False, but this program was compiled for True; {REUSE}",
        ),
        (
            lambda: small_model(integrator="imex"),
            "the new model has integrator = imex, but this program was compiled for leapfrog; "
            f"{REUSE}",
        ),
        (
            lambda: small_model(substeps=2),
            f"the new model has substeps = 2, but this program was compiled for 1; {REUSE}",
        ),
        (
            lambda: small_model(blocks=2),
            "the new model has other blocks or units than the one that this program was compiled "
            f"for; {REUSE}",
        ),
        (
            lambda: eqx.tree_at(
                lambda m: m.head.bias, small_model(), replace_fn=lambda a: a * np.nan
            ),
            "check: parameter head.bias is nan at [0]; every parameter must be finite.",
        ),
    ],
)
def test_with_parameters_refuses(classifier, model, sentence):
    with pytest.raises(ValueError) as caught:
        classifier.with_parameters(model())
    assert str(caught.value) == sentence


def test_with_parameters_refuses_what_its_formats_cannot_hold(classifier):
    model = eqx.tree_at(
        lambda m: m.encoder.weight, classifier.model, replace_fn=lambda a: 100.0 * a
    )
    declared = next(d for d in classifier.ir.coefficients if d.name == "encoder.weight")
    reached = float(jnp.abs(model.encoder.weight).max())
    with pytest.raises(ValueError) as caught:
        classifier.with_parameters(model)
    assert str(caught.value) == (
        f"coefficient encoder.weight reaches {reached:.6g}, which its format {declared.type.q} "
        f"cannot hold; {REUSE}"
    )


def test_overflow_is_an_exception(classifier):
    """Numbers that mean nothing are not handed out."""
    artifact = classifier.artifact
    words = dict(artifact.coefficients)
    words["b0.unit.stiffness"] = -words["b0.unit.stiffness"]  # every spring pushes
    program = replace(classifier, artifact=replace(artifact, coefficients=words))
    x = np.tile(X[0], (20, 1))
    for call in (lambda: program.predict(x), lambda: program.gradient(x, 1)):
        with pytest.raises(el.Overflowed) as caught:
            call()
        kept = caught.value.kept
        assert kept is not None
        np.testing.assert_array_equal(kept.x, x)
        assert str(caught.value) == (
            f"this sequence overflows: {kept.excess}, so its numbers mean nothing; compile with "
            "samples that cover its range, or with more margin"
        )
