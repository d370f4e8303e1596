"""Collects the code of one body while a program is assembled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from echoloom.ir.formats import Type, real
from echoloom.ir.ops import Attribute, Constant, Op, Scale
from echoloom.ir.places import Label
from echoloom.ir.program import Accumulator, Body, Declaration, Graph, Instr, Leaf
from echoloom.ir.sections import Section


class Writer:
    """One body's instructions; names are made unique by a label and a counter.

    `declared` is what exists before the body, `accumulators` the program's list, which grows.
    """

    def __init__(
        self,
        section: Section,
        declared: Iterable[Declaration],
        accumulators: list[Accumulator],
        frame: tuple[Declaration, ...] = (),
    ):
        self.section, self.frame, self.accumulators = section, frame, accumulators
        self.definitions: dict[str, Instr] = {}
        self.updates: list[tuple[str, str]] = []
        self.accumulates: list[tuple[str, str]] = []
        self.emits: list[str] = []
        self.types: dict[str, Type] = {d.name: d.type for d in (*declared, *frame)}
        self._first_of: dict[tuple[object, ...], str] = {}
        self._same_as: dict[str, str] = {}

    def put(
        self,
        label: Label,
        op: Op,
        *args: str,
        shape: tuple[int, ...] | None = None,
        attr: Attribute | None = None,
    ) -> str:
        if shape is None:
            shape = max((self.types[a].shape for a in args), key=len)
        unique = label.unique(self.types)
        name, type_ = unique.text, real(*shape)
        self.definitions[name] = Instr.of(unique, op, args, type_, attr)
        self.types[name] = type_
        expression = (op, attr, shape, *(self._same_as.get(a, a) for a in args))
        self._same_as[name] = self._first_of.setdefault(expression, name)
        return name

    def equal(self, a: str, b: str) -> bool:
        """Whether two values are the same expression."""
        return self._same_as.get(a, a) == self._same_as.get(b, b)

    def scale(self, label: Label, value: str, factor: float) -> str:
        return self.put(label, Op.SCALE, value, attr=Scale(factor))

    def inline(self, graph: Graph, label: Label, bindings: Mapping[str, str]) -> dict[str, str]:
        """Copy a graph's code; `bindings` maps its inputs to values here, and the arguments that
        hold coefficients to what these are called here."""
        names = {
            d.name: d.of(bindings[d.owner]) if isinstance(d, Leaf) else bindings[d.name]
            for d in graph.inputs
        }
        for instr in graph.instrs:
            names[instr.name] = self.put(
                label.part(instr.name),
                instr.op,
                *(names[a] for a in instr.args),
                shape=instr.type.shape,
                attr=instr.attr,
            )
        return {result: names[value] for result, value in graph.outputs}

    def vanishes(self, value: str) -> bool:
        definition = self.definitions.get(value)
        attr = None if definition is None else definition.attr
        return isinstance(attr, Constant) and attr.value == 0.0

    def total(self, label: Label, values: list[str]) -> str:
        """The sum of `values`, without those that vanish."""
        present = [v for v in values if not self.vanishes(v)] or values[:1]
        total = present[0]
        for value in present[1:]:
            total = self.put(label, Op.ADD, total, value)
        return total

    def accumulate(
        self, name: str, value: str, target: str, scale: float = 1.0, divisor: str = ""
    ) -> None:
        self.accumulators.append(Accumulator(name, self.types[value], scale, target, divisor))
        self.accumulates.append((name, value))

    def accumulate_leaves(self, graph: Graph, results: Mapping[str, str], target: str) -> None:
        """Gradients of a graph's coefficients, each under the name it has in the program."""
        leaves = graph.leaves()
        for result, value in results.items():
            if result in leaves and not self.vanishes(value):
                name = leaves[result].of(target)
                self.accumulate(name, value, name)

    def body(self) -> Body:
        return Body(
            self.section,
            self.frame,
            tuple(self.definitions.values()),
            tuple(self.updates),
            tuple(self.accumulates),
            tuple(self.emits),
        )
