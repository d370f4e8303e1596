"""Where max(x, y) = y + relu(x - y), min(x, y) and |x| = 2 relu(x) - x provably lie.

Interval arithmetic term by term knows nothing of two terms that hold the same value: of |x| it says
everything. Here a value is a sum of others with numbers, a *form*; in one with c relu(d), which is
max(0, c d) or min(0, c d), the relu is taken out, which leaves the larger or smaller of two forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from echoloom.ir.functions import FUNCTIONS, Corner, Interval
from echoloom.ir.ops import SUMS, Constant, Op, Scale, Table
from echoloom.ir.program import Instr

MOST = 4  # relus in one form: each doubles the work


@dataclass(frozen=True)
class Form:
    """constant + sum of coefficient * value."""

    constant: float = 0.0
    terms: Mapping[str, float] = field(default_factory=dict)

    def plus(self, other: Form, factor: float = 1.0) -> Form:
        """self + factor * other."""
        names = {**self.terms, **other.terms}
        terms = {n: self.terms.get(n, 0.0) + factor * other.terms.get(n, 0.0) for n in names}
        constant = self.constant + factor * other.constant
        return Form(constant, {n: c for n, c in terms.items() if c != 0.0})


@dataclass
class Forms:
    """Forms of a body's values, in the order of its instructions; `of` says where a value lies."""

    of: Callable[[str], Interval]
    forms: dict[str, Form] = field(default_factory=dict)
    relus: dict[str, Form] = field(default_factory=dict)  # by name: what each is the relu of

    def add(self, instr: Instr) -> Interval | None:
        """Take up an instruction; where its value lies, None where it has no corner."""
        form = self._form(instr)
        self.forms[instr.name] = form
        cornered = 0 < sum(n in self.relus for n in form.terms) <= MOST and len(form.terms) > 1
        return self._bounds(form) if cornered else None

    def _form(self, instr: Instr) -> Form:
        args = [self.forms.get(a, Form(terms={a: 1.0})) for a in instr.args]
        if isinstance(instr.attr, Constant):
            return Form(instr.attr.value)
        if isinstance(instr.attr, Scale):
            return Form().plus(args[0], instr.attr.factor)
        if instr.op in SUMS:
            return args[0].plus(args[1], 1.0 if instr.op is Op.ADD else -1.0)
        if instr.op is Op.REQUANT:  # before its rounding
            return args[0]
        if isinstance(instr.attr, Table) and FUNCTIONS[instr.attr.function].corner is Corner.BEND:
            self.relus[instr.name] = args[0]
        return Form(terms={instr.name: 1.0})

    def _bounds(self, form: Form) -> Interval:
        name = next((n for n in form.terms if n in self.relus), None)
        if name is None:
            return self._sum(form)
        factor = form.terms[name]
        without = form.plus(Form(terms={name: 1.0}), -factor)
        two = [without, without.plus(self.relus[name], factor)]
        between = [self._bounds(own) for own in (*two, *_mixed(*two))]
        ends = list(zip(*between, strict=True))
        # Of the larger of two, whatever lies between them is a lower bound.
        if factor > 0.0:
            return max(ends[0]), max(ends[1][:2])
        return min(ends[0][:2]), min(ends[1])

    def _sum(self, form: Form) -> Interval:
        lo = hi = form.constant
        for name, factor in form.terms.items():
            ends = sorted(factor * end for end in self.of(name))
            lo, hi = lo + ends[0], hi + ends[1]
        return lo, hi


def _mixed(a: Form, b: Form) -> list[Form]:
    """Means of two forms with weights by which a value cancels that both hold."""
    mixed = []
    for name in a.terms.keys() & b.terms.keys():
        x, y = a.terms[name], b.terms[name]
        if x * y < 0.0:
            weight = y / (y - x)
            mixed.append(Form().plus(a, weight).plus(b, 1.0 - weight))
    return mixed
