"""The verifier that runs after every pass: what makes a text of instructions a program.

Every refusal is one sentence that begins with the place. The rules of the state path are in
`ir.reversible`, those of one target's multipliers and memories in `ir.target`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from echoloom.ir.exact import InvalidProgram as InvalidProgram
from echoloom.ir.exact import exact_type as exact_type
from echoloom.ir.formats import Q, Real, Type, largest
from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.increments import root
from echoloom.ir.ops import (
    ARITY,
    ATTRIBUTE_OF,
    Constant,
    DynamicShift,
    Op,
    Read,
    Requant,
    Scale,
    Shift,
    Table,
)
from echoloom.ir.printer import NAME
from echoloom.ir.program import Accumulator, Body, Instr, Program
from echoloom.ir.refusals import Value
from echoloom.ir.reversible import verify_reversible
from echoloom.ir.sections import STEPS
from echoloom.ir.tables import range_bits
from echoloom.ir.target import verify_target as verify_target

WIDEST = 63  # bits of an exact value: interpreters compute in 64-bit integers


def verify(program: Program) -> Program:
    """Check every rule; returns the program so that passes can be chained."""
    _verify_names(program)
    for d in program.globals():
        _verify_type(d.name, d.type)
    for a in program.accumulators:
        _verify_accumulator(program, a)
    sections = [b.section for b in program.bodies]
    _unique([s.name.lower() for s in sections], "body")
    if sections != sorted(sections):
        raise InvalidProgram("the bodies are not in the order in which they run")
    _verify_uniform(program)
    summed: set[str] = set()
    written: set[str] = set()
    for body in program.bodies:
        _verify_body(program, body, summed, written)
        summed |= {name for name, _ in body.accumulates}
        written |= {state for state, _ in body.updates}
    for a in program.accumulators:
        if a.name not in summed:
            raise InvalidProgram(f"accumulator {a.name}: no body adds to it")
    return program


# Declarations


def _verify_names(program: Program) -> None:
    _unique([d.name for d in program.globals()], "declared value")
    _unique([a.name for a in program.accumulators], "accumulator")
    named = [program.name, *(d.name for d in program.globals())]
    named += [a.name for a in program.accumulators]
    for body in program.bodies:
        named += [d.name for d in body.frame]
        named += [i.name for i in body.instrs]
    for name in named:
        if NAME.fullmatch(name) is None:
            raise InvalidProgram(f"the name {name!r} has characters that the text form has not")


def _unique(names: list[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidProgram(f"{what} {name} is declared more than once")
        seen.add(name)


def _verify_type(at: str, type_: Type) -> None:
    if len(type_.shape) > 2 or any(extent < 1 for extent in type_.shape):
        raise InvalidProgram(f"{type_} is no scalar, vector or matrix").at(at)
    if isinstance(type_.format, Real):
        return
    q = type_.q
    if not 2 <= q.width <= WIDEST:
        raise InvalidProgram(f"{q} has {q.width} bits, and words have 2 to {WIDEST}").at(at)
    if isinstance(q.frac, tuple) and (not type_.shape or len(q.frac) != type_.shape[0]):
        raise InvalidProgram(f"{type_} needs one exponent for each element of axis 0").at(at)
    if not q.columns:
        return
    if len(type_.shape) != 2 or len(q.columns) != type_.shape[1]:
        raise InvalidProgram(f"{type_} needs one exponent for each column").at(at)
    if min(q.columns) != 0 or max(q.columns) == 0:
        raise InvalidProgram(f"{type_} has columns whose least exponent is not 0").at(at)


def _verify_uniform(program: Program) -> None:
    """All real or all quantised: a real number among words has no bits to check."""
    first: tuple[str, Type] | None = None
    for name, type_ in _all_types(program):
        first = first or (name, type_)
        if isinstance(type_.format, Real) != isinstance(first[1].format, Real):
            raise InvalidProgram(
                f"{name} is {type_} but {first[0]} is {first[1]}: "
                "a program is real or quantised as a whole"
            )


def _all_types(program: Program) -> Iterable[tuple[str, Type]]:
    for d in program.globals():
        yield d.name, d.type
    for a in program.accumulators:
        yield a.name, a.type
    for body in program.bodies:
        for item in (*body.frame, *body.instrs):
            yield f"{body.section.name.lower()}: {item.name}", item.type


def _verify_accumulator(program: Program, accumulator: Accumulator) -> None:
    at = f"accumulator {accumulator.name}"
    _verify_type(at, accumulator.type)
    if not math.isfinite(accumulator.scale) or accumulator.scale == 0.0:
        raise InvalidProgram(f"its scale {accumulator.scale} is not a finite factor").at(at)
    shapes = {d.name: d.type.shape for d in program.coefficients}
    for role, name in (("target", accumulator.target), ("divisor", accumulator.divisor)):
        # A coefficient that is differentiated but never used is not in a quantised program.
        absent = role == "target" and isinstance(accumulator.type.format, Q)
        if name and shapes.get(name, accumulator.type.shape if absent else None) != (
            accumulator.type.shape
        ):
            raise InvalidProgram(f"its {role} {name} is no coefficient of its shape").at(at)


# Bodies


def _verify_body(program: Program, body: Body, summed: set[str], written: set[str]) -> None:
    where = body.section.name.lower()
    if body.frame and body.section not in STEPS:
        raise InvalidProgram("only step bodies have input frames").at(where)
    types = {d.name: d.type for d in program.globals()}
    _unique([d.name for d in body.frame], f"{where}: frame input")
    for d in body.frame:
        _verify_type(f"{where}: {d.name}", d.type)
        if d.name in types:
            raise InvalidProgram(f"the frame input {d.name} hides a declared value").at(where)
        types[d.name] = d.type
    unwritten = {d.name for d in program.states} - written
    for instr in body.instrs:
        at = f"{where}: {instr.name}"
        if instr.name in types:
            raise InvalidProgram(f"{at} is assigned more than once")
        for a in instr.args:
            _verify_use(at, a, types, unwritten)
        _verify_type(at, instr.type)
        try:
            _verify_instr(instr, [types[a] for a in instr.args])
        except InvalidProgram as error:
            raise error.at(where, Value.of(instr.name, instr.place)) from None
        if isinstance(instr.attr, Read):
            _verify_read(program, at, instr.attr.accumulator, instr.type, summed)
        types[instr.name] = instr.type
    for value in (*(v for _, v in (*body.updates, *body.accumulates)), *body.emits):
        _verify_use(where, value, types, unwritten)
    _verify_results(program, body, types, summed)
    verify_reversible(program, body)


def _verify_use(at: str, name: str, types: dict[str, Type], unwritten: set[str]) -> None:
    if name not in types:
        raise InvalidProgram(f"{at} uses {name} before it is defined")
    if name in unwritten:
        raise InvalidProgram(f"{at} uses the state {name}, which no earlier body has written")


def _verify_read(program: Program, at: str, name: str, type_: Type, summed: set[str]) -> None:
    declared = {a.name: a.type for a in program.accumulators}
    if name not in declared or name not in summed:
        raise InvalidProgram(f"{at} reads accumulator {name}, which no earlier body adds to")
    if type_ != declared[name]:
        raise InvalidProgram(f"{at} is {type_}, but accumulator {name} is {declared[name]}")


def _verify_results(program: Program, body: Body, types: dict[str, Type], summed: set[str]) -> None:
    where = body.section.name.lower()
    states = {d.name: d.type for d in program.states}
    _unique([state for state, _ in body.updates], f"{where}: new value of state")
    definitions = {i.name: i for i in body.instrs}
    operations = {i.name: i.op for i in body.instrs}
    for state, value in body.updates:
        if state not in states:
            raise InvalidProgram(f"{where} updates {state}, which is not a state")
        if types[value] != states[state]:
            raise InvalidProgram(
                f"{where}: state {state} is {states[state]} but {value} is {types[value]}"
            )
        if operations.get(value) is Op.SCALE and isinstance(states[state].format, Q):
            raise InvalidProgram(
                f"{where}: state {state} gets {value}, which is scaled but not brought to its "
                "format: minus the most negative word does not fit"
            )
    accumulators = {a.name: a.type for a in program.accumulators}
    _unique([name for name, _ in body.accumulates], f"{where}: sum into")
    for name, value in body.accumulates:
        if name not in accumulators:
            raise InvalidProgram(f"{where} adds to {name}, which is not an accumulator")
        if name in summed:
            raise InvalidProgram(f"{where} adds to {name}, as an earlier body does already")
        product = operations.get(root(definitions, value).name) in (Op.MUL, Op.OUTER)
        _verify_sum(f"{where}: accumulator {name}", accumulators[name], types[value], product)


def _verify_sum(at: str, total: Type, term: Type, product: bool) -> None:
    """A product of two words takes a bit less than its type says: no word is the most negative."""
    if total.shape != term.shape:
        raise InvalidProgram(f"{at} is {total}, its term {term}")
    if isinstance(total.format, Q):
        if (total.q.frac, total.q.columns) != (term.q.frac, term.q.columns):
            raise InvalidProgram(f"{at} is {total}, its term {term}: their exponents differ")
        if term.q.width - product > total.q.width:
            raise InvalidProgram(f"{at} is {total}, its term {term}: the term is wider")


# Instructions


def _verify_instr(instr: Instr, args: list[Type]) -> None:
    op, attr = instr.op, instr.attr
    if len(args) != ARITY[op]:
        raise InvalidProgram(f"{op.value} takes {ARITY[op]} operands, got {len(args)}")
    wanted = ATTRIBUTE_OF.get(op)
    if type(attr) is not (wanted or type(None)):
        kind = f"attributes {wanted.__name__}" if wanted else "no attributes"
        raise InvalidProgram(f"{op.value} carries {kind}, got {attr}")
    if isinstance(attr, Constant):
        _verify_constant(instr, attr)
    elif isinstance(attr, Table):
        _verify_table(instr, attr, args[0])
    elif isinstance(attr, Requant):
        _verify_requant(instr, attr, args[0])
    elif isinstance(attr, Shift):
        _verify_shift(instr, attr, args[0])
    elif op is not Op.READ:
        if isinstance(attr, Scale) and not math.isfinite(attr.factor):
            raise InvalidProgram(f"scale by {attr.factor} is not a finite factor")
        expected = exact_type(op, args, attr)
        if instr.type != expected:
            raise InvalidProgram(f"{op.value} gives {expected}, but is declared {instr.type}")


def _verify_constant(instr: Instr, attr: Constant) -> None:
    if not math.isfinite(attr.value):
        raise InvalidProgram(f"the constant {attr.value} is not a finite number")
    if isinstance(instr.type.format, Q):
        q = instr.type.q
        word = round(math.ldexp(attr.value, _single_exponent("constant", q)))
        if abs(word) > largest(q.width):
            raise InvalidProgram(f"the constant {attr.value} does not fit {q}")


def _verify_table(instr: Instr, attr: Table, operand: Type) -> None:
    if attr.function not in FUNCTIONS:
        raise InvalidProgram(f"there is no table of {attr.function!r}")
    if instr.type.shape != operand.shape:
        raise InvalidProgram("a table keeps its operand's shape")
    if isinstance(instr.type.format, Real):
        return
    _single_exponent("table", instr.type.q)
    source = operand.q
    _single_exponent("table", source)
    reach = range_bits(attr.function, source)
    if attr.range_bits != reach:
        raise InvalidProgram(
            f"the table of {attr.function} on {source} covers 2**{reach} either way, "
            f"not 2**{attr.range_bits}"
        )
    if not 1 <= attr.segment_bits <= source.scalar_frac + reach + 1:
        raise InvalidProgram(
            f"a table of 2**{attr.segment_bits} segments cannot be told apart in {operand.q}"
        )


def _verify_requant(instr: Instr, attr: Requant, operand: Type) -> None:
    if isinstance(instr.type.format, Real):
        raise InvalidProgram("requant stands in quantised programs only")
    if instr.type.shape != operand.shape:
        raise InvalidProgram("requant keeps its operand's shape")
    target = _single_exponent("requant", instr.type.q)
    if target > min(operand.q.fracs):
        raise InvalidProgram(
            f"requant to {instr.type.q} would invent fraction bits that {operand.q} has not"
        )
    if max(operand.q.fracs) - target > WIDEST:
        raise InvalidProgram(f"requant from {operand.q} to {instr.type.q} shifts everything out")


def _verify_shift(instr: Instr, attr: Shift, operand: Type) -> None:
    if not isinstance(instr.type.format, Real):
        raise InvalidProgram("shift stands in real programs only: a requant shifts words")
    if attr.register is DynamicShift.NONE:
        raise InvalidProgram("shift names no register to shift by")
    if instr.type != operand:
        raise InvalidProgram("shift keeps its operand's type")


def _single_exponent(what: str, q: Q) -> int:
    if q.per_element:
        raise InvalidProgram(f"a {what} needs one exponent for all elements, got {q}")
    return q.scalar_frac
