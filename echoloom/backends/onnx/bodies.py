"""The bodies of a program as graphs: straight nodes, or one Scan over time for a step section.

What a value is, integer word or real number, is an Arithmetic's business: a table with one rule per
Op, how sums grow, and what overflowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from onnx import NodeProto, ValueInfoProto, helper

from echoloom.backends.onnx.writer import (
    BATCH,
    Dimensions,
    Scope,
    Shared,
    Value,
    element_of,
    value_info,
)
from echoloom.ir.formats import Type
from echoloom.ir.ops import DynamicShift, Op, Read
from echoloom.ir.program import Accumulator, Instr, Program
from echoloom.ir.sections import Section

Rule = Callable[["BodyScope", Instr, list[Value]], Value]


class Arithmetic(Protocol):
    """What the words of a program are and how they are computed."""

    @property
    def dtype(self) -> type: ...

    @property
    def rules(self) -> Mapping[Op, Rule]: ...

    def accumulate(self, s: BodyScope, a: Accumulator, old: Value, new: Value) -> Value:
        """The sum after one more term."""
        ...

    def flags(self, s: BodyScope) -> str | None:
        """The flag word [batch] of everything that was computed in a scope, if there are flags."""
        ...


@dataclass
class Context:
    """What all bodies of one graph share: declared values, and tensors of the outermost scope."""

    program: Program
    arithmetic: Arithmetic
    shared: Shared
    outermost: Scope
    batch: str  # int64 [1]: the number of sequences
    values: dict[str, Value]  # coefficients, runtime values, states
    accumulators: dict[str, Value] = field(default_factory=dict)
    registers: dict[DynamicShift, str] = field(default_factory=dict)
    transposed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Watched:
    """A value that must lie within +-limit, or bits that must be zero, and the flag if not."""

    flag: int
    value: Value
    size: int
    rank: int
    limit: int


class BodyScope(Scope):
    """The graph of one body, with the IR's names in it."""

    def __init__(self, context: Context, section: Section, prefix: str | None = None):
        super().__init__(context.shared, prefix or f"{section.name.lower()}/")
        self.context, self.section = context, section
        self.body = context.program.body(section)
        self.types: dict[str, Type] = context.program.types(self.body)
        self.watched: list[Watched] = []

    def put(self, kind: str, i: Instr, *args: Value, tag: str = "", **attributes: Any) -> Value:
        """A node that computes (a part of) an instruction from its operands."""
        inputs = [a.name for a in args]
        name = self.node(kind, *inputs, name=i.name + tag, doc="" if tag else text(i), **attributes)
        return Value(name, any(a.batched for a in args))

    def full(self, value: Value, shape: tuple[int, ...], name: str) -> Value:
        """The value with a batch axis, one element where it is a scalar."""
        if value.batched:
            return value
        shape = shape or (1,)
        dims = self.node(
            "Concat", self.context.batch, self.integers(*shape), name=f"{name}.shape", axis=0
        )
        return Value(self.node("Expand", value.name, dims, name=f"{name}.batched"), True)

    def zeros(self, shape: tuple[int, ...], name: str) -> Value:
        zero = self.constant(0, self.context.arithmetic.dtype)
        return self.full(Value(zero, False), shape, name)

    def matrix_transposed(self, i: Instr, matrix: Value) -> Value:
        """A matrix's transpose; of a coefficient computed once, outside of all bodies."""
        known, values = self.context.transposed, self.context.values
        declared = {values[d.name].name for d in self.context.program.coefficients}
        if matrix.name in declared and matrix.name not in known:
            known[matrix.name] = self.context.outermost.node(
                "Transpose", matrix.name, name=f"{matrix.name}.transposed", perm=[1, 0]
            )
        if matrix.name in known:
            return Value(known[matrix.name], False)
        perm = [0, 2, 1] if matrix.batched else [1, 0]
        return self.put("Transpose", i, matrix, tag=".transposed", perm=perm)

    def run(self, frame: Mapping[str, Value]) -> dict[str, Value]:
        """Writes the body's instructions; every visible value by its IR name."""
        env = {**self.context.values, **frame}
        for i in self.body.instrs:
            if isinstance(i.attr, Read):
                env[i.name] = self.context.accumulators[i.attr.accumulator]
            else:
                rule = self.context.arithmetic.rules[i.op]
                env[i.name] = rule(self, i, [env[a] for a in i.args])
        return env


def plain(kind: str) -> Rule:
    """One node of the operands as they are."""
    return lambda s, i, args: s.put(kind, i, *args)


