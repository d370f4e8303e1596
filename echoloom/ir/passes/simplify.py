"""Algebra on real programs: fewer operations, the same mathematics.

Rewrites one instruction at a time until nothing changes:
- factors move outwards (SCALE out of products) and meet in one SCALE, which an accumulator
  takes into its own scale;
- differences factor: W'a - W'b = W'(a - b), a x' - b x' = (a - b) x', a*a - b*b = (a - b)(a + b),
  so the contrast of the two echoes costs one product instead of two;
- a difference whose left side is a product is turned round, because the fabric subtracts a
  product from a stored word;
- equal expressions are computed once, unused ones not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from echoloom.ir.formats import Type
from echoloom.ir.ops import (
    PRODUCTS,
    SUMS,
    VECTOR_PRODUCTS,
    Attribute,
    Constant,
    Op,
    Scale,
)
from echoloom.ir.places import Label
from echoloom.ir.program import Body, Instr, Program


@dataclass
class _Code:
    """A body under rewriting. Values are hash-consed, so equal expressions share a name."""

    types: dict[str, Type]
    definitions: dict[str, Instr] = field(default_factory=dict)
    by_expression: dict[tuple[object, ...], str] = field(default_factory=dict)

    def put(
        self, hint: Label, op: Op, args: tuple[str, ...], type_: Type, attr: Attribute | None = None
    ) -> str:
        rewritten = self._rewrite(hint, op, args, type_, attr)
        if rewritten is not None:
            return rewritten
        if op in (Op.ADD, Op.MUL) and args[0] > args[1]:
            expression = (op, args[::-1], type_, attr)
        else:
            expression = (op, args, type_, attr)
        if expression in self.by_expression:
            return self.by_expression[expression]
        label = hint.unique(self.types)
        name = label.text
        self.types[name] = type_
        self.definitions[name] = Instr.of(label, op, args, type_, attr)
        self.by_expression[expression] = name
        return name

    def scaled(self, hint: Label, value: str, factor: float) -> str:
        return self.put(hint, Op.SCALE, (value,), self.types[value], Scale(factor))

    def split(self, value: str) -> tuple[float, str]:
        """value = factor * inner."""
        definition = self.definitions.get(value)
        if definition is not None and isinstance(definition.attr, Scale):
            return definition.attr.factor, definition.args[0]
        return 1.0, value

    def constant(self, value: str) -> float | None:
        definition = self.definitions.get(value)
        if definition is not None and isinstance(definition.attr, Constant):
            return definition.attr.value
        return None

    def of(self, value: str, op: Op) -> Instr | None:
        definition = self.definitions.get(value)
        return definition if definition is not None and definition.op is op else None

    def _vanishes(self, op: Op, args: tuple[str, ...]) -> bool:
        products = PRODUCTS | {Op.SCALE}
        return op in products and any(self.constant(a) == 0.0 for a in args)

    def _rewrite(
        self, hint: Label, op: Op, args: tuple[str, ...], type_: Type, attr: Attribute | None
    ) -> str | None:
        if self._vanishes(op, args):
            return self.put(hint, Op.CONSTANT, (), type_, Constant(0.0))
        if op is Op.SCALE:
            return self._scale(hint, args[0], attr)
        if op is Op.MUL:
            for value, other in (args, args[::-1]):
                number = self.constant(value)
                if number is not None and self.types[other] == type_:
                    return self.scaled(hint, other, number)
        if op in PRODUCTS:
            factors, inner = zip(*map(self.split, args), strict=True)
            if inner != args:
                product = self.put(hint, op, tuple(inner), type_, attr)
                total = 1.0
                for factor in factors:
                    total *= factor
                return self.scaled(hint, product, total)
        if op in SUMS:
            return self._sum(hint, op, args, type_)
        return None

    def _scale(self, hint: Label, value: str, attr: Attribute | None) -> str | None:
        assert isinstance(attr, Scale)
        inner_factor, inner = self.split(value)
        factor = attr.factor * inner_factor
        if factor == 1.0:
            return inner
        if inner != value:
            return self.scaled(hint, inner, factor)
        return None

    def _sum(self, hint: Label, op: Op, args: tuple[str, ...], type_: Type) -> str | None:
        """Equal factors leave a sum, and of signs only that of the whole is left:

        a / 2 - b / 2  =  (a - b) / 2
        a + -(b / 2)   =  a - b / 2
        -(a / 2) - b   =  -(a / 2 + b)
        """
        a, b = args
        (fa, ia), (fb, ib) = self.split(a), self.split(b)
        sign = 1.0 if op is Op.ADD else -1.0
        if op is Op.SUB and a == b:
            return self.put(hint, Op.CONSTANT, (), type_, Constant(0.0))
        if self.constant(b) == 0.0 and self.types[a] == type_:
            return a
        if self.constant(a) == 0.0 and self.types[b] == type_:
            return self.scaled(hint, b, sign)
        if fa == fb != 1.0:
            return self.scaled(hint, self.put(hint, op, (ia, ib), type_), fa)
        if fa == -fb and fa != 1.0 and ib != b:
            other = Op.SUB if op is Op.ADD else Op.ADD
            return self.scaled(hint, self.put(hint, other, (ia, ib), type_), fa)
        if fb < 0.0:
            other = Op.SUB if op is Op.ADD else Op.ADD
            return self.put(hint, other, (a, self.scaled(hint, ib, -fb)), type_)
        if op is Op.ADD and fa < 0.0:
            return self.put(hint, Op.SUB, (b, self.scaled(hint, ia, -fa)), type_)
        if op is Op.SUB and fa < 0.0:
            positive = self.put(hint, Op.ADD, (self.scaled(hint, ia, -fa), b), type_)
            return self.scaled(hint, positive, -1.0)
        if op is Op.SUB:
            return self._difference(hint, a, b, type_)
        return None

    def _difference(self, hint: Label, a: str, b: str, type_: Type) -> str | None:
        da, db = self.definitions.get(a), self.definitions.get(b)
        if da is not None and db is not None and da.op is db.op:
            if da.op in (Op.MATVEC, Op.TMATVEC) and da.args[0] == db.args[0]:
                x = self._minus(hint, da.args[1], db.args[1])
                return self.put(hint, da.op, (da.args[0], x), type_)
            if da.op is Op.OUTER and da.args[1] == db.args[1]:
                g = self._minus(hint, da.args[0], db.args[0])
                return self.put(hint, Op.OUTER, (g, da.args[1]), type_)
            if da.op is Op.MUL:
                return self._product_difference(hint, da, db, type_)
        if da is not None and da.op in VECTOR_PRODUCTS and not (db is not None and db.op is Op.MUL):
            # Not for two elementwise products; a matrix product makes the better stored word.
            if db is not None and db.op in VECTOR_PRODUCTS and da.op is not Op.MUL:
                return None
            return self.scaled(hint, self.put(hint, Op.SUB, (b, a), type_), -1.0)
        return None

    def _product_difference(self, hint: Label, a: Instr, b: Instr, type_: Type) -> str | None:
        if a.args[0] == a.args[1] and b.args[0] == b.args[1]:
            low = self._minus(hint, a.args[0], b.args[0])
            high = self.put(hint, Op.ADD, (a.args[0], b.args[0]), self.types[a.args[0]])
            return self.put(hint, Op.MUL, (low, high), type_)
        for left, x in (a.args, a.args[::-1]):
            for right, y in (b.args, b.args[::-1]):
                if x == y:
                    return self.put(hint, Op.MUL, (self._minus(hint, left, right), x), type_)
        return None

    def _minus(self, hint: Label, a: str, b: str) -> str:
        return self.put(hint, Op.SUB, (a, b), self.types[a])


def simplify(program: Program) -> Program:
    """The same real program with less to compute; accumulator scales change accordingly."""
    scales: dict[str, float] = {}
    bodies = tuple(_simplify_body(program, body, scales) for body in program.bodies)
    kept = {name for body in bodies for name, _ in body.accumulates}
    accumulators = tuple(
        replace(a, scale=a.scale * scales.get(a.name, 1.0))
        for a in program.accumulators
        if a.name in kept
    )
    return replace(program, bodies=bodies, accumulators=accumulators)


def _simplify_body(program: Program, body: Body, scales: dict[str, float]) -> Body:
    learned = {a.name for a in program.accumulators if a.target}
    for _ in range(20):
        code = _Code({d.name: d.type for d in (*program.globals(), *body.frame)})
        names: dict[str, str] = {}
        for instr in body.instrs:
            args = tuple(names.get(a, a) for a in instr.args)
            names[instr.name] = code.put(instr.label, instr.op, args, instr.type, instr.attr)
        accumulates = []
        for accumulator, value in body.accumulates:
            factor, inner = code.split(names.get(value, value))
            if code.constant(inner) == 0.0 and accumulator in learned:
                continue
            scales[accumulator] = scales.get(accumulator, 1.0) * factor
            accumulates.append((accumulator, inner))
        after = replace(
            body,
            instrs=tuple(code.definitions.values()),
            updates=tuple((state, names.get(v, v)) for state, v in body.updates),
            accumulates=tuple(accumulates),
            emits=tuple(names.get(v, v) for v in body.emits),
        )
        after = _without_unused(after)
        if after == body:
            return after
        body = after
    return body


def _without_unused(body: Body) -> Body:
    needed = {v for _, v in (*body.updates, *body.accumulates)} | set(body.emits)
    kept: list[Instr] = []
    for instr in reversed(body.instrs):
        if instr.name in needed:
            kept.append(instr)
            needed.update(instr.args)
    return replace(body, instrs=tuple(reversed(kept)))
