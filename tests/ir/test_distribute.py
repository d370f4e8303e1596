"""Loop distribution: every instruction once, and never before what it is made from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_models import Sizes, build

from echoloom.ir.distribute import stages
from echoloom.ir.formats import real
from echoloom.ir.ops import Op
from echoloom.ir.program import Body, Declaration, Instr
from echoloom.ir.sections import Section

STATES = ("s0", "s1", "s2", "s3")


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """Sums of anything that is there, and states that take any value, their own or another's."""
    names = ["x", *STATES]
    instrs = []
    for number in range(draw(st.integers(0, 8))):
        args = draw(st.tuples(st.sampled_from(names), st.sampled_from(names)))
        instrs.append(Instr(f"t{number}", Op.ADD, args, real(1)))
        names.append(f"t{number}")
    changed = draw(st.sets(st.sampled_from(STATES)))
    updates = tuple((s, draw(st.sampled_from(names))) for s in sorted(changed))
    return Body(Section.FORWARD_STEP, (Declaration("x", real(1)),), tuple(instrs), updates)


def sequential(body: Body, xs: list[int]) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Every value at every step, and the states at the end, step by step."""
    states = {s: 7 * n + 1 for n, s in enumerate(STATES)}
    seen: dict[str, list[int]] = {i.name: [] for i in body.instrs}
    for x in xs:
        env = {**states, "x": x}
        for i in body.instrs:
            env[i.name] = env[i.args[0]] + 3 * env[i.args[1]]
            seen[i.name].append(env[i.name])
        states = {**states, **{s: env[v] for s, v in body.updates}}
    return seen, states


def distributed(body: Body, xs: list[int]) -> tuple[dict[str, list[int]], dict[str, int]]:
    """The same, a stage at a time."""
    start = {s: 7 * n + 1 for n, s in enumerate(STATES)}
    updates = dict(body.updates)
    steps = range(len(xs))
    env: dict[str, list[int]] = {"x": list(xs)}
    final = dict(start)
    found = stages(body)
    carried = {s for stage in found for s in stage.states}
    env.update({s: [start[s]] * len(xs) for s in STATES if s not in carried})
    for stage in found:
        own = {s: start[s] for s in stage.states}
        series: dict[str, list[int]] = {n: [] for n in own} | {i.name: [] for i in stage.recurrent}
        for k in steps:
            local = {n: v[k] for n, v in env.items()} | own
            for i in stage.recurrent:
                local[i.name] = local[i.args[0]] + 3 * local[i.args[1]]
            for n in series:
                series[n].append(local[n])
            own = {s: local[updates[s]] for s in own}
        env.update(series)
        final.update(own)
        for i in stage.parallel:
            env[i.name] = [env[i.args[0]][k] + 3 * env[i.args[1]][k] for k in steps]
    for state, value in updates.items():
        if state not in carried:
            final[state] = env[value][-1]
    return {i.name: env[i.name] for i in body.instrs}, final


@settings(max_examples=300, deadline=None)
@given(bodies(), st.lists(st.integers(-9, 9), min_size=1, max_size=4))
def test_stages_give_what_steps_give(body: Body, xs: list[int]) -> None:
    assert distributed(body, xs) == sequential(body, xs)


def test_the_example_of_two_recurrences_with_a_product_between() -> None:
    q = Instr("moved", Op.ADD, ("q", "x"), real(1))
    y = Instr("y", Op.MUL, ("q", "q"), real(1))
    s = Instr("sum", Op.ADD, ("s", "y"), real(1))
    frame = (Declaration("x", real(1)),)
    body = Body(Section.FORWARD_STEP, frame, (q, y, s), (("q", "moved"), ("s", "sum")))
    assert [(g.states, g.recurrent, g.parallel) for g in stages(body)] == [
        ((), (), ()), (("q",), (q,), (y,)), (("s",), (s,), ())
    ]  # fmt: skip


@pytest.mark.parametrize("unit", ["linear", "quartic"])
def test_only_oscillators_run_step_by_step(unit: str) -> None:
    program = build(Sizes(hidden=3, blocks=2, unit=unit)).quantised
    for section, recurrences in ((Section.FORWARD_STEP, 2), (Section.ECHO_STEP, 4)):
        body = program.body(section)
        found = stages(body)
        assert len([s for s in found if s.states]) == recurrences
        assert all(s.endswith((".q", ".p")) for stage in found for s in stage.states)
        products = (Op.MATVEC, Op.TMATVEC, Op.OUTER)
        assert not any(i.op in products for stage in found for i in stage.recurrent)
        instrs = [i for stage in found for i in (*stage.recurrent, *stage.parallel)]
        assert sorted(i.name for i in instrs) == sorted(i.name for i in body.instrs)
