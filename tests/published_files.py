"""Small files as the published RHEL code writes them, and what its models compute, in NumPy."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HIDDEN, STATE, INPUTS, OUTPUTS, BLOCKS = 4, 3, 2, 3, 2
# Real checkpoints with reference outputs; they are not part of the repository.
PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "published"
NO_DATA = "needs the published checkpoints in ../shared/data/published"


@dataclass
class PublishedFile:
    """Arrays by path in the order of the file, and the JSON beside it."""

    arrays: dict[str, np.ndarray]
    configuration: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        for array in self.arrays.values():
            np.save(buffer, array)
        return buffer.getvalue()

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Writes m.eqx and m.json."""
        checkpoint, configuration = folder / "m.eqx", folder / "m.json"
        checkpoint.write_bytes(self.to_bytes())
        configuration.write_text(json.dumps(self.configuration))
        return checkpoint, configuration

    def end_of(self, name: str) -> int:
        """The number of bytes up to the end of the array `name`."""
        kept = list(self.arrays)[: list(self.arrays).index(name) + 1]
        return len(PublishedFile({path: self.arrays[path] for path in kept}).to_bytes())


def published_file(
    model: str = "LinHRU",
    complex: bool = True,
    classification: bool = True,
    output_step: int = 1,
    step: float = 0.3,
    epsilon: float | None = 0.1,
) -> PublishedFile:
    """A random model; `step` is the nonlinear one's."""
    rng = np.random.default_rng(5)
    arrays: dict[str, np.ndarray] = {}

    def real(name: str, *shape: int, low: float = -0.5, high: float = 0.5) -> None:
        arrays[name] = rng.uniform(low, high, shape).astype(np.float32)

    def linear(name: str, outputs: int, inputs: int) -> None:
        real(f"{name}.weight", outputs, inputs)
        real(f"{name}.bias", outputs)

    linear("linear_encoder", HIDDEN, INPUTS)
    for block in (f"blocks[{k}]" for k in range(BLOCKS)):
        arrays[f"{block}.norm.ema_first_time_index.init"] = np.asarray(True)
        for k in range(2):
            arrays[f"{block}.norm.ema_state_index.init[{k}]"] = np.zeros(HIDDEN, np.float32)
        arrays[f"{block}.norm.inference"] = np.asarray(False)
        if model == "LinHRU":
            real(f"{block}.ssm.A_diag", STATE, low=-0.2)
            real(f"{block}.ssm.B", STATE, HIDDEN, 2)
            real(f"{block}.ssm.C", HIDDEN, STATE, 2)
            real(f"{block}.ssm.D", HIDDEN)
            real(f"{block}.ssm.steps", STATE)
        else:
            real(f"{block}.ssm.W_diag", STATE, low=0.5, high=1.0)
            real(f"{block}.ssm.B", STATE, HIDDEN)
            real(f"{block}.ssm.C", HIDDEN, STATE)
            real(f"{block}.ssm.D", HIDDEN)
            real(f"{block}.ssm.b", STATE)
            real(f"{block}.ssm.c", STATE)
            real(f"{block}.ssm.alpha", 1, low=0.1, high=1.0)
            arrays[f"{block}.ssm.step"] = np.asarray([step], np.float32)
        if epsilon is not None:
            arrays[f"{block}.ssm.epsilon"] = np.asarray(epsilon)
        if model == "LinHRU":
            arrays[f"{block}.ssm.complex_ssm"] = np.asarray(complex)
            arrays[f"{block}.ssm.train_steps"] = np.asarray(True)
        linear(f"{block}.glu.w1", HIDDEN, HIDDEN)
        linear(f"{block}.glu.w2", HIDDEN, HIDDEN)
        arrays[f"{block}.drop.p"] = np.asarray(0.05)
        arrays[f"{block}.drop.inference"] = np.asarray(False)
    linear("linear_layer", OUTPUTS, HIDDEN)
    arrays["classification"] = np.asarray(classification)
    arrays["output_step"] = np.asarray(output_step)
    for k in range(BLOCKS):
        arrays[f"state.blocks[{k}].norm.first_time"] = np.asarray(False)
        real(f"state.blocks[{k}].norm.mean", HIDDEN)
        real(f"state.blocks[{k}].norm.variance", HIDDEN, low=0.05, high=1.0)
    return PublishedFile(
        arrays,
        {
            "model": model,
            "num_blocks": BLOCKS,
            "hidden_dim": HIDDEN,
            "ssm_dim": STATE,
            "data_dim": INPUTS,
            "label_dim": OUTPUTS,
            "complex_ssm": complex if model == "LinHRU" else None,
            "classification": classification,
            "epsilon": epsilon,
            "dataset_name": "none",
        },
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def published_output(file: PublishedFile, x: np.ndarray) -> np.ndarray:
    """What the published model gives in inference for x [T, INPUTS]: probabilities [OUTPUTS], or
    predictions [T // output_step, OUTPUTS].
    """
    arrays = {name: array.astype(array.dtype if array.dtype.kind == "b" else np.float64)
              for name, array in file.arrays.items()}  # fmt: skip

    def affine(name: str, x: np.ndarray) -> np.ndarray:
        return x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]

    h = affine("linear_encoder", x)
    for block in (f"blocks[{k}]" for k in range(BLOCKS)):
        mean, variance = (arrays[f"state.{block}.norm.{name}"] for name in ("mean", "variance"))
        u = (h - mean) / np.sqrt(variance + 1e-5)
        unit = {
            name.removeprefix(f"{block}.ssm."): array
            for name, array in arrays.items()
            if name.startswith(f"{block}.ssm.")
        }
        y = (_linear_unit if "A_diag" in unit else _nonlinear_unit)(unit, u) + unit["D"] * u
        a = 0.5 * y * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (y + 0.044715 * y**3)))
        h = h + affine(f"{block}.glu.w1", a) * sigmoid(affine(f"{block}.glu.w2", a))
    if arrays["classification"]:
        e = np.exp(affine("linear_layer", h.mean(axis=0)))
        return e / e.sum()
    every = int(arrays["output_step"])
    return np.tanh(affine("linear_layer", h[every - 1 :: every]))


def _linear_unit(unit: dict[str, np.ndarray], u: np.ndarray) -> np.ndarray:
    parts = (1.0, 1.0j) if unit["complex_ssm"] else (1.0, 0.0)
    A, h = np.maximum(unit["A_diag"], 0.0), sigmoid(unit["steps"])
    B, C = unit["B"] @ parts, unit["C"] @ parts
    q = p = np.zeros(STATE)
    outputs = []
    for drive in u @ B.T:
        half = q + 0.5 * h * p
        p = p - h * (A * half - drive)
        q = half + 0.5 * h * p
        outputs.append((C @ q).real)
    return np.stack(outputs)


def _nonlinear_unit(unit: dict[str, np.ndarray], u: np.ndarray) -> np.ndarray:
    gain, h = sigmoid(sigmoid(unit["c"])), unit["step"]
    q = p = np.zeros(STATE)
    outputs = []
    for drive in u @ unit["B"].T:
        # The force at q, not at the half step.
        force = unit["alpha"] * q + gain * np.tanh(unit["W_diag"] * q + drive + unit["b"])
        half = q + 0.5 * h * p
        p = p - h * force
        q = half + 0.5 * h * p
        outputs.append(unit["C"] @ q)
    return np.stack(outputs)
