"""The echo's gradient, of one sequence and of batches."""

from __future__ import annotations

import math
from typing import get_args

import equinox as eqx
import jax
import jax.numpy as jnp

from echoloom.frontend.data.arrays import real_number, shown, whole_number
from echoloom.frontend.data.samples import check_sequence
from echoloom.frontend.gradients.batch import Loss, ValueAndGradient, of_batches
from echoloom.frontend.gradients.rhel.objective import objective
from echoloom.frontend.gradients.rhel.sweep import Echoes, Plan, sweep
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM

CHUNK = 128


def rhel_value_and_grad(
    model: HSSM,
    loss: Loss | None = None,
    *,
    chunk: int = CHUNK,
    echoes: Echoes = "renormalised",
    epsilon: float | None = None,
) -> ValueAndGradient:
    """A function (model, X, y) -> (value, gradient) by Recurrent Hamiltonian Echo Learning.

    It does what `eqx.filter_value_and_grad` of the mean loss does, without keeping anything as
    long as the sequence but the sequence: X [B, T, inputs] with labels y [B], or with targets y
    [B, T // output_step, outputs], and X [T, inputs] with one label or targets. The gradient is a
    pytree like `bptt_gradient`'s. It can be jitted, mapped and sharded, and computes in the type of
    the model's arrays. The model given here says which stack; the one called with has the numbers.

    `loss` None is the model's own. Else it is loss(logits [outputs], label) for a classification,
    and for a regression loss(prediction [outputs], target [outputs]) of one emitted step, of which
    the mean over the emitted steps is taken: a loss of whole sequences would have to keep them.

    Time is cut into chunks of `chunk` steps: larger ones take more memory, and more of the time is
    spent in matrix products. `echoes` says how the two nudged copies are carried:

    - "renormalised": before every stage they are centred on the free copy again, and at every
      chunk's end their difference is scaled by a power of two to suit the state. This departs from
      the paper's text, and makes the nudge's size harmless, in float32 above all.
    - "fixed": the paper's text (arXiv 2506.05259), one nudge `epsilon` for the whole sweep;
      `choose_epsilon` picks it for every sequence if it is None.
    - "difference": the difference of the two is carried instead of them, in the limit of a small
      nudge, by the linearised step, and states are summed with compensation, which takes more
      time. It has no error of its own, and it is the adjoint method along the echo's way back
      rather than an echo.

    Raises ValueError, in one sentence, for a model that `check` refuses and for other arguments or
    shapes than these, and for labels that are none of the classes; where labels are traced, as
    under `jit`, value and gradient are NaN then, also with a `loss` of one's own.
    """
    check(model)
    chunk = whole_number("rhel_value_and_grad: chunk", chunk, least=1)
    if echoes not in get_args(Echoes):
        wanted = ", ".join(repr(name) for name in get_args(Echoes))
        raise ValueError(
            f"rhel_value_and_grad: echoes is {echoes!r}, but it must be one of {wanted}."
        )
    if epsilon is not None and echoes != "fixed":
        raise ValueError(
            f"rhel_value_and_grad: epsilon is {epsilon!r}, but only echoes='fixed' has one nudge "
            f"for a whole sweep; {echoes!r} finds its own."
        )
    size = None if epsilon is None else real_number(epsilon)
    if epsilon is not None and (size is None or not 0.0 < size < math.inf):
        raise ValueError(f"rhel_value_and_grad: epsilon is {shown(epsilon)}, but it must be > 0.")
    plan = Plan(chunk, echoes)
    return of_batches(model, lambda own, X, y: _learn(own, X, y, loss, plan, _nudge(own, size)))


def rhel_gradient(
    model: HSSM,
    x: jax.Array,
    label: jax.Array | int,
    epsilon: float | jax.Array | None = None,
) -> HSSM:
    """d loss / d raw parameters of one sequence x [T, inputs], label as in `loss.loss`.

    Returns a pytree like `bptt_gradient`'s. Beside x and the targets, memory does not grow with T.
    The nudge is the paper's, one for the whole sweep; `epsilon` None lets `choose_epsilon` pick it
    for this sequence. Raises ValueError for shapes that do not fit the model and a label that is
    none of its classes; where the label is traced, the gradient is NaN then.
    """
    x, label = check_sequence(model, x, label)
    plan = Plan(CHUNK, "fixed")
    return _learn(model, x[None], label[None], None, plan, _nudge(model, epsilon))[1]


def _nudge(model: HSSM, size: float | jax.Array | None) -> jax.Array | None:
    return None if size is None else jnp.asarray(size, model.encoder.weight.dtype)


@eqx.filter_jit
def _learn(
    model: HSSM,
    X: jax.Array,
    y: jax.Array,
    loss: Loss | None,
    plan: Plan,
    epsilon: jax.Array | None,
) -> tuple[jax.Array, HSSM]:
    """The mean loss and its gradient, of sequences X [B, T, inputs] and labels y [B, ...]."""
    coefficients = model.resolve()

    def one(x: jax.Array, label: jax.Array):
        weighs = plan.echoes == "fixed" and epsilon is None
        target = objective(model, loss, label, x.shape[0], weighs)
        found = sweep(coefficients, target, x, plan, epsilon)
        return found.value, found.gradient

    # Every sequence has sums of its own, so that devices that share a batch meet once, at the end.
    mean = jax.tree.map(lambda each: jnp.mean(each, axis=0), jax.vmap(one)(X, y))
    parameters, frozen = eqx.partition(model, eqx.is_inexact_array)
    _, back = jax.vjp(lambda own: eqx.combine(own, frozen).resolve(), parameters)
    return mean[0], back(mean[1])[0]
