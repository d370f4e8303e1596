"""Losses and gradients of a batch, as a program's integers give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.raw_gradients import raw_gradient
from echoloom.backends.run.excess import Kept, Overflowed, said
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.backends.run.watched import first_of
from echoloom.frontend.data.arrays import is_traced
from echoloom.frontend.data.samples import check_samples
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.flags import Flag
from echoloom.ir.host import FAILURES


@dataclass(frozen=True, eq=False)
class BatchGradient:
    """What a program makes of a batch, one entry a sequence: [n] each."""

    losses: Floats
    flags: Words  # Flag bits of forward sweep and echo
    coefficients: dict[str, Floats]  # gradients of the folded coefficients, [n, ...]
    program: CompiledProgram

    @property
    def overflowed(self) -> NDArray[np.bool_]:
        return self.flags & FAILURES != 0

    @property
    def saturated(self) -> NDArray[np.bool_]:
        return self.flags & Flag.SATURATED != 0

    def first(self, X: Floats, y: Any, wanted: Flag = FAILURES) -> Kept | None:
        """Of X with y, of which this was made, the first sequence's first word that raised what is
        `wanted`."""
        return first_of(self.program.artifact, X, y, self.flags, wanted)

    def mean(self) -> tuple[jax.Array, HSSM]:
        """Loss and gradient, in the model's own float type, over the sequences that did not
        overflow; zeros where none is left."""
        kept = ~self.overflowed
        count = max(1, int(kept.sum()))
        means = {n: g[kept].sum(0) / count for n, g in self.coefficients.items()}
        model = self.program.model
        raw = raw_gradient(self.program.folded, model, means)
        own = eqx.filter(model, eqx.is_inexact_array)
        gradient = jax.tree.map(lambda g, p: jnp.asarray(np.asarray(g), p.dtype), raw, own)
        value = self.losses[kept].sum() / count
        return jnp.asarray(value, model.encoder.weight.dtype), gradient


def batch_gradient(
    program: CompiledProgram, runner: JaxRunner, X: Floats, y: Any, size: int
) -> BatchGradient:
    """Losses and gradients of X [n, T, inputs] with y, as `program`'s integers give them.

    A batch shorter than `size` is filled up, for which nothing has to be compiled anew.
    """
    filled = np.minimum(np.arange(max(size, len(X))), len(X) - 1)
    result = runner.run(X[filled], y[filled], program.artifact.coefficients)
    flags = (result.forward_flags | result.echo_flags)[: len(X)]
    gradients = program.coefficient_gradients(result, X.shape[1])
    host = program.artifact.host
    return BatchGradient(
        host.objective.losses(host.decode(result.outputs[: len(X)]), y),
        flags,
        {name: value[: len(X)] for name, value in gradients.items()},
        program,
    )


def fixed_value_and_grad(
    program: CompiledProgram,
) -> Callable[[HSSM, Any, Any], tuple[jax.Array, HSSM]]:
    """(model, X, y) -> (mean loss, mean gradient) of a batch, by the program's integers.

    X [n, T, inputs], y [n] or targets [n, T', outputs]; the gradient is like `bptt_gradient`'s, on
    the raw parameters of `model`, whose weights are rounded to the program's formats.

    The function raises CoefficientRange or InputRange (ValueErrors) for what the formats cannot
    hold, and Overflowed where the fabric would have overflowed.
    """
    runner = JaxRunner(program.artifact)

    def value_and_grad(model: HSSM, X: Any, y: Any) -> tuple[jax.Array, HSSM]:
        X, y = checked_batch(model, X, y)
        found = batch_gradient(program.with_parameters(model), runner, X, y, len(X))
        lost = np.flatnonzero(found.overflowed)
        if len(lost):
            kept = found.first(X, y)
            raise Overflowed(
                f"the fabric would have overflowed on {len(lost)} of {len(X)} sequences "
                f"({', '.join(map(str, lost))}), so their numbers mean nothing: {said(kept)}; "
                "compile with samples that cover their range, or with more margin",
                kept,
            )
        return found.mean()

    return value_and_grad


def checked_batch(model: HSSM, X: Any, y: Any) -> tuple[Floats, NDArray[Any]]:
    """X and y as the integers' host takes them. ValueError for what does not fit the model."""
    if is_traced(model, X, y):
        raise ValueError(
            "gradient: the program's integers are counted on the host, which jit, vmap and grad do "
            "not wait for; call this function outside of them and jit the optimiser's update alone."
        )
    X, y = check_samples(model, X, y)
    return X.astype(np.float64), y if model.task == "classification" else y.astype(np.float64)
