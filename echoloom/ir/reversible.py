"""The state path: what makes a step retrace itself bit for bit when its momentum is turned round.

Every step body moves a unit's position q and momentum p by additions of increments, in turns:

- an addition into q or p is exact and wraps, and increments are rounded before it, so it can be
  taken back whatever the increment was;
- an increment of q is an odd function of p and coefficients alone (T even, T and V apart), so it
  changes sign with p;
- an increment of p does not depend on p itself, so it is the same both ways.

Real programs obey the same rules, short of those on rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.exact import InvalidProgram
from echoloom.ir.formats import Real
from echoloom.ir.ops import ODD_ROUNDINGS, SUMS, Op, Requant
from echoloom.ir.parity import Parity, analyse, descendants
from echoloom.ir.places import Coordinate, Letter
from echoloom.ir.program import Body, Instr, Program
from echoloom.ir.refusals import Value
from echoloom.ir.sections import STEPS


@dataclass(frozen=True)
class Path:
    """How a body moves one state: from the new value back to the old one, and by what."""

    state: str
    values: tuple[str, ...]
    increments: tuple[str, ...]


def verify_reversible(program: Program, body: Body) -> None:
    """InvalidProgram names the first state of a step body whose step cannot be retraced."""
    if body.section not in STEPS:
        return
    where = body.section.name.lower()
    definitions = {i.name: i for i in body.instrs}
    try:
        found = paths(body)
        for path in found.values():
            _verify_words(definitions, path)
        for path in found.values():
            _verify_energies(program, body, path, found)
    except InvalidProgram as error:
        raise error.at(where) from None


def _value(definitions: dict[str, Instr], name: str) -> Value:
    return Value.of(name, definitions[name].place if name in definitions else None)


def paths(body: Body) -> dict[str, Path]:
    """How a step body moves its states. InvalidProgram if one does not move by increments."""
    definitions = {i.name: i for i in body.instrs}
    return {state: _path(definitions, state, value) for state, value in body.updates}


def moved(body: Body) -> frozenset[str]:
    """The values that states go through in a step body."""
    return frozenset(v for path in paths(body).values() for v in path.values)


def _path(definitions: dict[str, Instr], state: str, value: str) -> Path:
    """Follow a state's new value back through additions to the old one."""
    values, increments = [value], []
    while values[-1] != state:
        following = _undone(definitions, values[-1], state)
        if following is None:
            raise InvalidProgram(
                "state ", Value(state), " gets ", _value(definitions, value),
                ", which is not its old value plus increments",
            )  # fmt: skip
        values.append(following[0])
        increments.append(following[1])
    return Path(state, tuple(values), tuple(increments))


def _undone(definitions: dict[str, Instr], value: str, state: str) -> tuple[str, str] | None:
    """The value before the last addition, and what was added; None if there is no such thing."""
    instr = definitions.get(value)
    if instr is not None and isinstance(instr.attr, Requant):
        instr = definitions.get(instr.args[0])
    if instr is None or instr.op not in SUMS:
        return None
    base, increment = instr.args
    if instr.op is Op.ADD and not _leads_to(definitions, base, state):
        base, increment = increment, base
    return base, increment


def _leads_to(definitions: dict[str, Instr], value: str, state: str) -> bool:
    while value != state:
        following = _undone(definitions, value, state)
        if following is None:
            return False
        value = following[0]
    return True


def _verify_words(definitions: dict[str, Instr], path: Path) -> None:
    """Quantised states: wrapping sums that lose nothing, increments rounded oddly before."""
    for value in path.values[:-1]:
        stored = definitions[value]
        if isinstance(stored.type.format, Real):
            continue
        state = path.state
        if not isinstance(stored.attr, Requant):
            raise InvalidProgram(
                "state ", Value(state), " gets ", _value(definitions, value),
                ", which is not brought to its format",
            )  # fmt: skip
        if stored.attr.overflow is not Overflow.WRAP:
            raise InvalidProgram("state ", Value(state), " must wrap: saturation is not reversible")
        total = definitions[stored.args[0]].type
        if stored.type.q.frac != total.q.frac:
            raise InvalidProgram(
                "state ", Value(state), ": ", _value(definitions, value),
                f" rounds the sum {total.q} to {stored.type.q}, but the increment must be rounded "
                "on its own",
            )  # fmt: skip
    for name in path.increments:
        increment = definitions.get(name)
        rounding = increment.attr if increment is not None else None
        if isinstance(rounding, Requant) and rounding.rounding not in ODD_ROUNDINGS:
            raise InvalidProgram(
                "the increment ", _value(definitions, name), " of state ", Value(path.state),
                f" rounds {rounding.rounding.value}, which is not odd; use half_even, half_away or "
                "to_zero",
            )  # fmt: skip


def _verify_energies(program: Program, body: Body, path: Path, paths: dict[str, Path]) -> None:
    own = next((d.coordinate for d in program.states if d.name == path.state), None)
    if own is None:
        raise InvalidProgram(
            "state ", Value(path.state), " moves every step but is no unit's q or p"
        )
    # A path through the code ends at the values a state takes: what they are made of was checked
    # with that state.
    cut = frozenset(v for p in paths.values() for v in p.values)
    reached = descendants(body.instrs, set(path.values), cut)
    for name in path.increments:
        if name in reached:
            raise InvalidProgram(
                "the increment ", Value(name, own.block), " of state ", Value(path.state),
                " depends on ", Value(path.state), ": T may depend on p alone, V on q and u",
            )  # fmt: skip
    if own.letter is Letter.POSITION:
        momentum = replace(own, letter=Letter.MOMENTUM)
        _verify_drift(program, body, path, momentum, paths, cut)


def _verify_drift(
    program: Program,
    body: Body,
    path: Path,
    of: Coordinate,
    paths: dict[str, Path],
    cut: frozenset[str],
) -> None:
    momentum = str(of)
    momenta = set(paths[momentum].values) if momentum in paths else {momentum}
    others = {d.name for d in (*program.runtime, *program.states, *body.frame)} | cut
    foreign = descendants(body.instrs, others - momenta, cut | momenta)
    parities = analyse(body.instrs, dict.fromkeys(momenta, Parity.ODD))
    for name in path.increments:
        if name in foreign:
            raise InvalidProgram(
                "the increment ", Value(name, of.block), " of state ", Value(path.state),
                " depends on more than ", Value(momentum),
                " and coefficients: T may depend on p alone",
            )  # fmt: skip
        if Parity.ODD not in parities.get(name, Parity.EVEN):
            raise InvalidProgram(
                "the increment ", Value(name, of.block), " of state ", Value(path.state),
                " is not known to be odd in ", Value(momentum), ": T must be even in p",
            )  # fmt: skip
