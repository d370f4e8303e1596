"""Trained models and test sequences whose gradients `quality.py` judges, and exact gradients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import echoloom as el
from echoloom.cli.data import load_data
from echoloom.frontend.energy.jaxpr import path_name
from echoloom.frontend.gradients.loss import cross_entropy
from echoloom.frontend.models import parts
from echoloom.frontend.models.checkpoint import load_model
from echoloom.frontend.models.coefficients import StackCoefficients
from echoloom.frontend.models.hssm import run, trainable, with_statistics
from echoloom.frontend.models.stack import float64
from echoloom.frontend.training.train import train

CHECKPOINT = Path(__file__).parents[1] / "examples" / "basic_motions.eqx"
Tensors = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Case:
    """A trained model, the samples that calibrate it and those that judge it."""

    name: str
    model: el.HSSM
    calibration: np.ndarray  # [n, T, inputs]
    xs: np.ndarray  # [m, T, inputs]
    labels: np.ndarray  # [m]; targets [m, T', outputs] of a regression
    accuracy: float  # of the floats, on the whole test split
    targets: np.ndarray | None = None  # [n, T', outputs] of the calibration, of a regression


def basic_motions(count: int) -> Case:
    """The demo's model."""
    data = load_data("BasicMotions", normalise=True)
    assert data.X_test is not None and data.y_test is not None
    model = load_model(CHECKPOINT)
    return _case("BasicMotions", model, data.X, data.X_test, data.y_test, count)


def uea(folder: Path, name: str, count: int, epochs: int) -> Case:
    """A model of the paper's size after a few epochs, which suffice for a gradient to be wanted."""
    with np.load(folder / name / f"{name}.npz", allow_pickle=False) as stored:
        X, X_test = (stored[f"X_{part}"] / stored["div"] for part in ("train", "test"))
        y, y_test = stored["y_train"].astype(np.int64), stored["y_test"].astype(np.int64)
    mean, deviation = X.mean(axis=(0, 1)), X.std(axis=(0, 1))
    X, X_test = (X - mean) / deviation, (X_test - mean) / deviation
    classes = int(y.max()) + 1
    model = el.HSSM(X.shape[2], classes, hidden=64, state=16, blocks=2, key=jax.random.key(0))
    model = with_statistics(model, jnp.asarray(X[:64], model.encoder.weight.dtype))
    model = train(model, X, y, epochs=epochs, learning_rate=3e-3, batch=20, progress=True)
    return _case(name, model, X[:: max(1, len(X) // 24)], X_test, y_test, count)


def _case(
    name: str, model: el.HSSM, X: np.ndarray, X_test: np.ndarray, y_test: np.ndarray, count: int
) -> Case:
    logits = np.asarray(jax.vmap(model)(jnp.asarray(X_test, model.encoder.weight.dtype)))
    accuracy = float(np.mean(logits.argmax(1) == y_test))
    index = np.linspace(0, len(X_test) - 1, count).astype(int)
    return Case(name, model, X, X_test[index], logits[index].argmin(1), accuracy)


def tensors(gradient: el.HSSM) -> Tensors:
    """What is learned of a gradient, by its names, flat."""
    learned = eqx.filter(gradient, trainable(gradient))
    leaves = jax.tree_util.tree_flatten_with_path(learned)[0]
    return {path_name(path): np.ravel(np.asarray(leaf, np.float64)) for path, leaf in leaves}


def exact_gradients(case: Case, program: el.CompiledProgram | None = None) -> list[Tensors]:
    """float64 backpropagation of every sequence of `case`.

    With a program, of the same model whose coefficients are rounded to that program's words.
    """
    with jax.enable_x64(True):
        model = float64(case.model)
        coefficients = model.resolve()
        if program is not None:
            coefficients = jax.tree_util.tree_map_with_path(
                lambda path, _: jnp.asarray(program.coefficient(_program_name(path))), coefficients
            )
        own, frozen = eqx.partition(model, trainable(model))
        pull = jax.vjp(lambda raw: eqx.combine(raw, frozen).resolve(), own)[1]
        return [
            tensors(pull(_gradient(coefficients, jnp.asarray(x), jnp.asarray(label)))[0])
            for x, label in zip(case.xs, case.labels, strict=True)
        ]


def _program_name(path: tuple[Any, ...]) -> str:
    name = path_name(path)
    return name.replace("blocks.", "b", 1) if name.startswith("blocks.") else name


@eqx.filter_jit
def _gradient(coefficients: StackCoefficients, x: jax.Array, label: jax.Array) -> StackCoefficients:
    def loss(own: StackCoefficients) -> jax.Array:
        return cross_entropy(parts.head(own.head, jnp.mean(run(own, x), axis=0)), label)

    return jax.grad(loss)(coefficients)
