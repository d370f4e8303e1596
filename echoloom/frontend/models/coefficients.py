"""What the fabric holds: an HSSM's numbers after everything foldable has been folded.

Raw, trainable parameters live in `hssm.py` and pass through relu, sigmoid and norm folding once,
in `HSSM.resolve()`. The time step (`parts.py`), the tracer and both gradients see only these. All
leaves are real floating-point arrays; H is the stack's width, m the positions of one unit.
"""

from __future__ import annotations

import equinox as eqx
import jax

from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.ir.scheme import Integrator


class Affine(eqx.Module):
    """x -> weight @ x + bias: weight [out, in], bias [out]."""

    weight: jax.Array
    bias: jax.Array


class BlockCoefficients(eqx.Module):
    """One block: folded norm, unit, readout and gated linear unit."""

    scale: jax.Array  # [H], the norm's scale with the statistics folded in
    shift: jax.Array  # [H]
    unit: Hamiltonian
    step: jax.Array  # [m], h > 0
    readout: jax.Array  # [H, m]
    feedthrough: jax.Array  # [H]
    value: Affine  # [H, H]
    gate: Affine  # [H, H]
    integrator: Integrator = eqx.field(static=True, default="leapfrog")
    substeps: int = eqx.field(static=True, default=1)  # steps that each sample makes
    activation: str = eqx.field(static=True, default="gelu")  # a word of the vocabulary


class StackCoefficients(eqx.Module):
    """A whole stack: encoder [H, inputs], blocks from the bottom up, head [outputs, H]."""

    encoder: Affine
    blocks: tuple[BlockCoefficients, ...]
    head: Affine
