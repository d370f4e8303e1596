"""Programs of every integrator and number of substeps: their gradients, names and retracing."""

from __future__ import annotations

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ir_models import STEPS, Massive, Quartic

from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.gradients.loss import cross_entropy, squared_error
from echoloom.frontend.models import parts
from echoloom.frontend.models.hssm import HSSM, run
from echoloom.frontend.models.stack import folded_stack
from echoloom.ir.formats import real
from echoloom.ir.host import Host
from echoloom.ir.host import run as run_sweeps
from echoloom.ir.interpret import Machine
from echoloom.ir.ops import Op
from echoloom.ir.parser import parse
from echoloom.ir.passes.assemble import StackGraphs, assemble
from echoloom.ir.passes.calibrate import measure
from echoloom.ir.passes.quantise import quantise
from echoloom.ir.passes.simplify import simplify
from echoloom.ir.program import Declaration, Graph, Instr, Leaf, Program
from echoloom.ir.real import REAL_RULES
from echoloom.ir.retrace import check_retrace
from echoloom.ir.sections import Section
from echoloom.ir.verifier import InvalidProgram, verify
from echoloom.ir.widths import Widths

SCHEMES = [("leapfrog", 1), ("leapfrog", 2), ("leapfrog", 3), ("imex", 1), ("imex", 3)]
X = np.random.default_rng(0).normal(size=(STEPS, 2))


def massive(size: int) -> Hamiltonian:
    """Kinetic parameters too, and a contrast that is exact: V and T are quadratic."""
    generator = np.random.default_rng(1)
    stiffness, inverse_mass = jnp.asarray(generator.uniform(0.3, 0.9, (2, size)))
    return Massive(stiffness, jnp.asarray(generator.normal(size=(size, 3))), inverse_mass)


def model_of(integrator: str, substeps: int, task: str = "classification", **others) -> HSSM:
    arguments = {
        "unit": ["linear", massive(3)], "state": [2, 3], "complex": [True, False],
        "integrator": integrator, "substeps": substeps, "step": 0.4,
    }  # fmt: skip
    sizes = {"inputs": 2, "outputs": 2, "hidden": 3, "blocks": 2, "task": task}
    return HSSM(**{**sizes, **arguments, **others}, key=jax.random.key(0))


def coefficient_gradients(model: HSSM) -> dict[str, np.ndarray]:
    """jax.grad through time of the loss, for every folded coefficient, by its program name."""

    def loss(coefficients):
        features = run(coefficients, jnp.asarray(X))
        outputs = jax.vmap(lambda h: parts.head(coefficients.head, h))
        if model.task == "classification":
            return cross_entropy(outputs(features.mean(axis=0)[None])[0], jnp.asarray(1))
        return squared_error(jnp.tanh(outputs(features)), jnp.full((STEPS, 2), 0.25))

    leaves = jax.tree_util.tree_leaves_with_path(jax.grad(loss)(model.resolve()))
    found = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    return {re.sub(r"^blocks\.", "b", name): np.asarray(leaf) for name, leaf in found.items()}


def program_gradients(model: HSSM, program: Program) -> dict[str, np.ndarray]:
    """The same from the program run in float64, added up as a host does."""
    values = folded_stack(model).values(model)
    machine = Machine(program, REAL_RULES, dict(values))
    classification = model.task == "classification"
    label = np.array(1) if classification else np.full((len(X), model.outputs), 0.25)
    result = run_sweeps(Host(program, 1), machine.sweep, X, label)
    common = 2.0 ** float(result.exponent) * (1 if classification else 2 / label.size)
    echo = {name for name, _ in program.body(Section.ECHO_STEP).accumulates}
    gradients: dict[str, np.ndarray] = {}
    for a in program.accumulators:
        if a.target:
            per_step = model.task == "classification" and a.name in echo
            value = machine.accumulators[a.name] * a.scale * common / (STEPS if per_step else 1)
            value = value / values[a.divisor] if a.divisor else value
            gradients[a.target] = gradients.get(a.target, 0.0) + value
    return gradients


@pytest.mark.parametrize(("integrator", "substeps"), SCHEMES)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_programs_give_the_gradient_of_every_coefficient(integrator, substeps, task):
    model = model_of(integrator, substeps, task)
    wanted = coefficient_gradients(model)
    program = assemble(folded_stack(model).graphs, (1.0, 1.0))
    for version in (program, simplify(program)):
        found = program_gradients(model, check_retrace(verify(version)))
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            np.testing.assert_allclose(found[name], gradient, rtol=1e-8, atol=1e-11, err_msg=name)


