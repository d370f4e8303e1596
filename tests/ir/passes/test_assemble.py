"""The forward and echo programs of a stack: what is in them, and that they give the gradient."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from ir_models import STEPS, Built, Sizes, build, sizes

from echoloom.frontend.gradients.bptt import bptt_gradient
from echoloom.ir.host import Host, run
from echoloom.ir.interpret import Machine
from echoloom.ir.ops import Op
from echoloom.ir.program import Program
from echoloom.ir.real import REAL_RULES
from echoloom.ir.sections import SWEPT, Section
from echoloom.ir.verifier import verify

UNITS = ("linear", "quartic", "massive")


@given(sizes(UNITS))
@settings(max_examples=5, deadline=None)
def test_shape_of_the_programs(s: Sizes) -> None:
    built = build(s)
    positions = s.state * (2 if s.complex and s.unit == "linear" else 1)
    for program in (built.assembled, built.simplified):
        assert [b.section for b in program.bodies] == list(SWEPT)
        types = {d.name: d.type.shape for d in program.globals()}
        states = {d.name for d in program.states}
        for block in range(s.blocks):
            for copy in ("free", "plus", "minus"):
                for letter in "qp":
                    assert types[f"b{block}.{copy}.{letter}"] == (positions,)
            assert types[f"b{block}.readout"] == (s.hidden, positions)
            assert types[f"b{block}.step"] == (positions,)
        classification = s.task == "classification"
        assert ({"mean", "pulled"} <= states) == classification
        assert [d.name for d in program.runtime] == (
            ["inverse_length", "error"] if classification else []
        )
        frames = [d.name for d in program.body(Section.ECHO_STEP).frame]
        assert frames == ["x"] if classification else ["x", "target", "gain"]
        emitting = Section.FORWARD_EPILOGUE if classification else Section.FORWARD_STEP
        for body in program.bodies:
            assert len(body.emits) == (1 if body.section is emitting else 0)


@given(sizes(UNITS))
@settings(max_examples=5, deadline=None)
def test_every_coefficient_has_a_gradient(s: Sizes) -> None:
    built = build(s)
    targets = {a.target for a in built.simplified.accumulators} - {""}
    learned = {d.name for d in built.simplified.coefficients} - {"identity"}
    if s.unit == "linear" or s.unit == "quartic":
        assert targets == learned
    else:  # the mass is in T alone
        assert {f"b{b}.unit.inverse_mass" for b in range(s.blocks)} <= targets == learned


def test_the_step_is_written_once_for_all_copies() -> None:
    """Three leapfrogs in the echo, one in the forward pass, each of two drifts and one kick."""
    program = build(Sizes()).simplified
    for section, copies in ((Section.FORWARD_STEP, 1), (Section.ECHO_STEP, 3)):
        names = [i.name for i in program.body(section).instrs]
        assert sum(n.endswith((".first.q", ".second.q", ".kick.p")) for n in names) == 3 * copies


def test_the_drive_of_the_three_copies_is_computed_once() -> None:
    program = build(Sizes()).simplified
    body = program.body(Section.ECHO_STEP)
    drives = [i for i in body.instrs if i.op is Op.MATVEC and i.args[0] == "b0.unit.drive"]
    assert len(drives) == 1


def real_gradient(built: Built, program: Program) -> dict[str, np.ndarray]:
    """Gradients of the folded coefficients of one sequence, as a host adds them up."""
    machine = Machine(program, REAL_RULES, dict(built.values))
    x, classification = built.samples[0], built.sizes.task == "classification"
    label = np.array(1) if classification else np.full((len(x), built.sizes.outputs), 0.25)
    result = run(Host(program, 1), machine.sweep, x, label)
    common = 2.0 ** float(result.exponent) * (1 if classification else 2 / label.size)
    echo = {name for name, _ in program.body(Section.ECHO_STEP).accumulates}
    gradients: dict[str, np.ndarray] = {}
    for a in program.accumulators:
        if not a.target:
            continue
        per_step = built.sizes.task == "classification" and a.name in echo
        value = machine.accumulators[a.name] * a.scale * common / (len(x) if per_step else 1)
        if a.divisor:
            value = value / built.values[a.divisor]
        gradients[a.target] = gradients.get(a.target, 0.0) + value
    return gradients


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_echo_gives_the_gradient(task: str) -> None:
    """A linear stack's contrast is exact, so both programs agree with BPTT to float64's rounding
    (times 1/epsilon: the echoes are differences of states)."""
    built = build(Sizes(blocks=2, task=task))
    x = jnp.asarray(built.samples[0])
    label = 1 if task == "classification" else jnp.full((STEPS, built.sizes.outputs), 0.25)
    expected = bptt_gradient(built.model, x, label)  # type: ignore[arg-type]
    for program in (built.assembled, built.simplified):
        found = real_gradient(built, verify(program))
        pairs = [
            ("encoder.weight", expected.encoder.weight),
            ("encoder.bias", expected.encoder.bias),
            ("head.weight", expected.head.weight),
            ("head.bias", expected.head.bias),
        ]
        for index, block in enumerate(expected.blocks):
            pairs += [
                (f"b{index}.feedthrough", block.feedthrough),
                (f"b{index}.value.weight", block.value.weight),
                (f"b{index}.gate.bias", block.gate.bias),
            ]
        for name, gradient in pairs:
            np.testing.assert_allclose(found[name], np.asarray(gradient), rtol=1e-6, atol=1e-10)
