"""Where a trainer's gradients come from: autodiff, echoes in floats, or the fabric's numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import equinox as eqx
import jax

from echoloom.frontend.gradients.batch import ValueAndGradient
from echoloom.frontend.models.hssm import HSSM


@dataclass(frozen=True)
class StepGradient:
    """What one batch gave.

    value: the mean loss of the batch, a scalar. gradient: a pytree like `bptt_gradient`'s, the mean
    over the batch, of which nothing is used but what is `trainable`; the rest may be None.
    overflows: sequences of this batch on which the fabric would have raised its overflow flag;
    their gradients are left out of the mean. notes: events of one line each.
    """

    value: jax.Array
    gradient: HSSM
    overflows: int = 0
    notes: tuple[str, ...] = ()


class GradientSource(Protocol):
    """Where a trainer's gradients come from."""

    def __call__(self, model: HSSM, X: jax.Array, y: jax.Array) -> StepGradient:
        """Of the batch X [B, T, inputs] with y [B] or [B, T // output_step, outputs]."""
        ...

    def state(self) -> bytes:
        """Whatever must be kept so that a resumed run goes on bit for bit; b"" for nothing."""
        ...

    def restore(self, state: bytes) -> None:
        """Go on as the source that gave `state`. Raises ValueError for bytes of another kind."""
        ...


def float_source(function: ValueAndGradient) -> GradientSource:
    """A source without memory: the compiled `function`, which takes a model, X and y."""
    return _Floats(eqx.filter_jit(function))


@dataclass(frozen=True)
class _Floats:
    function: Callable[..., Any]

    def __call__(self, model: HSSM, X: jax.Array, y: jax.Array) -> StepGradient:
        value, gradient = self.function(model, X, y)
        return StepGradient(value, gradient)

    def state(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        if state:
            raise ValueError(
                "the saved state belongs to a gradient source with a memory, but this one has none."
            )
