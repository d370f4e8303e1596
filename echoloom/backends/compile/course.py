"""A training in floats by the rule that a board is going to follow: what its formats have to hold.

The board has no way to choose its formats anew while its weights move. So the same course is run
beforehand, in real numbers, on the samples that the program is compiled with; snapshots of the
weights along it are what signals are calibrated at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.run.integers import Floats
from echoloom.frontend.energy.jaxpr import path_name
from echoloom.frontend.gradients.loss import cross_entropy, squared_error
from echoloom.frontend.models import parts
from echoloom.frontend.models.coefficients import StackCoefficients
from echoloom.frontend.models.hssm import HSSM, rest
from echoloom.frontend.models.stack import Folding, canonical, float64
from echoloom.ir.learning import Learning, ScaledUpdate, SignUpdate, batch_order

SNAPSHOTS = 6  # beside the beginning
MOMENTUM = 7.0 / 8.0
Weights = dict[str, Any]  # by name


class NoCourse(ValueError):
    """A training that leaves the real numbers: there are no formats for it."""


@dataclass(frozen=True, eq=False)
class Course:
    """A training by labels [n] or targets: the values of all coefficients at some of its updates,
    the first and the last among them; and of the coefficients that learn the largest magnitude of
    every element, and the loss of every update's batch [updates]."""

    learning: Learning
    snapshots: Mapping[int, Mapping[str, Floats]]
    largest: Mapping[str, Floats]
    losses: Floats
    labels: Any

    @property
    def ends(self) -> tuple[Mapping[str, Floats], Mapping[str, Floats]]:
        """The first snapshot and the last."""
        first, *_, last = self.snapshots.values()
        return first, last

    def __str__(self) -> str:
        lines = [str(self.learning)]
        lines += [f"{n}: up to {np.max(v):.6g}" for n, v in self.largest.items()]
        shown = (f"update {u}: loss {self.losses[min(u, len(self.losses) - 1)]:.6g}"
                 for u in self.snapshots)  # fmt: skip
        return "\n".join([*lines, *shown]) + "\n"


def trained(
    model: HSSM,
    folding: Folding,
    learning: Learning,
    samples: Floats,
    labels: Any,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Course:
    """The course of training of `model` on samples [n, T, inputs] by their labels [n] or targets.
    `progress` is told how many updates are made, and of how many.

    NoCourse says at which update a weight stops being a number.
    """
    rule = learning.rule
    values = folding.values(model)
    names = tuple(t.name for t in learning.tensors)
    kept = sorted({round(rule.updates * k / SNAPSHOTS) for k in range(SNAPSHOTS + 1)})
    with jax.enable_x64(True):
        step = _stepper(model, folding, learning)
        weights = {n: jnp.asarray(values[n]) for n in names}
        memory = {n: jnp.zeros_like(w) for n, w in weights.items()}
        largest = {n: np.abs(values[n]) for n in names}
        snapshots, losses = {0: values}, list[float]()
        order = batch_order(len(samples), rule.batch, rule.updates)
        for update, batch in enumerate(order):
            size = rule.step * 2.0 ** -rule.halvings(update)
            weights, memory, loss = step(weights, memory, size, samples[batch], labels[batch])
            held = {n: np.asarray(w) for n, w in weights.items()}
            if not all(np.isfinite(w).all() for w in held.values()):
                raise NoCourse(
                    f"the training runs away at update {update + 1} of {rule.updates}: use a "
                    "smaller step, or let fewer coefficients learn"
                )
            largest = {n: np.maximum(largest[n], np.abs(w)) for n, w in held.items()}
            losses.append(float(loss))
            progress(update + 1, rule.updates)
            if update + 1 in kept:
                snapshots[update + 1] = {**values, **held}
    return Course(learning, snapshots, largest, np.asarray(losses), labels)


def _stepper(model: HSSM, folding: Folding, learning: Learning) -> Callable[..., Any]:
    """(weights, memory, step, samples, labels) -> the three after an update, and the loss."""
    resolved = canonical(float64(model.resolve()), folding.plans)
    moved = partial(_moved, learning)

    @jax.jit
    def step(weights: Weights, memory: Weights, size: Any, X: Any, y: Any) -> Any:
        def mean(own: Weights) -> jax.Array:
            stack = _with(resolved, own)
            return jnp.mean(jax.vmap(lambda x, label: _loss(model, stack, x, label))(X, y))

        loss, gradients = jax.value_and_grad(mean)(weights)
        return *moved(weights, memory, gradients, size), loss

    return step


def _moved(
    learning: Learning, weights: Weights, memory: Weights, gradients: Weights, size: Any
) -> tuple[Weights, Weights]:
    rule = learning.rule
    found: Weights = {}
    for tensor in learning.tensors:
        name = tensor.name
        if isinstance(rule, SignUpdate) and rule.momentum:
            memory = {**memory, name: MOMENTUM * memory[name] + gradients[name]}
            along = jnp.sign(memory[name])
        elif isinstance(rule, ScaledUpdate):
            peak = jnp.max(jnp.abs(gradients[name]))
            _, exponent = jnp.frexp(peak)
            along = jnp.where(peak > 0.0, jnp.ldexp(gradients[name], -exponent), 0.0)
        else:
            along = jnp.sign(gradients[name])
        new = weights[name] - size * along
        found[name] = jnp.maximum(new, 0.0) if tensor.positive else new
    return found, memory


def _with(resolved: StackCoefficients, weights: Weights) -> StackCoefficients:
    """The coefficients with these in the place of their own, by their names in the program."""

    def part(name: str, tree: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: weights.get(f"{name}.{path_name(path)}", leaf), tree
        )

    return replace(
        resolved,
        encoder=part("encoder", resolved.encoder),
        blocks=tuple(part(f"b{i}", block) for i, block in enumerate(resolved.blocks)),
        head=part("head", resolved.head),
    )


def _loss(model: HSSM, stack: StackCoefficients, x: Any, label: Any) -> jax.Array:
    # Steps are made again on the way back: of a long sequence memory holds the states alone.
    step = jax.checkpoint(partial(parts.advance, stack), prevent_cse=False)
    _, features = jax.lax.scan(step, rest(stack), x)
    if model.task == "classification":
        return cross_entropy(parts.head(stack.head, jnp.mean(features, axis=0)), label)
    emitted = features[model.output_step - 1 :: model.output_step]
    return squared_error(jnp.tanh(jax.vmap(lambda h: parts.head(stack.head, h))(emitted)), label)