def _matvec(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    return s.put("MatMul", i, args[1], s.matrix_transposed(i, args[0]))


def _tmatvec(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    return s.put("MatMul", i, args[1], args[0])


def _outer(s: BodyScope, i: Instr, args: list[Value]) -> Value:
    column = s.put("Unsqueeze", i, args[0], Value(s.integers(-1), False), tag=".column")
    row = s.put("Unsqueeze", i, args[1], Value(s.integers(-2), False), tag=".row")
    return s.put("Mul", i, column, row)


# What means the same of integers and of real numbers.
COMMON_NODES: Mapping[Op, Rule] = {
    Op.READ: lambda s, i, a: a[0],
    Op.MUL: plain("Mul"),
    Op.MATVEC: _matvec,
    Op.TMATVEC: _tmatvec,
    Op.OUTER: _outer,
}


def text(i: Instr) -> str:
    """The instruction as the IR's text has it, for a node's documentation."""
    return f"{i.name} = {i.op.value}({', '.join(i.args)}) : {i.type}"


def dims(shape: tuple[int, ...]) -> Dimensions:
    """A batched value's dimensions; a scalar is a vector of one element."""
    return [BATCH, *(shape or (1,))]


def straight(context: Context, section: Section) -> tuple[list[NodeProto], list[Value], str | None]:
    """A body that runs once: (nodes, emitted values, flag word); updates the context."""
    s = BodyScope(context, section)
    env = s.run({})
    for name, value in s.body.accumulates:
        shape = s.types[value].shape
        context.accumulators[name] = s.full(env[value], shape, f"{name}.only")
    flags = context.arithmetic.flags(s)
    emitted = [s.full(env[v], s.types[v].shape, v) for v in s.body.emits]
    context.values |= {
        state: s.full(env[v], s.types[state].shape, f"{state}.set") for state, v in s.body.updates
    }
    return s.nodes, emitted, flags


def scanned(
    context: Context, section: Section, frames: Mapping[str, str], flags: str | None, reverse: bool
) -> tuple[list[NodeProto], list[Value], str | None]:
    """A step body as a Scan over `frames` [T, batch, n], last step first if `reverse`: (nodes,
    emitted values [T, batch, n], flag word with that of the steps); updates the context.

    It scans the first axis, first row first: onnx's own evaluator knows no other axis or direction.
    """
    where = section.name.lower()
    outer, s = BodyScope(context, section, f"{where}."), BodyScope(context, section)
    word, element = element_of(np.int64), element_of(context.arithmetic.dtype)
    sums = {a.name: a for a in context.program.accumulators}
    inputs: list[ValueInfoProto] = []
    outputs: list[ValueInfoProto] = []
    starts: list[str] = []
    ends: list[str] = []
    declared, old = dict(context.values), dict[str, Value]()

    def take(name: str, element: int, shape: Dimensions, doc: str) -> Value:
        local = context.shared.fresh(f"{s.prefix}{name}")
        inputs.append(value_info(local, element, shape, doc))
        return Value(local, True)

    def give(name: str, value: str, element: int, shape: Dimensions, doc: str) -> None:
        # A graph's output may be neither one of its inputs nor a value from outside.
        out = s.node("Identity", value, name=f"next/{name}")
        outputs.append(value_info(out, element, shape, doc))
        ends.append(context.shared.fresh(f"{where}/end/{name}"))

    # Inputs and outputs in one order: states, sums, flags, then what is streamed.
    for name, _ in s.body.updates:
        shape = s.types[name].shape
        before = declared.get(name) or outer.zeros(shape, name)
        starts.append(outer.full(before, shape, name).name)
        context.values[name] = take(name, element, dims(shape), f"{name} before the step")
    for name, _ in s.body.accumulates:
        shape = sums[name].type.shape
        starts.append(outer.zeros(shape, f"{name}.zero").name)
        old[name] = take(f"sum/{name}", element, dims(shape), f"sum {name} before the step")
    earlier = ""
    if flags is not None:
        starts.append(flags)
        earlier = take("flags", word, [BATCH], "flags before the step").name
    frame: dict[str, Value] = {}
    for d in s.body.frame:
        frame[d.name] = take(d.name, element, dims(d.type.shape), f"one step of {d.name}")
    env = s.run(frame)
    for name, value in s.body.updates:
        shape = s.types[name].shape
        new = s.full(env[value], shape, f"{name}.new").name
        give(name, new, element, dims(shape), f"{name} after the step")
    for name, value in s.body.accumulates:
        shape = sums[name].type.shape
        new = s.full(env[value], shape, f"{name}.term")
        total = context.arithmetic.accumulate(s, sums[name], old[name], new).name
        give(f"sum/{name}", total, element, dims(shape), f"sum {name} after the step")
    if flags is not None:
        raised = context.arithmetic.flags(s)
        if raised is not None:
            earlier = s.node("BitwiseOr", earlier, raised, name="raised")
        give("flags", earlier, word, [BATCH], "flags after the step")
    for value in s.body.emits:
        shape = s.types[value].shape
        out = s.full(env[value], shape, f"{value}.emitted").name
        give(value, out, element, dims(shape), f"{value} of every step")
    body = helper.make_graph(s.nodes, where, inputs, outputs)
    streamed = [frames[d.name] for d in s.body.frame]
    if reverse:
        streamed = [outer.reversed(rows) for rows in streamed]
    order = "last first" if reverse else "first first"
    outer.nodes.append(
        helper.make_node(
            "Scan", [*starts, *streamed], ends, where,
            f"One step of the model for each sample, {order}; carried: states, sums, flags.",
            body=body, num_scan_inputs=len(streamed),
        )
    )  # fmt: skip
    found = iter(ends)
    context.values = declared
    context.values |= {name: Value(next(found), True) for name, _ in s.body.updates}
    context.accumulators |= {name: Value(next(found), True) for name, _ in s.body.accumulates}
    after = next(found) if flags is not None else None
    return outer.nodes, [Value(name, True) for name in found], after
