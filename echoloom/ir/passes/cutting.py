"""Writing integer code: exact values, and how they are cut to stored words."""

from __future__ import annotations

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.formats import Q, Type
from echoloom.ir.ops import DynamicShift, Op, Requant
from echoloom.ir.passes.formats_plan import FormatPlan
from echoloom.ir.passes.terms import rounded
from echoloom.ir.places import Label
from echoloom.ir.program import Instr
from echoloom.ir.sections import Section
from echoloom.ir.verifier import WIDEST, exact_type


class Cutter:
    """The code of one body so far: its instructions, every value's type, and the words that stand
    for the real program's values."""

    plan: FormatPlan
    section: Section
    types: dict[str, Type]
    labels: dict[str, Label]
    instrs: list[Instr]
    names: dict[str, str]

    def put(self, label: Label, op: Op, *args: str, attr: object = None) -> str:
        type_ = exact_type(op, [self.types[a] for a in args], attr)  # type: ignore[arg-type]
        return self._append(Instr.of(label, op, args, type_, attr))  # type: ignore[arg-type]

    def _append(self, instr: Instr) -> str:
        self.instrs.append(instr)
        self.types[instr.name] = instr.type
        self.labels[instr.name] = instr.label
        return instr.name

    def _requant(
        self,
        label: Label,
        value: str,
        q: Q,
        key: str | None,
        register: DynamicShift = DynamicShift.NONE,
    ) -> str:
        """Cut `value` to q; reports a cap when q asks for more bits than there are."""
        if key is not None:
            self.plan.cap(key, min(self.types[value].q.fracs))
        state = key is not None and self.plan.formats.of(key).state
        return self._cut(label, value, q, Overflow.WRAP if state else Overflow.SATURATE, register)

    def _cut(
        self,
        label: Label,
        value: str,
        q: Q,
        overflow: Overflow,
        register: DynamicShift = DynamicShift.NONE,
    ) -> str:
        """Round and narrow, in several goes where one shift would be too long."""
        goes = 0
        while max((exact := self.types[value].q).fracs) - q.scalar_frac > WIDEST:
            word, lowest = self.plan.widths.word, min(exact.fracs)
            upper = Q(word, lowest - exact.width + word)
            if exact.width <= word:
                upper = rounded(exact, lowest - WIDEST)
            goes += 1
            type_ = Type(self.types[value].shape, upper)
            attr = Requant(self.plan.widths.rounding, Overflow.SATURATE)
            upper_label = label.part(f"upper.{goes}")
            value = self._append(Instr.of(upper_label, Op.REQUANT, (value,), type_, attr))
        attr = Requant(self.plan.widths.rounding, overflow, register)
        type_ = Type(self.types[value].shape, q)
        return self._append(Instr.of(label, Op.REQUANT, (value,), type_, attr))

    def _store(self, instr: Instr, value: str, register: DynamicShift = DynamicShift.NONE) -> None:
        """Store an exact value as the word of `instr`."""
        key = self.plan.key(self.section, instr.name)
        q = self.plan.formats.q(key)
        self.names[instr.name] = self._requant(instr.label, value, q, key, register)
