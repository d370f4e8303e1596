"""The integer code of one body as it is written: exact values, and how they are cut to words."""

from __future__ import annotations

from collections.abc import Mapping

from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.formats import Q, Type
from echoloom.ir.ops import Attribute, DynamicShift, Op, Requant
from echoloom.ir.places import Label
from echoloom.ir.program import Instr
from echoloom.ir.verifier import WIDEST, exact_type


class IntegerCode:
    """Instructions so far and the type of every name, `types` being those from outside."""

    def __init__(self, types: Mapping[str, Type], word: int, rounding: Rounding):
        self.types, self.word, self.rounding = dict(types), word, rounding
        self.instrs: dict[str, Instr] = {}

    def q(self, name: str) -> Q:
        return self.types[name].q

    def append(self, instr: Instr) -> str:
        self.instrs[instr.name] = instr
        self.types[instr.name] = instr.type
        return instr.name

    def exact(self, label: Label, op: Op, *args: str, attr: Attribute | None = None) -> str:
        type_ = exact_type(op, [self.types[a] for a in args], attr)
        return self.append(Instr.of(label, op, args, type_, attr))

    def cut(
        self,
        label: Label,
        value: str,
        q: Q,
        overflow: Overflow = Overflow.SATURATE,
        register: DynamicShift = DynamicShift.NONE,
    ) -> str:
        """`value` rounded and narrowed to q, in several goes where one shift would be too long."""
        goes = 0
        while max((exact := self.q(value)).fracs) - q.scalar_frac > WIDEST:
            lowest = min(exact.fracs)
            upper = Q(self.word, lowest - exact.width + self.word)
            if exact.width <= self.word:
                upper = exact.rounded(lowest - WIDEST)
            goes += 1
            value = self._requant(label.part(f"upper.{goes}"), value, upper)
        return self._requant(label, value, q, overflow, register)

    def _requant(
        self,
        label: Label,
        value: str,
        q: Q,
        overflow: Overflow = Overflow.SATURATE,
        register: DynamicShift = DynamicShift.NONE,
    ) -> str:
        attr = Requant(self.rounding, overflow, register)
        type_ = Type(self.types[value].shape, q)
        return self.append(Instr.of(label, Op.REQUANT, (value,), type_, attr))
