"""Bounds of max, min and |x|: they hold, and they are the ones that one would say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echoloom.ir.formats import real
from echoloom.ir.functions import Interval
from echoloom.ir.intervals import intervals
from echoloom.ir.ops import Constant, Op, Scale, Table
from echoloom.ir.program import Instr

INF = math.inf
Line = tuple[Op, tuple[str, ...], float]
Floats = NDArray[np.float64]


def code(*lines: Line) -> list[Instr]:
    """Instructions v0, v1 ... of operation, arguments and a number."""
    attrs = {Op.SCALE: Scale, Op.CONSTANT: Constant, Op.TABLE: lambda _: Table("relu")}
    return [
        Instr(f"v{i}", op, args, real(1), attrs[op](number) if op in attrs else None)
        for i, (op, args, number) in enumerate(lines)
    ]


RELU, TWICE = (Op.TABLE, ("x",), 0.0), (Op.SCALE, ("v0",), 2.0)
ABS = (RELU, TWICE, (Op.SUB, ("v1", "x"), 0.0))
MAX = ((Op.SUB, ("x", "y"), 0.0), (Op.TABLE, ("v0",), 0.0), (Op.ADD, ("y", "v1"), 0.0))
MIN = ((Op.SUB, ("y", "x"), 0.0), (Op.TABLE, ("v0",), 0.0), (Op.SUB, ("y", "v1"), 0.0))
ONE = (Op.CONSTANT, (), 1.0)


@pytest.mark.parametrize(
    ("lines", "ends", "expected"),
    [
        (ABS, {"x": (-INF, INF)}, (0.0, INF)),
        (ABS, {"x": (-3.0, 2.0)}, (0.0, 3.0)),
        (ABS, {"x": (1.0, 2.0)}, (1.0, 2.0)),
        ((*ABS, ONE, (Op.ADD, ("v2", "v3"), 0.0)), {"x": (-INF, INF)}, (1.0, INF)),
        ((*ABS, (Op.SCALE, ("v2",), -3.0), ONE, (Op.ADD, ("v4", "v3"), 0.0)),
         {"x": (-INF, INF)}, (-INF, 1.0)),
        (MAX, {"x": (0.5, INF), "y": (-INF, INF)}, (0.5, INF)),
        (MAX, {"x": (-1.0, 2.0), "y": (-3.0, 1.0)}, (-1.0, 2.0)),
        (MIN, {"x": (-INF, 0.5), "y": (-INF, INF)}, (-INF, 0.5)),
        (MIN, {"x": (-1.0, 2.0), "y": (-3.0, 1.0)}, (-3.0, 1.0)),
    ],
)  # fmt: skip
def test_of_what_people_write(
    lines: tuple[Line, ...], ends: dict[str, Interval], expected: Interval
) -> None:
    values = {n: np.array([lo, hi]) for n, (lo, hi) in ends.items()}
    assert intervals(code(*lines), values)[f"v{len(lines) - 1}"] == expected


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_they_hold(data: st.DataObject) -> None:
    """Of random sums of values, numbers and relus of such sums."""
    names, lines = ["x", "y"], []
    for i in range(8):
        op = data.draw(st.sampled_from([Op.ADD, Op.SUB, Op.SCALE, Op.TABLE, Op.CONSTANT]))
        count = {Op.CONSTANT: 0, Op.ADD: 2, Op.SUB: 2}.get(op, 1)
        args = tuple(data.draw(st.sampled_from(names)) for _ in range(count))
        lines.append((op, args, data.draw(st.sampled_from([-2.0, -1.0, 0.5, 3.0]))))
        names.append(f"v{i}")
    rng = np.random.default_rng(0)
    ends = {n: np.sort(rng.normal(size=2)) for n in ("x", "y")}
    values = {n: rng.uniform(e[0], e[1], 200) for n, e in ends.items()}
    proven = intervals(code(*lines), ends)
    for i, (op, args, number) in enumerate(lines):
        found = values[f"v{i}"] = evaluated(op, [values[n] for n in args], number)
        lo, hi = proven[f"v{i}"]
        assert lo - 1e-9 <= found.min()
        assert found.max() <= hi + 1e-9


def evaluated(op: Op, args: list[Floats], number: float) -> Floats:
    if op is Op.CONSTANT:
        return np.full(200, number)
    if op is Op.TABLE:
        return np.maximum(args[0], 0.0)
    if op is Op.SCALE:
        return number * args[0]
    return args[0] + args[1] if op is Op.ADD else args[0] - args[1]
