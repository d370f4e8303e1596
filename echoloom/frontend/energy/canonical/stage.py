"""Traces a user's energy; what is wrong with its class or stops JAX is said in the user's terms."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax import errors
from jax.extend import core as jex

from echoloom.frontend.energy import places
from echoloom.frontend.energy.canonical.builder import Builder, Untraceable
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.energy.jaxpr import staged

Jaxpr = tuple[jex.Jaxpr, Sequence[Any]]

FRICTION = (
    "friction", "dissipation", "dissipate", "damping", "damp", "drag", "viscosity",
)  # fmt: skip
DERIVED = {"force": "the potential", "velocity": "the kinetic energy"}

# What JAX raises where tracing needs a number that is not there yet; the first that fits decides.
_UNKNOWN: tuple[tuple[type[Exception], str, str], ...] = (
    (
        errors.TracerBoolConversionError,
        "Python asks here whether a run-time number is true (if, while, and, or, not, assert), but "
        "a circuit takes one path for all numbers",
        "write jnp.where(condition, a, b), with & | ~ between comparisons",
    ),
    (
        errors.TracerArrayConversionError,
        "a function of NumPy gets a run-time array here, which it cannot follow",
        "use the function of the same name in jax.numpy",
    ),
    (
        errors.NonConcreteBooleanIndexError,
        "a run-time condition as an index picks a number of elements that depends on data, but a "
        "circuit's vectors have fixed lengths",
        "keep every element and write jnp.where(condition, x, 0.0)",
    ),
    (
        TypeError,  # ConcretizationTypeError and TracerIntegerConversionError among them
        "a run-time number is needed here as a number of Python's, but it is not known before the "
        "run",
        "stay with jax.numpy's functions, and take shapes, counts and indices from static fields",
    ),
)
_CONCRETE = (errors.ConcretizationTypeError, errors.TracerIntegerConversionError)


def check_class(b: Builder, unit: Hamiltonian) -> None:
    """Untraceable for a unit that defines what is derived from its energies, or friction."""
    own = [c for c in type(unit).__mro__ if issubclass(c, Hamiltonian) and c is not Hamiltonian]
    for owner in own:
        for name in (*vars(owner), *owner.__annotations__):
            if name in FRICTION or (name in DERIVED and callable(vars(owner).get(name))):
                b.what, b.where = name, _place_of_member(owner, name)
            if name in FRICTION:
                raise b.refuse(
                    f"{name} would take energy out of the motion, and what is lost leaves no echo "
                    "to learn from",
                    "leave it out and confine the motion by the potential, for instance with "
                    "+ 0.1 * jnp.sum(q**4)",
                )
            if name in DERIVED and callable(vars(owner).get(name)):
                raise b.refuse(
                    f"a {name} of one's own would never be used, because it is derived from "
                    f"{DERIVED[name]}, or the echo's gradient would belong to another motion",
                    f"write {DERIVED[name]} of which it is the derivative",
                )


def staged_energy(b: Builder, unit: Hamiltonian, method: str, sizes: Mapping[str, int]) -> Jaxpr:
    """Jaxpr of a unit's function of its leaves and of vectors of these sizes."""
    arrays, others = eqx.partition(unit, eqx.is_array)
    leaves, treedef = jax.tree.flatten(arrays)
    function = getattr(type(unit), method)
    b.what, b.where = method, places.of_function(function)
    wanted = f"{method}(self, {', '.join(sizes)})"
    if function in (Hamiltonian.potential, Hamiltonian.energy):
        b.where = _place_of_member(type(unit), "")
        raise b.refuse(
            "the class has neither a potential nor an energy", f"write {wanted} -> one number"
        )
    try:
        inspect.signature(function).bind(unit, *sizes)
    except TypeError as error:
        raise b.refuse(
            f"it must take {', '.join(sizes)} and nothing else ({error}), so that H separates into "
            "T(p) + V(q, u)",
            f"write {wanted}",
        ) from error

    def call(*arguments: Any) -> Any:
        own = eqx.combine(jax.tree.unflatten(treedef, list(arguments[: len(leaves)])), others)
        return getattr(own, method)(*arguments[len(leaves) :])

    shapes = (*(np.shape(leaf) for leaf in leaves), *((size,) for size in sizes.values()))
    try:
        jaxpr, consts = staged(call, *shapes)
    except Exception as error:
        raise _failed(b, error, sizes) from error
    _check_result(b, jaxpr, sizes)
    return jaxpr, consts


def _failed(b: Builder, error: Exception, sizes: Mapping[str, int]) -> Untraceable:
    b.where = places.of_error(error) or b.where
    if isinstance(error, errors.JAXTypeError | errors.JAXIndexError):
        for kind, problem, advice in _UNKNOWN:
            if isinstance(error, kind):
                return b.refuse(problem, advice)
    said = re.sub(r"\s+", " ", str(error)).strip().rstrip(".") or "no reason given"
    said = said if len(said) <= 160 else said[:157] + "..."
    return b.refuse(f"it fails with {type(error).__name__}: {said}", _must_take(sizes))


def _must_take(sizes: Mapping[str, int]) -> str:
    arguments = " and ".join(f"{name} [{size}]" for name, size in sizes.items())
    return f"it must take {arguments} to one real number"


def _check_result(b: Builder, jaxpr: jex.Jaxpr, sizes: Mapping[str, int]) -> None:
    types = [v.aval for v in jaxpr.outvars]
    if len(types) == 1 and types[0].shape == () and np.issubdtype(types[0].dtype, np.floating):  # type: ignore[union-attr]
        return
    found = ", ".join(f"{t.dtype}{list(t.shape)}" for t in types) or "nothing"  # type: ignore[union-attr]
    raise b.refuse(
        f"it gives {found}, but an energy is one real number, whose slopes are the motion",
        f"add up its parts with jnp.sum, for {_must_take(sizes)}",
    )


def _place_of_member(owner: type, name: str) -> str:
    """Where a class writes a member; its first line where that cannot be found."""
    try:
        lines, first = inspect.getsourcelines(owner)
        file = inspect.getsourcefile(owner)
    except (OSError, TypeError):
        return owner.__qualname__
    pattern = re.compile(rf"\s*(def\s+)?{name}\b\s*[:=(]") if name else re.compile(r"class\b")
    for offset, line in enumerate(lines):
        if found := pattern.match(line):
            column = 1 + len(line) - len(line.lstrip())
            return f"{file}:{first + offset}:{column}" if found else ""
    return f"{file}:{first}:1"
