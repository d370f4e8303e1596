"""A user's Hamiltonian in canonical form, so that an engine can hold it and learn it.

`canonicalise` interprets the traced energies once: what depends on parameters alone goes to the
host, shapes are flattened, every primitive becomes one of a dozen steps, and what has no echo
(not separable, not even) or no form in fabric is refused with the user's line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from echoloom.frontend.energy.canonical.builder import (
    Builder,
    Host,
    Names,
    NoForm,
    Run,
    Untraceable,
)
from echoloom.frontend.energy.canonical.facts import Facts
from echoloom.frontend.energy.canonical.own_slope import is_plain_slope
from echoloom.frontend.energy.canonical.plan import CanonicalUnit as CanonicalUnit
from echoloom.frontend.energy.canonical.plan import Energy, Plan
from echoloom.frontend.energy.canonical.refusals import RANDOM, REFUSED, refuse_own_slope
from echoloom.frontend.energy.canonical.rules import PRIMITIVES
from echoloom.frontend.energy.canonical.split import check_even, pruned, separate
from echoloom.frontend.energy.canonical.stage import check_class, staged_energy
from echoloom.frontend.energy.folding import HostExpression
from echoloom.frontend.energy.hamiltonian import Hamiltonian, written
from echoloom.frontend.energy.jaxpr import Equation, Interpreter, path_name, same_code
from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.parity import Parity


def canonicalise(unit: Hamiltonian, positions: int, hidden: int) -> Plan:
    """The plan of a unit with q, p [positions] and u [hidden].

    Raises Untraceable (a ValueError), naming the user's line, for an energy that is not separable,
    not even in p, or made of something that fabric cannot do.
    """
    # Numbers stay numbers even where a model is being built inside a traced function.
    with jax.enable_x64(True):
        return _canonicalise(unit, positions, hidden)


def check_echo(unit: Hamiltonian, positions: int, hidden: int) -> None:
    """Untraceable for a unit that RHEL cannot learn on any machine, or whose energies fail.

    What only fabric refuses passes, but not in an `energy` that is yet to be taken apart: one that
    cannot be read to its end is not known to separate.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(unit)):
        return
    try:
        canonicalise(unit, positions, hidden)
    except NoForm:
        if type(unit).energy is not Hamiltonian.energy:
            raise


def _canonicalise(unit: Hamiltonian, positions: int, hidden: int) -> Plan:
    unit = written(unit)
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(unit, eqx.is_array))
    names = [path_name(path) for path, _ in leaves]
    held = {i: names[i] for i, (_, leaf) in enumerate(leaves) if np.ndim(leaf) in (1, 2)}
    b = Builder(type(unit).__name__, held, Names(names))
    parameters = [
        b.folded(HostExpression(i), np.asarray(leaf, np.float64), True)
        for i, (_, leaf) in enumerate(leaves)
    ]
    check_class(b, unit)
    if type(unit).energy is not Hamiltonian.energy:
        sizes = {"q": positions, "p": positions, "u": hidden}
        t, v = separate(b, _run(b, unit, parameters, "energy", sizes))
        check_even(b, t)
        kinetic, potential = _with_inputs(pruned(b, t), (1,)), _with_inputs(pruned(b, v), (0, 2))
    else:
        v = _run(b, unit, parameters, "potential", {"q": positions, "u": hidden})
        potential = pruned(b, v)
        t = _run(b, unit, parameters, "kinetic", {"p": positions})
        check_even(b, t)
        kinetic = pruned(b, t)
    used = {s.coefficient for e in (potential, kinetic) for s in e.steps if s.coefficient}
    kept = {name: host for name, host in b.coefficients.items() if name in used}
    coefficients = tuple((name, host.index) for name, host in kept.items())
    learned = frozenset(name for name, host in kept.items() if host.parameter)
    return Plan(tuple(b.host), coefficients, learned, potential, kinetic)


