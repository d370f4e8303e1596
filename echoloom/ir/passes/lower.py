"""Integer programs to engine tasks.

One task computes one row group of one stored word: a product (or a sum of two moves) in the
multipliers, then one drain that rounds, adds the base word, narrows and perhaps looks up a table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from echoloom.ir.contract import Add, Destination, DrainEntry, MacEntry, Narrow, Wide, XMode
from echoloom.ir.increments import increments
from echoloom.ir.ops import Op, Requant, Scale, Table
from echoloom.ir.passes.allocate import Allocation
from echoloom.ir.passes.layout import Orientation, Place, groups, in_group
from echoloom.ir.passes.tasks import Read, Segment, Task
from echoloom.ir.program import Body, Instr, Program, uses

PRODUCTS = (Op.MUL, Op.MATVEC, Op.TMATVEC)


class Unmappable(ValueError):
    """The engine has no instruction for something in the program."""


@dataclass(frozen=True)
class _Operand:
    """A stored or coefficient vector behind any number of SCALEs, and their sign."""

    name: str
    sign: int


def lower(program: Program, body: Body, allocation: Allocation) -> tuple[Task, ...]:
    """Tasks of one body in program order. Unmappable names what the engine cannot do."""
    return _Lowering(program, body, allocation).tasks()


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


def _root(definitions: dict[str, Instr], name: str) -> _Operand:
    sign = 1
    while (instr := definitions.get(name)) is not None and isinstance(instr.attr, Scale):
        sign = -sign if instr.attr.factor < 0 else sign
        name = instr.args[0]
    return _Operand(name, sign)


class _Lowering:
    def __init__(self, program: Program, body: Body, allocation: Allocation):
        self.program, self.body, self.at = program, body, allocation
        self.lanes = allocation.lanes
        self.definitions = {i.name: i for i in body.instrs}
        self.types = program.types(body)
        self.stored = stored_values(program, body)
        self.frame: dict[str, int] = {}
        offset = 0
        for declaration in body.frame:
            self.frame[declaration.name] = offset
            offset += declaration.type.size

    def tasks(self) -> tuple[Task, ...]:
        tasks: list[Task] = []
        for name in self.stored:
            tasks += self._store(self.definitions[name])
        for state, value in self.body.updates:
            if self.at.home(self.body.section, value) != state:
                tasks += self._copy(state, value)
        for accumulator, value in self.body.accumulates:
            tasks += self._accumulate(accumulator, value)
        for value in self.body.emits:
            tasks.append(self._emit(value))
        return tuple(tasks)

    # Stored words

    def _store(self, instr: Instr) -> list[Task]:
        table: Instr | None = None
        word = instr
        if instr.op is Op.TABLE:
            table = instr
            source = self.definitions.get(instr.args[0])
            fused = source is not None and source.op is Op.REQUANT
            fused = fused and instr.args[0] not in self.stored
            if fused:
                assert source is not None
                word = source
        tasks = []
        size = self.types[instr.name].size
        place = self.at.vector(self.body.section, instr.name)
        for group in range(groups(size, self.lanes)):
            if word.op is Op.TABLE:
                segments, drain, base = self._move(instr.args[0], group, 0)
                width = self.types[instr.args[0]].q.width
                drain = replace(drain, width=min(width, self.at.word))
            else:
                segments, drain, base = self._requant(word, group)
            drain = replace(
                drain,
                count=in_group(size, group, self.lanes),
                destination=place.address + group,
            )
            if table is not None:
                drain = self._with_table(drain, table)
            state = self.at.home(self.body.section, instr.name)
            tasks.append(Task(instr.name, segments, drain, base, instr.name, group, state))
        return tasks

    def _with_table(self, drain: DrainEntry, instr: Instr) -> DrainEntry:
        assert isinstance(instr.attr, Table)
        address, contents = self.at.table(instr, self.types[instr.args[0]].q)
        return replace(
            drain,
            use_table=True,
            table=address,
            segment_bits=contents.segment_bits,
            fraction_bits=contents.fraction_bits,
            slope_shift=contents.slope_shift,
        )

    def _requant(
        self, instr: Instr, group: int
    ) -> tuple[tuple[Segment, ...], DrainEntry, Read | None]:
        """Everything between the operands and the narrowed word of a REQUANT."""
        assert isinstance(instr.attr, Requant)
        operand = _root(self.definitions, instr.args[0])
        exact = self.definitions.get(operand.name)
        target = self.types[instr.name].q
        drain = DrainEntry(
            start=0, slot=0, count=0, destination=0, width=target.width,
            overflow=instr.attr.overflow, dynamic=instr.attr.register,
        )  # fmt: skip
        shift = min(self.types[instr.args[0]].q.fracs) - target.scalar_frac
        if exact is not None and exact.op in (Op.ADD, Op.SUB):
            if operand.sign < 0:
                raise Unmappable(f"{instr.name} stores a negated sum")
            return self._sum(exact, drain, shift, group)
        if exact is not None and exact.op in PRODUCTS:
            segments = self._product(exact, group)
            drain = self._shifted(drain, exact, shift, group)
            if operand.sign < 0:
                zero = Read("", 0)
                return segments, replace(drain, add=Add.MINUS, base=self.at.zero), zero
            return segments, drain, None
        if exact is not None and exact.op is Op.READ:
            return (self._load(exact, group),), replace(drain, shift=shift), None
        segments, moved, base = self._move(instr.args[0], group, shift)
        return segments, replace(drain, shift=moved.shift), base

    def _shifted(self, drain: DrainEntry, product: Instr, shift: int, group: int) -> DrainEntry:
        """Set the drain's shift, with per-element exponents where the product has them."""
        if not self.types[product.name].q.per_element:
            return replace(drain, shift=shift)
        coefficient = next(
            a for a in (_root(self.definitions, x).name for x in product.args)
            if self.types[a].q.per_element
        )  # fmt: skip
        address = self.at.exponents(coefficient, self.types[coefficient].q.fracs, group)
        return replace(drain, shift=shift, use_exponents=True, exponents=address)

    def _sum(
        self, exact: Instr, drain: DrainEntry, shift: int, group: int
    ) -> tuple[tuple[Segment, ...], DrainEntry, Read | None]:
        base, other = exact.args
        rounded = self.definitions.get(other)
        if rounded is not None and rounded.op is Op.REQUANT and other not in self.stored:
            product = _root(self.definitions, rounded.args[0])
            source = self.definitions[product.name]
            by = min(self.types[rounded.args[0]].q.fracs) - self.types[other].q.scalar_frac
            minus = (exact.op is Op.SUB) != (product.sign < 0)
            root = _root(self.definitions, base)
            if root.sign < 0:
                raise Unmappable(f"{exact.name} adds a product to a negated word")
            address, read = self._word(root.name, group)
            drain = self._shifted(drain, source, by, group)
            drain = replace(drain, add=Add.MINUS if minus else Add.PLUS, base=address)
            return self._product(source, group), drain, read
        frac = self.types[exact.name].q.scalar_frac
        left = self._term(base, frac, 1, group, clear=True, push=False)
        sign = 1 if exact.op is Op.ADD else -1
        right = self._term(other, frac, sign, group, clear=False, push=True)
        return (left, right), replace(drain, shift=shift), None

    def _term(
        self, name: str, frac: int, sign: int, group: int, clear: bool, push: bool
    ) -> Segment:
        """A stored word times a power of two, aligned to `frac` fraction bits."""
        lift = frac - self.types[name].q.scalar_frac
        if lift > self.at.narrow - 2:
            raise Unmappable(f"{name} would have to be shifted left by {lift} bits to be added")
        return self._moved(name, sign << lift, group, clear, push)

    def _move(
        self, name: str, group: int, shift: int
    ) -> tuple[tuple[Segment, ...], DrainEntry, Read | None]:
        drain = DrainEntry(start=0, slot=0, count=0, destination=0, shift=shift)
        return (self._moved(name, 1, group, True, True),), drain, None

    def _moved(self, name: str, factor: int, group: int, clear: bool, push: bool) -> Segment:
        operand = _root(self.definitions, name)
        weight = self.at.constant_weight(factor * operand.sign)
        address, read = self._word(operand.name, group)
        entry = MacEntry(
            start=0, clear=clear, push=push, narrow=Narrow.WEIGHT, wide=Wide.Y,
            w_base=weight, y_base=address,
        )  # fmt: skip
        return Segment(entry, (read,))

    def _load(self, instr: Instr, group: int) -> Segment:
        place = self.at.gradient.places[instr.attr.accumulator]  # type: ignore[union-attr]
        return Segment(MacEntry(start=0, load_gradient=True, g_base=place.address + group), ())

    def _copy(self, state: str, value: str) -> list[Task]:
        place = self.at.states[state]
        tasks = []
        for group in range(groups(place.rows, self.lanes)):
            segments, drain, _ = self._move(value, group, 0)
            drain = replace(
                drain,
                count=in_group(place.rows, group, self.lanes),
                destination=place.address + group,
                width=self.types[state].q.width,
                overflow=self.at.state_overflow(state),
            )
            tasks.append(Task(f"{state}.copy", segments, drain, None, f"{state}'", group, state))
        return tasks

    # Operands

    def _word(self, name: str, group: int) -> tuple[int, Read]:
        """Vector-memory address of a row group of a stored value, and the dependency on it."""
        if name in self.frame:
            raise Unmappable(f"the streamed input {name} is used other than by broadcast")
        place = self.at.vector(self.body.section, name)
        return place.address + group, Read(name, group)

    def _broadcast(self, name: str, size: int) -> tuple[dict[str, object], tuple[Read, ...]]:
        """X-port fields that give every lane elements 0..size-1 of a vector, one a cycle."""
        if name in self.frame:
            return {"x_mode": XMode.INPUT, "x_base": self.frame[name], "x_step": 1}, ()
        place = self.at.vector(self.body.section, name)
        reads = tuple(
            Read(name, g, g * self.lanes, min(size, (g + 1) * self.lanes) - 1)
            for g in range(groups(size, self.lanes))
        )
        fields = {"x_mode": XMode.BROADCAST, "x_base": place.address, "x_step": 1}
        return fields, reads

    def _scalar(self, name: str) -> tuple[dict[str, object], tuple[Read, ...]]:
        if name in self.frame:
            return {"x_mode": XMode.INPUT, "x_base": self.frame[name]}, ()
        address, read = self._word(name, 0)
        return {"x_mode": XMode.BROADCAST, "x_base": address}, (read,)

    # Products

    def _product(self, instr: Instr, group: int) -> tuple[Segment, ...]:
        if instr.op is Op.MUL:
            size = self.types[instr.name].size
            entry, reads = self._elementwise(instr, group)
            return (Segment(replace(entry, lanes=in_group(size, group, self.lanes)), reads),)
        matrix = self.at.weight.places[instr.args[0]]
        x = _root(self.definitions, instr.args[1])
        if x.sign < 0:
            raise Unmappable(f"{instr.name} multiplies a negated vector")
        forward = instr.op is Op.MATVEC
        if forward == (matrix.orientation is Orientation.ROWS):
            return (self._by_broadcast(instr, matrix, x.name, group),)
        return (self._by_tree(instr, matrix, x.name, group),)

    def _by_broadcast(self, instr: Instr, matrix: Place, x: str, group: int) -> Segment:
        fields, reads = self._broadcast(x, matrix.columns)
        entry = MacEntry(
            start=0, inner=matrix.columns, narrow=Narrow.WEIGHT, wide=Wide.X,
            w_base=matrix.address + group * matrix.columns, w_inner=1,
            lanes=in_group(matrix.rows, group, self.lanes), **fields,  # type: ignore[arg-type]
        )  # fmt: skip
        return Segment(entry, reads)

    def _by_tree(self, instr: Instr, matrix: Place, x: str, group: int) -> Segment:
        outer = in_group(matrix.columns, group, self.lanes)
        inner = groups(matrix.rows, self.lanes)
        address, _ = self._word(x, 0)
        cycles = inner * outer
        reads = tuple(Read(x, g, g, cycles - inner + g) for g in range(inner))
        entry = MacEntry(
            start=0, inner=inner, outer=outer, destination=Destination.TREE,
            narrow=Narrow.WEIGHT, wide=Wide.Y, w_base=matrix.address + group * self.lanes,
            w_inner=matrix.columns, w_outer=1, y_base=address, y_step=int(inner > 1),
            lanes=matrix.rows // inner,
        )  # fmt: skip
        return Segment(entry, reads)

    def _elementwise(self, instr: Instr, group: int) -> tuple[MacEntry, tuple[Read, ...]]:
        a, b = (_root(self.definitions, x) for x in instr.args)
        if a.sign * b.sign < 0:
            raise Unmappable(f"{instr.name} multiplies a negated vector")
        shape = self.types[instr.name].shape
        for one, other in ((a.name, b.name), (b.name, a.name)):
            if one in self.at.weight.places:
                address, read = self._word(other, group)
                entry = MacEntry(
                    start=0, narrow=Narrow.WEIGHT, wide=Wide.Y,
                    w_base=self.at.weight.places[one].address + group, y_base=address,
                )  # fmt: skip
                return entry, (read,)
        for one, other in ((a.name, b.name), (b.name, a.name)):
            if self.types[one].shape == () != shape:
                fields, reads = self._scalar(one)
                address, read = self._word(other, group)
                narrow = self._narrow_side(one, other)
                entry = MacEntry(
                    start=0, y_base=address, narrow=Narrow.X if narrow == one else Narrow.Y,
                    wide=Wide.Y if narrow == one else Wide.X, **fields,  # type: ignore[arg-type]
                )  # fmt: skip
                return entry, (*reads, read)
        narrow = self._narrow_side(a.name, b.name)
        wide = b.name if narrow == a.name else a.name
        y, y_read = self._word(narrow, group)
        x, x_read = self._word(wide, group)
        entry = MacEntry(start=0, narrow=Narrow.Y, wide=Wide.X, y_base=y, x_base=x)
        return entry, (y_read, x_read)

    def _narrow_side(self, a: str, b: str) -> str:
        for name in (a, b):
            if self.types[name].q.width <= self.at.narrow:
                return name
        raise Unmappable(f"{a} times {b}: neither fits the multiplier's narrow side")

    # Sums over steps and outputs

    def _accumulate(self, accumulator: str, value: str) -> list[Task]:
        place = self.at.gradient.places[accumulator]
        operand = _root(self.definitions, value)
        if operand.sign < 0:
            raise Unmappable(f"accumulator {accumulator} sums a negated value")
        instr = self.definitions.get(operand.name)
        tasks = []
        for group in range(groups(place.rows, self.lanes)):
            if instr is not None and instr.op is Op.OUTER:
                segment = self._outer(instr, place, group)
            else:
                if instr is not None and instr.op is Op.MUL:
                    entry, reads = self._elementwise(instr, group)
                    entry = replace(entry, lanes=in_group(place.rows, group, self.lanes))
                else:
                    moved = self._moved(value, 1, group, True, False)
                    entry, reads = moved.entry, moved.reads
                entry = replace(entry, g_base=place.address + group)
                segment = Segment(entry, reads)
            entry = replace(segment.entry, destination=Destination.GRADIENT, push=False)
            tasks.append(Task(accumulator, (replace(segment, entry=entry),), group=group))
        return tasks

    def _outer(self, instr: Instr, place: Place, group: int) -> Segment:
        g, x = (_root(self.definitions, a) for a in instr.args)
        if g.sign * x.sign < 0:
            raise Unmappable(f"{instr.name} multiplies a negated vector")
        by_rows = place.orientation is Orientation.ROWS
        local, broadcast = (g.name, x.name) if by_rows else (x.name, g.name)
        fields, reads = self._broadcast(broadcast, place.columns)
        address, read = self._word(local, group)
        narrow = self._narrow_side(local, broadcast)
        entry = MacEntry(
            start=0, inner=place.columns, y_base=address,
            narrow=Narrow.Y if narrow == local else Narrow.X,
            wide=Wide.X if narrow == local else Wide.Y,
            g_base=place.address + group * place.columns,
            lanes=in_group(place.rows, group, self.lanes), **fields,  # type: ignore[arg-type]
        )  # fmt: skip
        return Segment(entry, (*reads, replace(read, last=place.columns - 1)))

    def _emit(self, value: str) -> Task:
        size = self.types[value].size
        fields, reads = self._broadcast(_root(self.definitions, value).name, size)
        entry = MacEntry(
            start=0, inner=size, destination=Destination.EMIT, clear=False, push=False,
            **fields,  # type: ignore[arg-type]
        )  # fmt: skip
        return Task(f"emit {value}", (Segment(entry, reads),))
