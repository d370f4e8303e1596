"""The gallery of user-written Hamiltonians in float64: gradients, reversal, long runs, words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hamiltonians import GALLERY
from jax.extend import core as jex
from steps_back import States, step_back

from echoloom.frontend.gradients.bptt import bptt_gradient
from echoloom.frontend.gradients.rhel import flip, rhel_gradient
from echoloom.frontend.models import parts
from echoloom.frontend.models.coefficients import StackCoefficients
from echoloom.frontend.models.hssm import HSSM, rest, trainable, with_statistics

INPUTS, OUTPUTS, HIDDEN = 3, 3, 5
# The contrast's error goes with epsilon squared and is 2e-8 at most at 1e-2; here rounding is all
# that is left of it. A larger epsilon would part the echoes across the walls of a potential.
EPSILON, TOLERANCE = 2.0**-10, 1e-6


@pytest.fixture(autouse=True, scope="module")
def compile_in_haste() -> Iterator[None]:
    """A hundred compilations, each of which runs once."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def smooth(steps: int, seed: int) -> jax.Array:
    """Noise [steps, INPUTS] of unit deviation without its fast parts."""
    window = np.hanning(33) / np.linalg.norm(np.hanning(33))
    noise = np.random.default_rng(seed).normal(size=(steps + 32, INPUTS))
    return jnp.asarray(np.stack([np.convolve(c, window, "valid") for c in noise.T], axis=1))


def stacks() -> list[Any]:
    """Names of the units from the bottom up: in every run each unit once, in stacks of up to three
    of equal size, which is quick; marked slow each alone and with itself."""
    by_size: dict[int, list[str]] = {}
    for name, exhibit in GALLERY.items():
        by_size.setdefault(exhibit.positions, []).append(name)
    mixed = [(*names[i : i + 3],) for names in by_size.values() for i in range(0, len(names), 3)]
    pure = [(name,) * blocks for name in GALLERY for blocks in (1, 2)]
    return [pytest.param(names, id="-".join(names)) for names in mixed] + [
        pytest.param(names, id="-".join(names), marks=pytest.mark.long) for names in pure
    ]


def stack(names: tuple[str, ...], x: jax.Array, step: float = 0.2) -> HSSM:
    """A stack of units, every block's parameters its own, with statistics of x [T, INPUTS]."""
    units = [GALLERY[name](HIDDEN, jax.random.key(10 + i)) for i, name in enumerate(names)]
    model = HSSM(
        INPUTS, OUTPUTS, HIDDEN, GALLERY[names[0]].positions, len(names), unit=units, step=step,
        key=jax.random.key(len(names)),
    )  # fmt: skip
    return with_statistics(model, x[None])


@pytest.mark.parametrize("names", stacks())
def test_the_echo_equals_bptt(names: tuple[str, ...]) -> None:
    x = smooth(40, 0)
    model = stack(names, x)
    gradients = rhel_gradient(model, x, 1, EPSILON), bptt_gradient(model, x, 1)
    found, wanted = (eqx.filter(g, trainable(g)) for g in gradients)
    pairs = zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True)
    for (path, ours), exact in pairs:
        size = float(jnp.linalg.norm(exact))
        assert size > 0.0, jax.tree_util.keystr(path)
        error = float(jnp.linalg.norm(ours - exact)) / size
        assert error < TOLERANCE, jax.tree_util.keystr(path)


@jax.jit
def there_and_back(coefficients: StackCoefficients, x: jax.Array) -> tuple[States, States]:
    """States after every step, and after 40 steps, a flip and the way back."""

    def forward(states: States, at: jax.Array) -> tuple[States, States]:
        states, _ = parts.advance(coefficients, states, at)
        return states, states

    def backward(states: States, at: jax.Array) -> tuple[States, None]:
        return step_back(coefficients, states, at)[0], None

    _, seen = jax.lax.scan(forward, rest(coefficients), x)
    turned = tuple(flip(parts.State(state.q[39], state.p[39])) for state in seen)
    return seen, jax.lax.scan(backward, turned, x[:40], reverse=True)[0]


