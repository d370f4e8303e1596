"""A whole stack from raw parameters, in NumPy, around a unit that a test writes itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from echoloom.frontend.models.hssm import HSSM, Block


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def forward(
    model: HSSM,
    x: Any,
    activation: Callable[[np.ndarray], np.ndarray],
    readouts: Callable[[Block, Any, np.ndarray], list[np.ndarray]],
) -> np.ndarray:
    """x [T, inputs] -> [T, H]. `readouts` runs a block's unit, whose arrays are NumPy's, over
    drives [T, H]: C q after each."""
    h = np.asarray(x) @ np.asarray(model.encoder.weight).T + np.asarray(model.encoder.bias)
    for block in model.blocks:
        norm, unit = jax.tree.map(np.asarray, (block.norm, block.unit))
        u = (h - norm.mean) / np.sqrt(norm.variance + norm.eps) * norm.scale + norm.shift
        a = activation(np.array(readouts(block, unit, u)) + np.asarray(block.feedthrough) * u)
        value, gate = (a @ np.asarray(w.weight).T + np.asarray(w.bias)
                       for w in (block.value, block.gate))  # fmt: skip
        h = h + value * sigmoid(gate)
    return h
