"""Products of a body's values, and moves of them, as multiplications of the engine.

A product by a coefficient takes it from weight memory, one of two words the narrower from X or Y.
A move multiplies by a power of two.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from echoloom.ir.contract import Destination, Narrow, Wide, XMode
from echoloom.ir.increments import Root, root
from echoloom.ir.ops import Op
from echoloom.ir.ops import Read as ReadSum
from echoloom.ir.passes.allocate import Allocation
from echoloom.ir.passes.layout import Orientation, Place, groups, in_group
from echoloom.ir.passes.tasks import Factor, Into, Multiply, Read, Weights, X
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.refusals import Refused, Value

SLOT = Into()  # through the accumulators into a result slot


class Unmappable(Refused):
    """The engine has no instruction for something in the program."""


class Products:
    """Multiplications for the row groups of one body's values. Unmappable where there is none."""

    def __init__(self, program: Program, body: Body, at: Allocation, narrow: int):
        self.section, self.at, self.lanes, self.narrow = body.section, at, at.lanes, narrow
        self.definitions = {i.name: i for i in body.instrs}
        self.types = program.types(body)
        offsets = accumulate((d.type.size for d in body.frame), initial=0)
        self.frame = {d.name: offset for d, offset in zip(body.frame, offsets, strict=False)}

    def root(self, name: str) -> Root:
        return root(self.definitions, name)

    def word(self, name: str, group: int) -> tuple[int, Read]:
        """Vector-memory address of a row group of a stored value, and the dependency on it."""
        if name in self.frame:
            raise Unmappable("the streamed input ", Value(name), " is used other than by broadcast")
        return self.at.vector(self.section, name).address + group, Read(name, group)

    def moved(self, name: str, factor: int, group: int, into: Into = SLOT) -> Multiply:
        """A row group of a stored word times `factor`."""
        operand = self.root(name)
        address, read = self.word(operand.name, group)
        factor *= operand.sign
        return Multiply((read,), into, wide=Wide.Y, weights=Factor(factor), y=address)

    def load(self, instr: Instr, group: int) -> Multiply:
        """A row group of a sum over steps."""
        assert isinstance(instr.attr, ReadSum)
        place = self.at.gradient.places[instr.attr.accumulator]
        return Multiply(into=Into(gradient=place.address + group, load=True))

    def product(self, instr: Instr, group: int) -> Multiply:
        """A row group of a MUL, MATVEC or TMATVEC."""
        if instr.op is Op.MUL:
            return self.elementwise(instr, group)
        matrix = self.at.weight.places[instr.args[0]]
        x = self.root(instr.args[1])
        if x.sign < 0:
            raise Unmappable(Value.of(instr.name, instr.place), " multiplies a negated vector")
        if (instr.op is Op.MATVEC) == (matrix.orientation is Orientation.ROWS):
            return self._by_broadcast(matrix, x.name, group)
        return self._by_tree(matrix, x.name, group)

    def elementwise(self, instr: Instr, group: int, into: Into = SLOT) -> Multiply:
        """A row group of a MUL: of a coefficient, a scalar or another word with a word."""
        left, right = self._positive(instr)
        size, shape = self.types[instr.name].size, self.types[instr.name].shape
        lanes = in_group(size, group, self.lanes)
        for one, other in ((left, right), (right, left)):
            if one in self.at.weight.places:
                address, read = self.word(other, group)
                weights = Weights(self.at.weight.places[one].address + group)
                return Multiply((read,), into, wide=Wide.Y, weights=weights, y=address, lanes=lanes)
        for one, other in ((left, right), (right, left)):
            if self.types[one].shape == () != shape:
                x, reads = self._broadcast(one, 1)
                address, read = self.word(other, group)
                narrow, wide = _sides(self._narrower(one, other) == one)
                x = replace(x, step=0)
                return Multiply(
                    (*reads, read), into, narrow=narrow, wide=wide, x=x, y=address, lanes=lanes
                )
        if self._narrower(left, right) == left:
            left, right = right, left
        x, x_read = self.word(left, group)
        y, y_read = self.word(right, group)
        return Multiply((y_read, x_read), into, narrow=Narrow.Y, x=X(base=x), y=y, lanes=lanes)

    def outer(self, instr: Instr, place: Place, group: int) -> Multiply:
        """A row group of an OUTER, added to the sum over steps at `place`."""
        g, x = self._positive(instr)
        local, other = (g, x) if place.orientation is Orientation.ROWS else (x, g)
        port, reads = self._broadcast(other, place.columns)
        address, read = self.word(local, group)
        narrow, wide = _sides(self._narrower(local, other) == other)
        return Multiply(
            (*reads, replace(read, last=place.columns - 1)),
            summed(place.address + group * place.columns),
            inner=place.columns,
            narrow=narrow,
            wide=wide,
            x=port,
            y=address,
            lanes=in_group(place.rows, group, self.lanes),
        )

    def emitted(self, value: str) -> Multiply:
        """Elements of a vector on their way out; nothing is multiplied."""
        size = self.types[value].size
        x, reads = self._broadcast(self.root(value).name, size)
        into = Into(Destination.EMIT, clear=False, push=False)
        return Multiply(reads, into, inner=size, x=x)

    def _by_broadcast(self, matrix: Place, x: str, group: int) -> Multiply:
        port, reads = self._broadcast(x, matrix.columns)
        weights = Weights(matrix.address + group * matrix.columns, inner=1)
        lanes = in_group(matrix.rows, group, self.lanes)
        return Multiply(reads, inner=matrix.columns, weights=weights, x=port, lanes=lanes)

    def _by_tree(self, matrix: Place, x: str, group: int) -> Multiply:
        outer = in_group(matrix.columns, group, self.lanes)
        inner = groups(matrix.rows, self.lanes)
        address, _ = self.word(x, 0)
        weights = Weights(matrix.address + group * self.lanes, inner=matrix.columns, outer=1)
        return Multiply(
            tuple(Read(x, g, g, inner * outer - inner + g) for g in range(inner)),
            Into(Destination.TREE),
            inner,
            outer,
            wide=Wide.Y,
            weights=weights,
            y=address,
            y_step=int(inner > 1),
            lanes=matrix.rows // inner,
        )

    def _broadcast(self, name: str, size: int) -> tuple[X, tuple[Read, ...]]:
        """An X port that gives every lane elements 0..size-1 of a vector, one a cycle."""
        if name in self.frame:
            return X(XMode.INPUT, self.frame[name], step=1), ()
        place = self.at.vector(self.section, name)
        reads = tuple(
            Read(name, g, g * self.lanes, min(size, (g + 1) * self.lanes) - 1)
            for g in range(groups(size, self.lanes))
        )
        return X(XMode.BROADCAST, place.address, step=1), reads

    def _positive(self, instr: Instr) -> tuple[str, str]:
        """Both operands of a product, whose signs must cancel."""
        a, b = (self.root(x) for x in instr.args)
        if a.sign * b.sign < 0:
            raise Unmappable(Value.of(instr.name, instr.place), " multiplies a negated vector")
        return a.name, b.name

    def _narrower(self, a: str, b: str) -> str:
        """The operand for the multiplier's narrow side: the first that fits."""
        for name in (a, b):
            if self.types[name].q.width <= self.narrow:
                return name
        raise Unmappable(
            Value(a), " times ", Value(b), ": neither fits the multiplier's narrow side"
        )


def _sides(narrow_is_x: bool) -> tuple[Narrow, Wide]:
    """Sources of the multiplier's sides, of which one is the X port and the other the Y port."""
    return (Narrow.X, Wide.Y) if narrow_is_x else (Narrow.Y, Wide.X)


def summed(address: int) -> Into:
    """Into the sum over steps at this address of gradient memory."""
    return Into(Destination.GRADIENT, push=False, gradient=address)
