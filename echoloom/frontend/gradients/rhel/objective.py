"""What is learned from: the loss of one sequence, as a value and as an error at every step.

A classification has one loss, of the head of the time mean, so its error is the same at every step.
A regression has a loss at every emitted step, and an error there.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend.gradients.batch import Loss
from echoloom.frontend.gradients.loss import cross_entropy, only_classes, squared_error
from echoloom.frontend.gradients.rhel import rows
from echoloom.frontend.gradients.rhel.over_time import total as over
from echoloom.frontend.models import parts
from echoloom.frontend.models.coefficients import Affine
from echoloom.frontend.models.hssm import HSSM


class Before(NamedTuple):
    """What is known of the loss once the forward sweep has ended, before the echo.

    The loss, its gradient by the head as far as it is known, the error [H] that every step has, and
    the errors' sizes [H] at the last block's output summed over time.
    """

    value: jax.Array
    in_head: Affine
    every: jax.Array
    weight: jax.Array


class Objective(Protocol):
    """The loss of one sequence, collected chunk by chunk from the last block's outputs h [K, H]."""

    def empty(self, head: Affine) -> Any:
        """What is collected before the first chunk."""
        ...

    def collect(self, head: Affine, total: Any, h: jax.Array, start: jax.Array | int) -> Any:
        """`total` with a chunk's h, whose first step is `start`."""
        ...

    def value(self, head: Affine, total: Any) -> jax.Array:
        """The loss -> scalar."""
        ...

    def before_echo(self, head: Affine, total: Any) -> Before:
        """What is known before the echo."""
        ...

    def error(
        self, head: Affine, every: jax.Array, h: jax.Array, start: jax.Array | int
    ) -> tuple[Affine, jax.Array]:
        """A chunk's gradient by the head, and the loss gradient [K, H] at its outputs h."""
        ...


class Classified(eqx.Module):
    """A loss of head(mean over time of h)."""

    label: jax.Array
    steps: int = eqx.field(static=True)
    loss: Loss = eqx.field(static=True)

    def empty(self, head: Affine) -> jax.Array:
        """The sum [H] of no outputs."""
        return jnp.zeros_like(head.weight[0])

    def collect(
        self, head: Affine, total: jax.Array, h: jax.Array, start: jax.Array | int
    ) -> jax.Array:
        """The sum [H] of the outputs so far."""
        return total + over(h)

    def value(self, head: Affine, total: jax.Array) -> jax.Array:
        """The loss -> scalar."""
        return self.loss(parts.head(head, total / self.steps), self.label)

    def before_echo(self, head: Affine, total: jax.Array) -> Before:
        """The loss, all of the head's gradient, and the error of every step."""
        value, (in_head, every) = jax.value_and_grad(self.value, argnums=(0, 1))(head, total)
        return Before(value, in_head, every, self.steps * jnp.abs(every))

    def error(
        self, head: Affine, every: jax.Array, h: jax.Array, start: jax.Array | int
    ) -> tuple[Affine, jax.Array]:
        """Nothing new for the head, and the same error at every step."""
        return jax.tree.map(jnp.zeros_like, head), jnp.broadcast_to(every, h.shape)


class Emitted(eqx.Module):
    """The mean over steps s - 1, 2 s - 1, ... of a loss of tanh(head(h)).

    `weighs`: whether `Before.weight` is wanted, which costs a pull-back through the head.
    """

    targets: jax.Array  # [T // s, outputs]
    every: int = eqx.field(static=True)
    loss: Loss = eqx.field(static=True)
    weighs: bool = eqx.field(static=True)

    def empty(self, head: Affine) -> tuple[jax.Array, jax.Array]:
        """The sum of no losses, and of no errors' sizes [H]."""
        zero = jnp.zeros_like(head.weight[0])
        return zero[0], zero

    def collect(
        self,
        head: Affine,
        total: tuple[jax.Array, jax.Array],
        h: jax.Array,
        start: jax.Array | int,
    ) -> tuple[jax.Array, jax.Array]:
        """The sum of the losses so far, and of the errors' sizes [H]."""
        emits, targets = self._due(start, h)
        losses = jax.vmap(self.loss)(_predict(head, h), targets)
        weight = total[1]
        if self.weighs:
            weight += over(jnp.abs(self.error(head, weight, h, start)[1]))
        return total[0] + jnp.sum(jnp.where(emits, losses, 0.0)), weight

    def value(self, head: Affine, total: tuple[jax.Array, jax.Array]) -> jax.Array:
        """The mean loss -> scalar."""
        return total[0] / self.targets.shape[0]

    def before_echo(self, head: Affine, total: tuple[jax.Array, jax.Array]) -> Before:
        """The mean loss; everything else is found step by step."""
        silent = jax.tree.map(jnp.zeros_like, head)
        return Before(self.value(head, total), silent, jnp.zeros_like(head.weight[0]), total[1])

    def error(
        self, head: Affine, every: jax.Array, h: jax.Array, start: jax.Array | int
    ) -> tuple[Affine, jax.Array]:
        """The chunk's gradients; a step that emits nothing has none, whatever the loss says."""
        emits, targets = self._due(start, h)
        predictions, back = jax.vjp(_predict, head, h)
        slopes = jax.vmap(jax.grad(self.loss))(predictions, targets) / self.targets.shape[0]
        return back(jnp.where(emits[:, None], slopes, 0.0))

    def _due(self, start: jax.Array | int, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Which steps [K] of the chunk emit, and the targets [K, outputs] of those that do."""
        after = start + 1 + jnp.arange(h.shape[0])
        which = jnp.clip(after // self.every - 1, 0, self.targets.shape[0] - 1)
        return after % self.every == 0, self.targets[which].astype(h.dtype)


def objective(
    model: HSSM, loss: Loss | None, label: jax.Array, steps: int, weighs: bool = False
) -> Objective:
    """The model's own objective for one sequence of T steps, or one with `loss`."""
    if model.task == "classification":
        own = cross_entropy if loss is None else only_classes(loss)
        return Classified(label, steps, own)
    return Emitted(label, model.output_step, loss or squared_error, weighs)


def _predict(head: Affine, h: jax.Array) -> jax.Array:
    """h [K, H] -> predictions [K, outputs]."""
    return jnp.tanh(rows.affine(head, h))
