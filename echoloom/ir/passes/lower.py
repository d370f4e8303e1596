"""Integer programs to engine tasks.

One task computes one row group of one stored word: a product (or a sum of two moves) in the
multipliers, then one drain that rounds, adds the base word, narrows and perhaps looks up a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.contract import Add, Destination, EngineConfig
from echoloom.ir.increments import increments
from echoloom.ir.ops import SUMS, VECTOR_PRODUCTS, DynamicShift, Op, Requant
from echoloom.ir.passes.allocate import Allocation
from echoloom.ir.passes.layout import groups, in_group
from echoloom.ir.passes.products import SLOT, Products, Unmappable, summed
from echoloom.ir.passes.tasks import Base, Drain, Exponents, Into, Multiply, Read, Task
from echoloom.ir.program import Body, Instr, Program, uses
from echoloom.ir.refusals import Value
from echoloom.ir.tables import TableContents, table_key


def lower(
    program: Program,
    body: Body,
    tables: Mapping[str, TableContents],
    at: Allocation,
    config: EngineConfig,
) -> tuple[Task, ...]:
    """Tasks of one body in program order. Unmappable names what the engine cannot do."""
    return tuple(_Lowering(program, body, tables, at, config).tasks())


def stored_values(program: Program, body: Body) -> tuple[str, ...]:
    """Names of a body that need vector memory, in order."""
    added = increments(body, program.types(body))
    counts = uses(body)
    looked_up = {i.args[0] for i in body.instrs if i.op is Op.TABLE}
    return tuple(
        instr.name
        for instr in body.instrs
        if instr.op is Op.TABLE
        or (
            instr.op is Op.REQUANT
            and instr.name not in added
            and not (counts.get(instr.name) == 1 and instr.name in looked_up)
        )
    )


@dataclass(frozen=True)
class _Exact:
    """A row group of an exact value, and what rounding it to a word takes."""

    multiplies: tuple[Multiply, ...]
    shift: int = 0
    exponents: Exponents | None = None
    base: Base | None = None


@dataclass(frozen=True)
class _Narrowing:
    """What becomes of a rounded sum."""

    width: int
    overflow: Overflow = Overflow.SATURATE
    dynamic: DynamicShift = DynamicShift.NONE


class _Lowering:
    def __init__(
        self,
        program: Program,
        body: Body,
        tables: Mapping[str, TableContents],
        at: Allocation,
        config: EngineConfig,
    ):
        self.body, self.tables, self.at, self.config = body, tables, at, config
        self.products = Products(program, body, at, config.narrow)
        self.definitions, self.types = self.products.definitions, self.products.types
        self.states = {d.name: d.type.q for d in program.states}
        self.stored = stored_values(program, body)

    def tasks(self) -> Iterator[Task]:
        for name in self.stored:
            yield from self._store(self.definitions[name])
        for state, value in self.body.updates:
            if self.at.home(self.body.section, value) != state:
                yield from self._copy(state, value)
        for accumulator, value in self.body.accumulates:
            yield from self._accumulate(accumulator, value)
        for value in self.body.emits:
            yield Task(f"emit {value}", (self.products.emitted(value),))

    # Stored words

    def _store(self, instr: Instr) -> Iterator[Task]:
        """A REQUANT's words, or those of a TABLE, with the REQUANT before it if nothing else
        needs that."""
        table = self._table(instr) if instr.op is Op.TABLE else None
        word = instr
        if table is not None:
            source = self.definitions.get(instr.args[0])
            if source is not None and source.op is Op.REQUANT and source.name not in self.stored:
                word = source
        narrowing = self._narrowing(word)
        size = self.types[instr.name].size
        place = self.at.vector(self.body.section, instr.name)
        state = self.at.home(self.body.section, instr.name)
        for group in range(groups(size, self.at.lanes)):
            exact = self._exact(word, group)
            drain = self._drain(exact, narrowing, size, group, place.address, table)
            yield Task(instr.name, exact.multiplies, drain, instr.name, group, state)

    def _drain(
        self,
        exact: _Exact,
        narrowing: _Narrowing,
        size: int,
        group: int,
        address: int,
        table: TableContents | None = None,
    ) -> Drain:
        return Drain(
            in_group(size, group, self.at.lanes), address + group, narrowing.width,
            exact.multiplies[-1].into.destination is Destination.TREE, exact.shift,
            narrowing.overflow, narrowing.dynamic, exact.base, exact.exponents, table,
        )  # fmt: skip

    def _table(self, instr: Instr) -> TableContents:
        return self.tables[table_key(instr, self.types[instr.args[0]].q)]

    def _narrowing(self, instr: Instr) -> _Narrowing:
        if instr.op is Op.TABLE:  # of a word that is stored: it fits as it is
            return _Narrowing(min(self.types[instr.args[0]].q.width, self.config.word))
        assert isinstance(instr.attr, Requant)
        width = self.types[instr.name].q.width
        return _Narrowing(width, instr.attr.overflow, instr.attr.register)

    def _exact(self, instr: Instr, group: int) -> _Exact:
        """What a REQUANT rounds, or the word that a TABLE looks up."""
        if instr.op is Op.TABLE:
            return _Exact((self.products.moved(instr.args[0], 1, group),))
        operand = self.products.root(instr.args[0])
        exact = self.definitions.get(operand.name)
        shift = min(self.types[instr.args[0]].q.fracs) - self.types[instr.name].q.scalar_frac
        if exact is not None and exact.op in SUMS:
            if operand.sign < 0:
                raise Unmappable(Value.of(instr.name, instr.place), " stores a negated sum")
            return self._sum(exact, shift, group)
        if exact is not None and exact.op in VECTOR_PRODUCTS:
            zero = Base(Add.MINUS, self.at.vectors.places[""].address, Read("", 0))
            return self._product(exact, shift, group, zero if operand.sign < 0 else None)
        if exact is not None and exact.op is Op.READ:
            return _Exact((self.products.load(exact, group),), shift)
        return _Exact((self.products.moved(instr.args[0], 1, group),), shift)

    def _product(self, product: Instr, shift: int, group: int, base: Base | None) -> _Exact:
        """A product, with per-element exponents where it has them, added to `base`."""
        exponents = None
        if self.types[product.name].q.per_element:
            roots = (self.products.root(x).name for x in product.args)
            coefficient = next(a for a in roots if self.types[a].q.per_element)
            exponents = Exponents(coefficient, self.types[coefficient].q.fracs, group)
        return _Exact((self.products.product(product, group),), shift, exponents, base)

    def _sum(self, exact: Instr, shift: int, group: int) -> _Exact:
        """A rounded product, or a word, added to a word in the drain, or two words in the
        accumulator."""
        first, second = exact.args
        rounded = self.definitions.get(second)
        if rounded is not None and rounded.op is Op.REQUANT and second not in self.stored:
            product = self.products.root(rounded.args[0])
            by = min(self.types[rounded.args[0]].q.fracs) - self.types[second].q.scalar_frac
            minus = (exact.op is Op.SUB) != (product.sign < 0)
            root = self.products.root(first)
            if root.sign < 0:
                raise Unmappable(
                    Value.of(exact.name, exact.place), " adds a product to a negated word"
                )
            base = Base(Add.MINUS if minus else Add.PLUS, *self.products.word(root.name, group))
            return self._product(self.definitions[product.name], by, group, base)
        frac = self.types[exact.name].q.scalar_frac
        sign = 1 if exact.op is Op.ADD else -1
        if shift == 0:
            # Nothing is rounded, so one word may be added in the drain as well: a move less.
            for base, other, of_other in ((first, second, sign), (second, first, 1)):
                root = self.products.root(base)
                unmoved = self.types[base].q.scalar_frac == frac
                if unmoved and root.sign > 0 and (base == first or sign > 0):
                    word = Base(Add.PLUS, *self.products.word(root.name, group))
                    return _Exact((self._term(other, frac, of_other, group, SLOT),), base=word)
        left = self._term(first, frac, 1, group, Into(push=False))
        right = self._term(second, frac, sign, group, Into(clear=False))
        return _Exact((left, right), shift)

    def _term(self, name: str, frac: int, sign: int, group: int, into: Into) -> Multiply:
        """A stored word times a power of two, aligned to `frac` fraction bits."""
        lift = frac - self.types[name].q.scalar_frac
        if lift > self.config.narrow - 2:
            raise Unmappable(
                Value(name), f" would have to be shifted left by {lift} bits to be added"
            )
        return self.products.moved(name, sign << lift, group, into)

    def _copy(self, state: str, value: str) -> Iterator[Task]:
        place = self.at.states[state]
        narrowing = _Narrowing(self.states[state].width, self.at.state_overflow(state))
        for group in range(groups(place.rows, self.at.lanes)):
            exact = _Exact((self.products.moved(value, 1, group),))
            drain = self._drain(exact, narrowing, place.rows, group, place.address)
            yield Task(f"{state}.copy", exact.multiplies, drain, f"{state}'", group, state)

    # Sums over steps

    def _accumulate(self, accumulator: str, value: str) -> Iterator[Task]:
        place = self.at.gradient.places[accumulator]
        operand = self.products.root(value)
        if operand.sign < 0:
            raise Unmappable("accumulator ", Value(accumulator), " sums a negated value")
        instr = self.definitions.get(operand.name)
        for group in range(groups(place.rows, self.at.lanes)):
            into = summed(place.address + group)
            if instr is not None and instr.op is Op.OUTER:
                multiply = self.products.outer(instr, place, group)
            elif instr is not None and instr.op is Op.MUL:
                multiply = self.products.elementwise(instr, group, into)
            else:
                multiply = self.products.moved(value, 1, group, into)
            yield Task(accumulator, (multiply,), group=group)