@pytest.mark.parametrize("names", stacks())
def test_it_retraces_its_way_and_stays_bounded(names: tuple[str, ...]) -> None:
    """40 steps there and back, and 2,000 in one direction."""
    x = smooth(2000, 1)
    seen, returned = there_and_back(stack(names, x).resolve(), x)
    for states, end in zip(seen, returned, strict=True):
        assert float(jnp.abs(states.q[39]).max()) > 1e-2
        np.testing.assert_allclose(end.q, 0.0, atol=1e-9)
        np.testing.assert_allclose(end.p, 0.0, atol=1e-9)
        assert bool(jnp.all(jnp.isfinite(states.p)))
        assert 0.5 < float(jnp.abs(states.q).max()) < 50.0


@pytest.mark.long
@pytest.mark.parametrize("step", [0.1, 0.3])
@pytest.mark.parametrize("name", GALLERY)
def test_it_stays_bounded_at_other_steps(name: str, step: float) -> None:
    """A tone near resonance with noise on it, which is harder on a unit than noise alone."""
    time = jnp.arange(2000)[:, None] * (0.1 + 0.05 * jnp.arange(INPUTS))
    x = jnp.sin(time) + 0.5 * jax.random.normal(jax.random.key(5), (2000, INPUTS))
    seen, _ = there_and_back(stack((name, name), x, step).resolve(), x)
    for states in seen:
        assert bool(jnp.all(jnp.isfinite(states.p)))
        assert float(jnp.abs(states.q).max()) < 50.0


# What an energy may be written with: primitives, and JAX's own functions by their call's name.
VOCABULARY = {
    "add", "sub", "mul", "div", "neg", "integer_pow", "sqrt", "exp", "log", "tanh", "logistic",
    "sin", "cos", "cosh", "abs", "max", "min", "select_n", "dot_general", "reduce_sum", "slice",
    "concatenate", "reshape", "squeeze", "broadcast_in_dim", "transpose",
    "softplus", "clip", "_where", "_roll_static",
}  # fmt: skip


def words(jaxpr: jex.Jaxpr) -> set[str]:
    """Names of all primitives, and of the functions that jaxpr calls by name."""
    found: set[str] = set()
    for eqn in jaxpr.eqns:
        found |= {eqn.primitive.name, str(eqn.params.get("name", eqn.primitive.name))}
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                found |= words(inner)
    return found


def test_the_gallery_shows_the_whole_vocabulary() -> None:
    shown: set[str] = set()
    powers: set[int] = set()
    for name, exhibit in GALLERY.items():
        unit = exhibit(HIDDEN, jax.random.key(0))
        q, u = jnp.zeros(exhibit.positions), jnp.zeros(HIDDEN)
        for closed in (jax.make_jaxpr(unit.potential)(q, u), jax.make_jaxpr(unit.kinetic)(q)):
            shown |= words(closed.jaxpr)
            assert closed.out_avals[0].shape == (), name
            powers |= {e.params["y"] for e in closed.jaxpr.eqns if "y" in e.params}
    assert VOCABULARY - shown == set()
    assert {2, 3, 4, 6} <= powers


def test_the_gallery_shows_every_kind_of_parameter() -> None:
    """Scalars, vectors and dense matrices, a tensor of rank 3, and one unit within another."""
    units = {name: exhibit(HIDDEN, jax.random.key(0)) for name, exhibit in GALLERY.items()}
    leaves = {name: jax.tree.leaves(unit) for name, unit in units.items()}
    assert {leaf.ndim for own in leaves.values() for leaf in own} == {0, 1, 2, 3}
    assert all(leaf.dtype == jnp.float64 for own in leaves.values() for leaf in own)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for own in leaves.values() for leaf in own)
    square = [n for n, own in leaves.items() if any(a.shape == (5, 5) for a in own[:-1])]
    assert {"pendulums", "rotors", "dense_mass"} <= set(square)