@pytest.mark.parametrize(("integrator", "substeps"), SCHEMES)
def test_every_echo_has_the_names_that_calibration_reads(integrator, substeps):
    program = assemble(folded_stack(model_of(integrator, substeps)).graphs, (1.0, 1.0))
    names = [i.name for i in program.body(Section.ECHO_STEP).instrs]
    for block in ("b0", "b1"):
        for copy in ("free", "plus", "minus"):
            first = names.index(f"{block}.{copy}.first.q")
            assert first < names.index(f"{block}.{copy}.kick.p")
            assert sum(n.startswith(f"{block}.{copy}.first.q") for n in names) == 1


def test_names_of_stages_and_of_their_sums():
    program = assemble(folded_stack(model_of("leapfrog", 3)).graphs, (1.0, 1.0))

    def moves(section: Section) -> list[str]:
        names = [i.name for i in program.body(section).instrs]
        ends = re.compile(r"b0\.free\.(?:first|second|between|kick)\S*\.[qp]$")
        return [n.removeprefix("b0.free.") for n in names if ends.match(n)]

    assert moves(Section.ECHO_STEP) == [
        "first.q", "kick.p", "between.q", "kick.2.p", "between.2.q", "kick.3.p", "second.q",
    ]  # fmt: skip
    # A stage is called like the one that undoes it, but for the outer drifts.
    assert moves(Section.FORWARD_STEP) == [
        "first.q", "kick.3.p", "between.2.q", "kick.2.p", "between.q", "kick.p", "second.q",
    ]  # fmt: skip
    assert [a.name for a in program.accumulators if a.target == "b0.step"] == [
        "b0.step/potential", "b0.step/potential.2", "b0.step/potential.3", "b0.step/kinetic.before",
        "b0.step/kinetic.after", "b0.step/kinetic.after.2", "b0.step/kinetic.after.3",
    ]  # fmt: skip


@pytest.mark.parametrize(("integrator", "substeps"), SCHEMES)
def test_quantised_programs_retrace(integrator, substeps):
    quartic = Quartic(jnp.full(3, 0.5), jnp.full(3, 0.1), jnp.full((3, 3), 0.2))
    for unit in (massive(3), quartic):
        model = model_of(integrator, substeps, unit=["linear", unit])
        folding = folded_stack(model)
        graphs, values = folding.graphs, folding.values(model)
        program = verify(simplify(assemble(graphs, (2.0**-3, 2.0**-3))))
        ranges = measure(program, values, X[None], None, 1)
        check_retrace(verify(quantise(program, values, ranges, Widths())))


def test_stages_in_another_order_do_not_retrace():
    """The forward pass of one scheme with the echo of another."""
    for one, other in (("leapfrog", "imex"), ("imex", "leapfrog")):
        programs = [
            assemble(folded_stack(model_of(name, 1)).graphs, (1.0, 1.0)) for name in (one, other)
        ]
        bodies = [
            programs[body.section is Section.ECHO_STEP].body(body.section)
            for body in programs[0].bodies
        ]
        broken = replace(programs[0], bodies=tuple(bodies))
        with pytest.raises(InvalidProgram, match=r"echo does not retrace b0\.free\.q: forward mov"):
            check_retrace(broken)


