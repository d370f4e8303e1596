"""Type rules and the verifier that runs after every pass."""

from __future__ import annotations

from echoloom.ir.engine import Overflow, Section
from echoloom.ir.formats import Q, Real, Type
from echoloom.ir.ops import ARITY, ATTRIBUTE_OF, ODD_ROUNDINGS, Attribute, Op, Requant, Scale, Table
from echoloom.ir.program import Body, Instr, Program


class InvalidProgram(ValueError):
    """The program breaks a rule of the IR; the message says which, where."""


def exact_type(op: Op, args: list[Type], attr: Attribute | None = None) -> Type:
    """The type of an exact operation's result; InvalidProgram when shapes or formats do not fit.

    Integer formats widen so that no bit is lost: sums align on the finer exponent and take one
    more bit, products add widths and exponents, dot products take log2(n) more bits.
    """
    shape = _shape(op, args)
    if any(isinstance(a.format, Real) for a in args):
        return Type(shape, Real())
    formats = [a.q for a in args]
    if op in (Op.ADD, Op.SUB):
        a, b = formats
        frac = max(a.scalar_frac, b.scalar_frac)
        width = max(a.width + frac - a.scalar_frac, b.width + frac - b.scalar_frac) + 1
        return Type(shape, Q(width, frac))
    if op is Op.SCALE:
        assert isinstance(attr, Scale)
        return Type(shape, formats[0].shifted(-_power(attr.factor)))
    if op in (Op.MUL, Op.OUTER):
        return Type(shape, _product(formats[0], formats[1], 0))
    if op in (Op.MATVEC, Op.TMATVEC):
        terms = args[0].shape[1 if op is Op.MATVEC else 0]
        return Type(shape, _product(formats[0], formats[1], (terms - 1).bit_length()))
    if op is Op.SUM:
        terms = args[0].shape[0]
        return Type(shape, Q(formats[0].width + (terms - 1).bit_length(), formats[0].frac))
    raise InvalidProgram(f"{op.value} has no exact type; its result's type is declared")


def _power(factor: float) -> int:
    import math

    mantissa, exponent = math.frexp(abs(factor))
    if mantissa != 0.5:
        raise InvalidProgram(f"scale by {factor}: an exact factor is a power of two")
    return exponent - 1


def _product(a: Q, b: Q, growth: int) -> Q:
    if a.per_element and b.per_element:
        raise InvalidProgram("a product of two values with per-element exponents is not supported")
    wide, other = (a, b) if a.per_element else (b, a)
    return Q(a.width + b.width + growth, wide.shifted(other.scalar_frac).frac)


def _shape(op: Op, args: list[Type]) -> tuple[int, ...]:
    shapes = [a.shape for a in args]
    if op in (Op.ADD, Op.SUB, Op.MUL):
        a, b = shapes
        if a == b or b == ():
            return a
        if a == ():
            return b
    elif op in (Op.MATVEC, Op.TMATVEC):
        matrix, vector = shapes
        inner, outer = (1, 0) if op is Op.MATVEC else (0, 1)
        if len(matrix) == 2 and vector == (matrix[inner],):
            return (matrix[outer],)
    elif op is Op.OUTER:
        if len(shapes[0]) == len(shapes[1]) == 1:
            return shapes[0] + shapes[1]
    elif op is Op.SUM:
        if len(shapes[0]) == 1:
            return ()
    else:
        return shapes[0]
    raise InvalidProgram(f"{op.value} does not take shapes {', '.join(map(str, shapes))}")


def verify(program: Program) -> Program:
    """Check every rule; returns the program so that passes can be chained."""
    _unique([d.name for d in program.globals()], "declared value")
    _unique([a.name for a in program.accumulators], "accumulator")
    _unique([b.section.name for b in program.bodies], "body")
    for body in program.bodies:
        _verify_body(program, body)
    return program


