"""One step of a recurrence, unrolled into the matrices of a linear system."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from echoloom.ir.affine import Floats, Form, within
from echoloom.ir.bounds import Code, limit_of
from echoloom.ir.ops import Op
from echoloom.ir.program import Instr
from echoloom.ir.worst_case import Recurrence

STATE = "state"  # the source that stands for all states of a recurrence, each element itself


class Unrolled(Code):
    """One step of a recurrence: values as forms of its states and of what drives it. Whatever comes
    from outside is a source for each of its elements, and so is every rounding."""

    def __init__(self, outside: Code, states: Mapping[str, Form], held: Floats):
        super().__init__(outside.facts, outside.body, outside.types)
        self.outside, self.own, self.held = outside, states, held
        self.ports: dict[str, Form] = {}

    def form(self, name: str) -> Form:
        if name in self.forms:
            return self.forms[name]
        if name in self.own:
            return self.own[name]
        form = self.outside.form(name)
        if form.is_known:
            return form
        if name not in self.ports:
            self.ports[name] = within(f"port {name}", form.low, form.high)
        return self.ports[name]

    def result(self, instr: Instr) -> Form:
        if not self.bends(instr):
            return super().result(instr)
        before = {a: self.form(a) for a in instr.args}
        closed = {a: self.closed(form) for a, form in before.items()}
        self.forms.update(closed)
        try:
            return super().result(instr)
        finally:
            self.forms.update(before)

    def bends(self, instr: Instr) -> bool:
        """Whether it is more than a sum of its operands times known numbers."""
        if instr.op in (Op.MATVEC, Op.TMATVEC):
            return instr.args[0] not in self.facts.numbers
        known_one = any(self.form(a).is_known for a in instr.args)
        return instr.op in (Op.TABLE, Op.OUTER) or (instr.op is Op.MUL and not known_one)

    def closed(self, form: Form) -> Form:
        """The same with the states anywhere in the range that is assumed of them."""
        matrix = form.terms.get(STATE)
        if matrix is None:
            return form
        others = {name: m for name, m in form.terms.items() if name != STATE}
        return Form(form.centre, form.radius + np.abs(matrix) @ self.held, others)

    def stored(self, instr: Instr, x: Form) -> Form:
        """A word that is taken to fit, which the bounds that come of it have to say too; a table's
        result is clamped, so it does."""
        if instr.op is not Op.TABLE:
            names = {f"round {instr.name}": np.diag(x.radius)} if x.radius.any() else {}
            return Form(x.centre, np.zeros_like(x.radius), {**x.terms, **names})
        limit = limit_of(instr.type.q)
        return within(instr.name, np.clip(x.low, -limit, limit), np.clip(x.high, -limit, limit))


def recurrence(
    step: Unrolled, updates: list[str], rows: list[str], starts: list[Floats]
) -> Recurrence:
    """The matrices of an unrolled step."""
    start = np.concatenate(starts)
    after, seen = ([step.form(name) for name in names] for names in (updates, rows))
    sources = dict.fromkeys(
        (name, m.shape[1]) for f in (*after, *seen) for name, m in f.terms.items() if name != STATE
    )

    def matrix(forms: list[Form], wanted: list[tuple[str, int]]) -> Floats:
        return np.concatenate([
            np.concatenate(
                [f.terms.get(name, np.zeros((len(f.centre), n))) for name, n in wanted]
                or [np.zeros((len(f.centre), 0))], axis=1)
            for f in forms
        ])  # fmt: skip

    states = [(STATE, len(start))]
    return Recurrence(
        matrix(after, states), matrix(after, list(sources)),
        np.concatenate([f.centre for f in after]), matrix(seen, states),
        matrix(seen, list(sources)), np.concatenate([f.centre for f in seen]), start,
    )  # fmt: skip