def _with_inputs(energy: Energy, kept: tuple[int, ...]) -> Energy:
    """An energy of three inputs as one of some of them."""
    if energy.result is None:
        return Energy(len(kept), (), None)
    place = {old: new for new, old in enumerate(kept)}
    place |= {i: i - energy.inputs + len(kept) for i in range(energy.inputs, 3 + len(energy.steps))}
    steps = tuple(replace(s, args=tuple(place[a] for a in s.args)) for s in energy.steps)
    return Energy(len(kept), steps, place[energy.result])


def _run(
    b: Builder,
    unit: Hamiltonian,
    parameters: Sequence[Host],
    method: str,
    sizes: dict[str, int],
) -> int:
    """Interpret one of the unit's functions; the step that holds its value."""
    b.steps, b.facts, b.inputs = [], [], 0
    jaxpr, consts = staged_energy(b, unit, method, sizes)
    start = b.where
    operands: list[Any] = list(parameters)
    for name, size in sizes.items():
        parity = Parity.ODD if name == "p" else Parity.EVEN
        operands.append(b.input(name, (size,), Facts(parity=parity, inputs=frozenset({name}))))
    # Numbers, also where a model is built inside a function that JAX traces.
    with jax.ensure_compile_time_eval():
        (result,) = _Canonicaliser(b).run(jaxpr, consts, operands)
    moving = result.facts.inputs if isinstance(result, Run) else frozenset()
    for name, derived in (("p", "q would never change"), ("q", "no force would ever act")):
        if name in sizes and name not in moving:
            b.where = start
            raise b.refuse(
                f"the energy does not depend on {name}, so {derived}",
                f"add a term of {name}, such as 0.5 * jnp.sum({name}**2)",
            )
    assert isinstance(result, Run)
    return result.index


class _Canonicaliser(Interpreter):
    def __init__(self, builder: Builder):
        self.builder = builder

    def constant(self, value: Any) -> Host:
        return self.builder.fixed(value)

    def equation(self, equation: Equation, operands: list[Any]) -> list[Any]:
        b = self.builder
        b.where = equation.where or b.where
        if not RANDOM.isdisjoint(equation.primitives):
            raise b.refuse(
                "random numbers are drawn inside the energy, but an echo has to meet the very same "
                "forces again",
                "draw them once outside and keep them in a field, or feed noise as an input",
            )
        if all(isinstance(x, Host) for x in operands):
            return list(b.compute(equation.evaluate, operands))
        if any(np.issubdtype(t, np.complexfloating) for t in equation.types):
            raise b.no_form(
                "complex numbers are computed from run-time values, and fabric has only real words",
                "hold real and imaginary parts as two positions",
            )
        if all(0 in shape for shape in equation.shapes):
            return [b.fixed(np.zeros(shape)) for shape in equation.shapes]
        name = _named(equation)
        if name in PRIMITIVES:
            return PRIMITIVES[name](b, equation, operands)
        own_rule = equation.name == "custom_jvp_call" and equation.is_written_by_user
        if own_rule and not is_plain_slope(equation, operands):
            refuse_own_slope(b)
        inner = equation.inner
        if inner is not None:
            return self.run(*inner, operands)
        rule = REFUSED.get(equation.name)
        if rule is None:
            known = sorted(name for name, function in FUNCTIONS.items() if not function.is_slope)
            raise b.no_form(
                f"the operation {equation.name!r} has no form in fabric, which has sums, products "
                "and tables of a few functions",
                f"write it with + - * / and {', '.join(known)}, or multiply by a constant matrix",
            )
        return rule(b, equation, operands)


def _named(equation: Equation) -> str:
    """What an operation is called; a call of a function of JAX's, whose code tells it, by that."""
    if equation.inner is None or equation.is_written_by_user:
        return equation.name
    if equation.params.get("name") == "softplus" and same_code(equation, jax.nn.softplus):
        return "softplus"
    if equation.name == "custom_jvp_call" and len(equation.eqn.invars) == 1:
        for own in (jax.nn.relu, jax.nn.relu6):
            if same_code(equation, own):
                return own.__name__
    two = equation.name == "custom_jvp_call" and len(equation.eqn.invars) == 2
    return "logaddexp" if two and same_code(equation, jax.numpy.logaddexp) else equation.name


__all__ = ["CanonicalUnit", "Plan", "Untraceable", "canonicalise", "check_echo"]
