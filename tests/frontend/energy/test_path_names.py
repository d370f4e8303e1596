"""Names of a unit's leaves: different for different paths, and legal in a program's text."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import echoloom as el
from echoloom.frontend.energy.canonical import canonicalise
from echoloom.frontend.energy.jaxpr import NamedKey, path_name
from echoloom.ir.parser import parse
from echoloom.ir.printer import NAME

KEYS = st.one_of(
    st.text(max_size=3),
    st.text("ab01._-/' ", max_size=4),
    st.integers(-2, 12),
    st.tuples(st.integers(0, 1), st.text("a,", max_size=1)),
)
HOSTILE = ("my key", "a.b", "a", "b", "ü", "a/b", "1", "0", "", "#", "a\nb", "%x", "a,b", "a'", "-",
           "--", "-20-", "x=1", "plus", "folded")  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(KEYS, min_size=1, max_size=3), st.lists(KEYS, min_size=1, max_size=3))
def test_different_paths_have_different_names(one: list[Any], other: list[Any]) -> None:
    names = [path_name(tuple(map(jax.tree_util.DictKey, path))) for path in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    assert all(NAME.fullmatch(name) for name in names)


def test_plain_names_stay_as_they_are() -> None:
    paths = jax.tree_util.tree_leaves_with_path({"block": [1.0, {"left_2": 2.0}]})
    assert [path_name(path) for path, _ in paths] == ["block.0", "block.1.left_2"]
    assert path_name((NamedKey("net.0.weight"),)) == "net.0.weight"


class Springs(el.Hamiltonian):
    """A spring for each entry, of different strength."""

    by_name: dict[Any, jax.Array]
    größe: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        # JAX sorts dictionaries, so their own order says nothing.
        springs = enumerate(sorted(self.by_name, key=str), 1)
        wells = (jnp.sum(self.by_name[key] * q ** (2 * n)) for n, key in springs)
        well = sum(wells, start=jnp.sum(self.größe * q))
        return well - q @ (self.drive @ u)


def springs(by_name: dict[Any, jax.Array]) -> Springs:
    return Springs(by_name, 0.1 * jnp.ones(2), 0.3 * jnp.ones((2, 3)))


def test_entries_of_one_dictionary_are_told_apart() -> None:
    unit = springs(dict.fromkeys(HOSTILE, jnp.ones(2)))
    names = [name for name, _ in canonicalise(unit, 2, 3).coefficients]
    assert len(set(names)) == len(HOSTILE) + 2
    mixed = OrderedDict({1: jnp.ones(2), "1": jnp.ones(2), "a": jnp.ones(2)})
    assert len(dict(canonicalise(springs(mixed), 2, 3).coefficients)) == 5


@pytest.mark.parametrize("keys", [("my key", "a.b"), ("", "a/b")])
def test_a_program_with_such_names_is_the_model(keys: tuple[str, str]) -> None:
    unit = springs({keys[0]: 0.5 * jnp.ones(2), keys[1]: 0.1 * jnp.ones(2)})
    model = el.HSSM(2, 2, 3, 2, 1, unit=unit, step=0.3, key=jax.random.key(0))
    x = np.random.default_rng(2).normal(size=(2, 6, 2))
    program = el.compile(model, x, lanes=2)
    assert parse(str(program.ir)) == program.ir
    np.testing.assert_allclose(program.predict(x[0]), model(jnp.asarray(x[0])), atol=2e-5)
    found, wanted = (
        g.blocks[0].unit.hamiltonian  # type: ignore[attr-defined]
        for g in (program.gradient(x[0], 1), el.bptt_gradient(model, jnp.asarray(x[0]), 1))
    )
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3 * float(jnp.abs(theirs).max()))
