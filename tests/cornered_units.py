"""Units whose energies have corners where every sequence begins: at q = 0, or at u = 0."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import echoloom as el
from echoloom.frontend.energy.vocabulary import relu as word_relu

# Functions of one position with a corner at 0, as people write them.
AT_ZERO: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "word": word_relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "maximum": lambda x: jnp.maximum(x, 0.0),
    "minimum": lambda x: jnp.minimum(0.0, x),
    "abs": jnp.abs,
    "clip": lambda x: jnp.clip(x, 0.0, 1.0),
    "clamp": lambda x: jax.lax.clamp(-1.0, x, 0.0),
    "sign": lambda x: x * jnp.sign(x),
    "above": lambda x: jnp.where(x > 0.0, x, 0.3 * x),
    "not below": lambda x: jnp.where(x >= 0.0, x, 0.3 * x),
    "soft threshold": lambda x: jnp.maximum(jnp.abs(x) - 0.1, 0.0) * jnp.sign(x),
    "between": lambda x: jnp.where((x > -0.5) & ~(x > 0.0), x, 0.0),
}
CHOSEN = ("relu", "maximum", "minimum", "abs", "clip", "sign", "above")


class Corners(el.Hamiltonian):
    """One position for each of CHOSEN, and two neighbours that are equal at rest.

    V = sum(q^2 / 2) + sum(k f(q)) + k' max(q', 2 q'') - q . W u; with `silent` corners in u[0] too.
    """

    k: jax.Array  # [8]
    W: jax.Array  # [9, H]
    silent: bool = eqx.field(static=True)

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        """V(q [9], u [H]) -> scalar."""
        bent = [AT_ZERO[name](q[i]) for i, name in enumerate(CHOSEN)]
        bent.append(jnp.maximum(q[-2], 2.0 * q[-1]))
        energy = 0.5 * jnp.sum(q**2) + self.k @ jnp.stack(bent) - q @ (self.W @ u)
        if self.silent:
            in_u = jnp.maximum(u[0], 0.0) + jnp.abs(u[0]) + jax.nn.relu(u[0])
            energy = energy - jnp.sum(q) * (in_u + jnp.minimum(u[0], u[0] + jnp.abs(u[0])))
        return energy


POSITIONS = len(CHOSEN) + 2


def cornered(
    rests: int = 0, silent: bool = False, steps: int = 12, **options: object
) -> tuple[el.HSSM, np.ndarray]:
    """A model of one block of `Corners`, and sequences [3, steps, 2] that stay at rest for `rests`
    steps; `silent` channels do so for ever."""
    k = jnp.linspace(0.2, 0.5, POSITIONS - 1)
    unit = Corners(k, 0.5 * jax.random.normal(jax.random.key(3), (POSITIONS, 4)), silent)
    model = el.HSSM(
        2, 2, 4, POSITIONS, 1, unit=unit, step=0.3, key=jax.random.key(0),
        **options,  # type: ignore[arg-type]
    )  # fmt: skip
    if rests:
        model = eqx.tree_at(lambda m: m.encoder.bias, model, replace_fn=jnp.zeros_like)
    if silent:
        model = eqx.tree_at(
            lambda m: (m.encoder.weight, m.encoder.bias),
            model,
            replace_fn=lambda leaf: leaf.at[0].set(0.0),
        )
    x = np.random.default_rng(0).normal(size=(3, steps, 2))
    x[:, :rests] = 0.0
    return model, x