def _unique(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidProgram(f"{what} {name} is declared more than once")


def _verify_body(program: Program, body: Body) -> None:
    where = body.section.name.lower()
    types = {d.name: d.type for d in (*program.globals(), *body.frame)}
    for instr in body.instrs:
        at = f"{where}: {instr.name}"
        if instr.name in types:
            raise InvalidProgram(f"{at} is assigned more than once")
        for a in instr.args:
            if a not in types:
                raise InvalidProgram(f"{at} uses {a} before it is defined")
        try:
            _verify_instr(program, instr, [types[a] for a in instr.args])
        except InvalidProgram as error:
            raise InvalidProgram(f"{at}: {error}") from None
        types[instr.name] = instr.type
    states = {d.name: d.type for d in program.states}
    for state, value in body.updates:
        if state not in states:
            raise InvalidProgram(f"{where} updates {state}, which is not a state")
        if types.get(value) != states[state]:
            raise InvalidProgram(
                f"{where}: state {state} is {states[state]} but gets {types.get(value)}"
            )
    accumulators = {a.name: a for a in program.accumulators}
    _unique([name for name, _ in body.accumulates], f"{where}: sum into")
    for name, value in body.accumulates:
        if name not in accumulators or value not in types:
            raise InvalidProgram(f"{where}: accumulator {name} or its term {value} is unknown")
        _verify_accumulate(where, accumulators[name].type, types[value], name)
    for value in body.emits:
        if value not in types:
            raise InvalidProgram(f"{where} emits {value}, which is not defined")
    _verify_state_path(program, body)


def _verify_accumulate(where: str, total: Type, term: Type, name: str) -> None:
    if total.shape != term.shape:
        raise InvalidProgram(f"{where}: accumulator {name} is {total}, its term {term}")
    if isinstance(total.format, Q) and total.q.frac != term.q.frac:
        raise InvalidProgram(f"{where}: accumulator {name} and its term differ in exponent")


def _verify_instr(program: Program, instr: Instr, args: list[Type]) -> None:
    if len(args) != ARITY[instr.op]:
        raise InvalidProgram(f"{instr.op.value} takes {ARITY[instr.op]} operands, got {len(args)}")
    wanted = ATTRIBUTE_OF.get(instr.op)
    if (wanted is None) != (instr.attr is None) or (wanted and not isinstance(instr.attr, wanted)):
        raise InvalidProgram(f"{instr.op.value} carries the wrong attribute {instr.attr}")
    if instr.op in (Op.CONSTANT, Op.READ):
        return
    if instr.op is Op.TABLE:
        assert isinstance(instr.attr, Table)
        if instr.type.shape != args[0].shape:
            raise InvalidProgram("a table keeps its operand's shape")
        return
    if instr.op is Op.REQUANT:
        _verify_requant(instr, args[0])
        return
    expected = exact_type(instr.op, args, instr.attr)
    if instr.type != expected:
        raise InvalidProgram(f"{instr.op.value} gives {expected}, but is declared {instr.type}")


def _verify_requant(instr: Instr, operand: Type) -> None:
    assert isinstance(instr.attr, Requant)
    if instr.type.shape != operand.shape:
        raise InvalidProgram("requant keeps its operand's shape")
    if instr.type.q.scalar_frac > min(operand.q.fracs):
        raise InvalidProgram(
            f"requant to {instr.type.q} would invent fraction bits that {operand.q} has not"
        )


def _verify_state_path(program: Program, body: Body) -> None:
    """Units' states: odd rounding of increments, wrapping sums (the step must be reversible)."""
    if body.section not in (Section.FORWARD_STEP, Section.ECHO_STEP):
        return
    definitions = {i.name: i for i in body.instrs}
    for state, value in body.updates:
        if not state.startswith("b") or value not in definitions:
            continue
        instr = definitions[value]
        if isinstance(instr.type.format, Real):
            continue
        if not isinstance(instr.attr, Requant):
            raise InvalidProgram(f"state {state} is updated by {instr.op.value}, not by a requant")
        if instr.attr.overflow is not Overflow.WRAP:
            raise InvalidProgram(f"state {state} must wrap: saturation is not reversible")
        total = definitions.get(instr.args[0])
        if total is None or total.op not in (Op.ADD, Op.SUB):
            raise InvalidProgram(f"state {state} is not a stored word plus a rounded increment")
        increment = definitions.get(total.args[1])
        if increment is None or not isinstance(increment.attr, Requant):
            raise InvalidProgram(f"the increment of state {state} is not rounded on its own")
        if increment.attr.rounding not in ODD_ROUNDINGS:
            raise InvalidProgram(
                f"the increment of state {state} rounds {increment.attr.rounding.value}, "
                "which is not odd; reversibility needs half_even, half_away or to_zero"
            )
