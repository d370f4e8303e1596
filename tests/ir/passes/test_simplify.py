"""Every rewrite keeps the mathematics, and the ones that are there to save products save them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_models import Sizes, build, sizes
from real_programs import programs, results, some_values

from echoloom.ir.formats import Type, real
from echoloom.ir.interpret import Machine
from echoloom.ir.ops import Op, Scale
from echoloom.ir.parser import parse
from echoloom.ir.passes.simplify import simplify
from echoloom.ir.program import Body, Program
from echoloom.ir.real import REAL_RULES
from echoloom.ir.sections import Section
from echoloom.ir.verifier import exact_type, verify

HEAD = """
program p
coefficient w : real[3,3]
forward_step:
  frame a : real[3]
  frame b : real[3]
  frame x : real[3]
"""

# code before -> the same value after, one instruction a line
REWRITES = {
    "a factor leaves a product": (
        "%h = scale(a) {factor=0.5}; %r = mul(%h, x)", "mul(a, x); scale 0.5"
    ),
    "factors on both sides meet": (
        "%h = scale(a) {factor=0.5}; %k = scale(x) {factor=3.0}; %r = matvec(w, %h);"
        "%r = mul(%r, %k)",
        "matvec(w, a); mul(_, x); scale 1.5",
    ),
    "factors in a row meet": (
        "%h = scale(a) {factor=0.5}; %r = scale(%h) {factor=4.0}", "scale 2.0"
    ),
    "factors that cancel vanish": (
        "%h = scale(a) {factor=0.5}; %h = scale(%h) {factor=2.0}; %r = mul(%h, x)", "mul(a, x)"
    ),
    "a constant factor is a scale": (
        "%c = constant() {value=0.25}; %r = mul(%c, x)", "scale 0.25"
    ),
    "adding zero is nothing": (
        "%z = constant() {value=0.0}; %s = add(%z, x); %r = mul(%s, a)", "mul(x, a)"
    ),
    "multiplying by zero is zero": (
        "%z = constant() {value=0.0}; %s = mul(%z, x); %r = add(%s, a)", ""
    ),
    "subtracting from zero is a sign": (
        "%z = constant() {value=0.0}; %s = sub(%z, x); %r = mul(%s, a)", "mul(x, a); scale -1.0"
    ),
    "equal factors leave a sum": (
        "%h = scale(a) {factor=0.5}; %k = scale(b) {factor=0.5}; %r = sub(%h, %k)",
        "sub(a, b); scale 0.5",
    ),
    "opposite factors leave a sum": (
        "%h = scale(a) {factor=0.5}; %k = scale(b) {factor=-0.5}; %r = add(%h, %k)",
        "sub(a, b); scale 0.5",
    ),
    "adding a negative subtracts": (
        "%k = scale(b) {factor=-0.5}; %r = add(a, %k)", "scale 0.5; sub(a, _)"
    ),
    "adding to a negative subtracts": (
        "%h = scale(a) {factor=-0.5}; %r = add(%h, b)", "scale 0.5; sub(b, _)"
    ),
    "a negative minus something is a sign": (
        "%h = scale(a) {factor=-0.5}; %r = sub(%h, b)", "scale 0.5; add(_, b); scale -1.0"
    ),
    "matrix products of one matrix": (
        "%m = matvec(w, a); %n = matvec(w, b); %r = sub(%m, %n)", "sub(a, b); matvec(w, _)"
    ),
    "transposed ones": (
        "%m = tmatvec(w, a); %n = tmatvec(w, b); %r = sub(%m, %n)", "sub(a, b); tmatvec(w, _)"
    ),
    "outer products with one side": (
        "%m = outer(a, x); %n = outer(b, x); %r = sub(%m, %n)", "sub(a, b); outer(_, x)"
    ),
    "products with one factor": (
        "%m = mul(a, x); %n = mul(x, b); %r = sub(%m, %n)", "sub(a, b); mul(_, x)"
    ),
    "squares": (
        "%m = mul(a, a); %n = mul(b, b); %r = sub(%m, %n)", "sub(a, b); add(a, b); mul(_, _)"
    ),
    "a product minus a word is turned round": (
        "%m = matvec(w, a); %r = sub(%m, b)", "matvec(w, a); sub(b, _); scale -1.0"
    ),
    "equal expressions are one": (
        "%m = matvec(w, a); %n = matvec(w, a); %r = mul(%m, %n)", "matvec(w, a); mul(_, _)"
    ),
    "also with operands exchanged": (
        "%m = mul(a, b); %n = mul(b, a); %r = outer(%m, %n)", "mul(a, b); outer(_, _)"
    ),
    "a difference of equals is zero": ("%s = sub(x, x); %r = add(%s, a)", ""),
    "and so is its product": (
        "%s = sub(a, a); %m = matvec(w, %s); %n = outer(%m, x); %r = matvec(%n, b)", "constant()"
    ),
    "unused code is dropped": ("%m = matvec(w, a); %r = mul(x, x)", "mul(x, x)"),
}  # fmt: skip


def code(source: str) -> Program:
    """A program of `%name = op(args)` pieces that emits %r; shapes by rule, names made single."""
    types: dict[str, Type] = {"w": real(3, 3), "a": real(3), "b": real(3), "x": real(3)}
    current: dict[str, str] = {}
    lines = []
    for piece in source.split(";"):
        name, expression = (part.strip() for part in piece.split(" = "))
        for old, new in current.items():
            expression = expression.replace(f"{old},", f"{new},").replace(f"{old})", f"{new})")
        attributes = expression[expression.find("{") :] if "{" in expression else ""
        head = f"program t\nforward_step:\n{name} = {expression} : real[3]"
        (instr,) = parse_one(head).instrs
        args = [types[a] for a in instr.args]
        shape = exact_type(instr.op, args, instr.attr) if args else real(3)
        fresh = f"%{name[1:]}{len(lines)}"
        current[name] = fresh
        types[fresh[1:]] = shape
        call = expression.removesuffix(attributes).strip()
        lines.append(f"  {fresh} = {call} {attributes} : {shape}")
    return verify(parse(HEAD + "\n".join(lines) + f"\n  emit {current['%r']}"))


def parse_one(text: str) -> Body:
    """One instruction whose operands are defined elsewhere."""
    return parse(text.replace("(%", "(").replace(", %", ", ")).bodies[0]


def shown(body: Body) -> list[str]:
    """Instructions without their names, operands that were computed as _."""
    computed = {i.name for i in body.instrs}
    lines = []
    for i in body.instrs:
        if isinstance(i.attr, Scale):
            lines.append(f"scale {i.attr.factor}")
        else:
            args = ("_" if a in computed else a for a in i.args)
            lines.append(f"{i.op.value}({', '.join(args)})")
    return lines


def alike(before: Program, after: Program, seed: int) -> None:
    values, frames = some_values(before, seed)
    emitted, sums = results(before, values, frames)
    emitted_after, sums_after = results(after, values, frames)
    assert sums_after.keys() <= sums.keys()
    # Sums are taken in another order, so the last bits may differ.
    for old, new in zip(emitted, emitted_after, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-9, atol=1e-9)
    for name, old in sums.items():
        # A sum of zeros is left out, and the host takes it for one.
        new = sums_after.get(name, np.zeros_like(old))
        np.testing.assert_allclose(new, old, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rule", REWRITES)
def test_each_rewrite(rule: str) -> None:
    source, expected = REWRITES[rule]
    before = code(source)
    after = verify(simplify(before))
    alike(before, after, 0)
    assert "; ".join(shown(after.bodies[0])) == expected
    assert simplify(after) == after


@given(programs(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_random_code_keeps_its_values(before: Program, seed: int) -> None:
    after = verify(simplify(before))
    alike(before, after, seed)
    assert simplify(after) == after


def cost(program: Program) -> Counter[Op]:
    """Multiplications a step of the echo takes, by operation."""
    count: Counter[Op] = Counter()
    body = program.body(Section.ECHO_STEP)
    types = program.types(body)
    for i in body.instrs:
        if i.op in (Op.MATVEC, Op.TMATVEC):
            count[i.op] += types[i.args[0]].size
        elif i.op in (Op.MUL, Op.OUTER):
            count[i.op] += i.type.size
    return count


@given(sizes(("linear", "quartic", "massive")))
@settings(max_examples=4, deadline=None)
def test_the_contrast_costs_one_product_not_two(s: Sizes) -> None:
    built = build(s)
    before, after = cost(built.assembled), cost(built.simplified)
    blocks, m = s.blocks, built.graphs.blocks[0].positions
    for op in before:
        assert after[op] <= before[op]
    # B u and the readout are the same for all copies, the force's matrix product too, and the two
    # outer products of the drive's gradient are one.
    assert before[Op.OUTER] - after[Op.OUTER] >= blocks * m * s.hidden
    assert before[Op.MATVEC] - after[Op.MATVEC] >= 2 * blocks * m * s.hidden


@given(sizes(("linear", "quartic", "massive")))
@settings(max_examples=4, deadline=None)
def test_a_models_sums_keep_their_meaning(s: Sizes) -> None:
    """Both programs, forward and echo on the same numbers: gradients times their factors."""
    built = build(s)
    runs = []
    for program in (built.assembled, built.simplified):
        random = np.random.default_rng(1)
        values = dict(built.values)
        for d in (*program.runtime, *program.states):
            values[d.name] = random.normal(size=d.type.shape or (1,))
        machine = Machine(program, REAL_RULES, values)
        body = program.body(Section.ECHO_STEP)
        frame = {d.name: random.normal(size=d.type.shape or (1,)) for d in body.frame}
        machine.run(Section.ECHO_STEP, [frame])
        scales = {a.name: a.scale for a in program.accumulators}
        sums = {n: v * scales[n] for n, v in machine.accumulators.items()}
        runs.append((sums, {d.name: machine.values[d.name] for d in program.states}))
    for before, after in zip(*runs, strict=True):
        assert before.keys() == after.keys()
        for name in before:
            scale = np.abs(before[name]).max() + 1.0
            np.testing.assert_allclose(after[name], before[name], rtol=1e-6, atol=1e-6 * scale)