# In the echo step of a simplified imex program with two substeps: (old, new) -> the sentence.
FAULTS = {
    # the second kick sees the position of the first
    (r"mul\(b0\.unit\.stiffness, %b0\.free\.between\.q\)",
     "mul(b0.unit.stiffness, %b0.free.first.q)"): "does not retrace b0.free.p",
    # the second drift has the momentum from before the kick
    (r"mul\(b0\.step, %b0\.free\.kick\.p\)", "mul(b0.step, b0.free.p)"): (
        "does not retrace b0.free.q"
    ),
    # a force that pushes the other way
    (r"%b0\.free\.kick\.p = add\(", "%b0.free.kick.p = sub("): "does not retrace b0.free.p",
    # a stage is left out
    (r"b0\.free\.q <- %b0\.free\.between\.q", "b0.free.q <- %b0.free.first.q"): (
        "does not retrace b0.free.q: forward moves it 2 times, echo 1 times"
    ),
    # the drive of the other copy's block below
    (r"matvec\(b1\.unit\.drive, %b1\.drive\.t1\)", "matvec(b1.unit.drive, %b0.drive.t1)"): (
        "does not retrace b1.free.p"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda edit: edit[1])
def test_faults_of_the_echo_are_seen(fault):
    model = model_of("imex", 2, unit="linear", state=3, complex=False)
    program = simplify(assemble(folded_stack(model).graphs, (1.0, 1.0)))
    check_retrace(verify(parse(str(program))))
    head, section, tail = str(program).partition("echo_step")
    assert section
    edited, count = re.subn(fault[0], fault[1], tail)
    assert count > 0
    with pytest.raises(InvalidProgram, match=re.escape(FAULTS[fault])):
        check_retrace(parse(head + section + edited))


def with_contrast(graphs: StackGraphs, contrast: Graph) -> StackGraphs:
    return replace(graphs, blocks=(replace(graphs.blocks[0], potential_contrast=contrast),))


def one_block() -> tuple[HSSM, StackGraphs]:
    model = model_of("leapfrog", 1, blocks=1, unit="linear", state=3, complex=False)
    return model, folded_stack(model).graphs


def test_a_sum_of_outer_products_is_one_accumulator_for_each():
    """d/dB of q . (B u) + (B q)^2 / 2 is q u' + (B q) q': the second has both factors changing."""
    _, graphs = one_block()
    drive = Leaf("block.unit.drive", real(3, 3), "block", "unit.drive")
    inputs = (drive, Declaration("q", real(3)), Declaration("u", real(3)))
    instrs = (
        Instr("a", Op.OUTER, ("q", "u"), real(3, 3)),
        Instr("r", Op.MATVEC, ("block.unit.drive", "q"), real(3)),
        Instr("b", Op.OUTER, ("r", "q"), real(3, 3)),
        Instr("sum", Op.SUB, ("a", "b"), real(3, 3)),
    )
    contrast = Graph(inputs, instrs, (("block.unit.drive", "sum"),))
    program = simplify(verify(assemble(with_contrast(graphs, contrast), (1.0,))))
    body = program.body(Section.ECHO_STEP)
    sums = {a.name: a.scale for a in program.accumulators if a.target == "b0.unit.drive"}
    assert sums == {
        "b0.unit.drive/potential": -0.5,
        "b0.unit.drive/potential.part.2": 0.5,
        "b0.unit.drive/potential.part.3": 0.5,
    }
    definitions = {i.name: i for i in body.instrs}
    values = dict(body.accumulates)
    assert all(definitions[values[name]].op is Op.OUTER for name in sums)

    generator = np.random.default_rng(0)
    B, u, plus, minus = generator.normal(size=(3, 3)), *generator.normal(size=(3, 3))
    known: dict[str, np.ndarray] = {"b0.unit.drive": B}
    known |= {"b0.plus.first.q": plus, "b0.minus.first.q": minus}
    total = np.zeros((3, 3))

    def value(name: str) -> np.ndarray:
        if name in known:
            return known[name]
        i = definitions[name]
        if name.startswith("b0.drive."):
            return u
        x, y = (value(a) for a in i.args)
        return {Op.SUB: lambda: x - y, Op.OUTER: lambda: np.outer(x, y),
                Op.MATVEC: lambda: x @ y}[i.op]()  # fmt: skip

    for name, scale in sums.items():
        total += scale * value(values[name])
    sides = [np.outer(q, u) - np.outer(B @ q, q) for q in (plus, minus)]
    np.testing.assert_allclose(total, -0.5 * (sides[0] - sides[1]), rtol=1e-12)


class Weighed(Hamiltonian):
    """A literal array beside a parameter that is called like one."""

    constant: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return jnp.sum(self.constant * (np.array([0.5, 1.5, 2.5]) * q**4)) - jnp.sum(q * u)


def test_fixed_numbers_of_a_unit_are_held_and_not_learned():
    model = HSSM(
        1, 2, 3, 3, 1, unit=Weighed(jnp.array([1.0, 2.0, 3.0])), key=jax.random.key(0)
    )  # fmt: skip
    folding = folded_stack(model)
    program = verify(assemble(folding.graphs, (1.0,)))
    names = [name for name, _ in folding.plans[0].coefficients]
    fixed = {name for name in names if name not in folding.plans[0].learned}
    assert len(fixed) == 1 and folding.plans[0].learned == {"constant"}
    assert {f"b0.unit.{name}" for name in names} <= {d.name for d in program.coefficients}
    learned = {a.target for a in program.accumulators if a.target.startswith("b0.unit.")}
    assert learned == {"b0.unit.constant"}
