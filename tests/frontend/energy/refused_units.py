"""Units of one wrong method, and how their refusals are held against goldens."""

from __future__ import annotations

import inspect
import linecache
import re
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

import echoloom as el
from echoloom.frontend.energy.canonical import canonicalise

POSITIONS, HIDDEN = 3, 2
Method = Callable[..., Any]
# What a unit's method is called, by its arguments.
NAMES = {("q", "u"): "potential", ("p",): "kinetic", ("q", "p", "u"): "energy"}
PLACE = re.compile(r" at (\S+):(\d+):(\d+): ")


class Plain(el.Hamiltonian):
    """A good unit, whose methods the cases replace."""

    k: jax.Array  # [POSITIONS]
    drive: jax.Array  # [POSITIONS, HIDDEN]

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(self.k * q**2) - q @ (self.drive @ u)


class Golden(NamedTuple):
    """What is said of every one of some units; each with the expression that is to blame."""

    sentence: str
    units: Mapping[str, tuple[str, Method]]


def made(kind: type[Plain]) -> Plain:
    return kind(jnp.arange(1.0, POSITIONS + 1), jnp.ones((POSITIONS, HIDDEN)))


def name_of(method: Method) -> str:
    return NAMES[tuple(inspect.signature(method).parameters)[1:]]


def written(method: Method) -> Plain:
    """A Plain unit with a method of its own."""
    own = {"__module__": __name__, "__qualname__": "Own", name_of(method): method}
    return made(types.new_class("Own", (Plain,), exec_body=lambda body: body.update(own)))


def model(unit: Any, **arguments: Any) -> el.HSSM:
    sizes = {"inputs": 2, "outputs": 2, "hidden": HIDDEN, "state": POSITIONS, "blocks": 1}
    return el.HSSM(**{**sizes, **arguments}, unit=unit, key=jax.random.key(0))


def cases(goldens: list[Golden]) -> list[Any]:
    return [
        pytest.param(golden.sentence, expression, method, id=name)
        for golden in goldens
        for name, (expression, method) in golden.units.items()
    ]


def refusal(action: Callable[[], object], sentence: str) -> None:
    """`action` raises ValueError, and says this."""
    with pytest.raises(ValueError) as caught:
        action()
    assert str(caught.value) == sentence


def refusal_at(action: Callable[[], object], subject: str, file: str, expression: str) -> str:
    """What ValueError says of `subject`, after the place where `expression` stands in `file`."""
    with pytest.raises(ValueError) as caught:
        action()
    found = PLACE.search(str(caught.value))
    assert found is not None, caught.value
    before, after = str(caught.value)[: found.start()], str(caught.value)[found.end() :]
    assert before == subject
    assert Path(found[1]).name == Path(file).name
    line = linecache.getline(found[1], int(found[2]))
    start = int(found[3]) - 1
    # A function's own place is its first line.
    assert line[start:].startswith(expression) or (start == 0 and expression in line), line
    return after


def refused_by_the_compiler(method: Method, file: str, expression: str) -> str:
    unit, subject = written(method), f"Own.{name_of(method)}"
    return refusal_at(lambda: canonicalise(unit, POSITIONS, HIDDEN), subject, file, expression)
