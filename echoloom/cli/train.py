"""`echoloom train`: from samples to a checkpoint, on the host."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import typer

from echoloom.cli.data import Data, load_data
from echoloom.cli.options import Json, Normalise, Source
from echoloom.cli.outcome import check_destination, command
from echoloom.frontend.data import check_samples
from echoloom.frontend.hssm import HSSM, with_statistics
from echoloom.frontend.train import save_model
from echoloom.frontend.train import train as fit


class Task(enum.Enum):
    """--task."""

    auto = "auto"
    classification = "classification"
    regression = "regression"


class Unit(enum.Enum):
    """--unit."""

    linear = "linear"
    nonlinear = "nonlinear"


class Integrator(enum.Enum):
    """--integrator."""

    leapfrog = "leapfrog"
    imex = "imex"


class Activation(enum.Enum):
    """--activation."""

    gelu = "gelu"
    gelu_tanh = "gelu_tanh"


def train(
    source: Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="CHECKPOINT", help="The file to write.")
    ],
    hidden: Annotated[int, typer.Option(help="Width H of the stack.")] = 16,
    state: Annotated[int, typer.Option(help="Oscillators in a block.")] = 8,
    blocks: Annotated[int, typer.Option(help="Blocks in the stack.")] = 2,
    unit: Annotated[Unit, typer.Option(help="What a block's oscillators are.")] = Unit.linear,
    complex: Annotated[
        bool,
        typer.Option(
            "--complex/--real", help="Linear units: complex B and C, two copies of oscillators."
        ),
    ] = True,
    task: Annotated[
        Task, typer.Option(help="auto: classification if the labels are whole numbers [n].")
    ] = Task.auto,
    output_step: Annotated[
        int, typer.Option(help="Regression: one output every so many steps.")
    ] = 1,
    step: Annotated[
        float | None,
        typer.Option(help="Initial step of every oscillator, 0 to 1; 0.5 to 0.73 if not given."),
    ] = None,
    substeps: Annotated[int, typer.Option(help="Steps that every sample makes.")] = 1,
    integrator: Annotated[
        Integrator, typer.Option(help="leapfrog, or imex: symplectic Euler.")
    ] = Integrator.leapfrog,
    activation: Annotated[
        Activation, typer.Option(help="The exact GELU, or its tanh form.")
    ] = Activation.gelu,
    epochs: Annotated[int, typer.Option(help="Passes over the training split.")] = 60,
    lr: Annotated[float, typer.Option(help="Adam's learning rate.")] = 3e-3,
    batch: Annotated[int, typer.Option(help="Sequences in a batch.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the parameters and of the order of samples.")] = 0,
    normalise: Normalise = True,
    as_json: Json = False,
) -> None:
    """Train an HSSM by gradients through time and write a checkpoint.

    Example: echoloom train BasicMotions -o motions.eqx
    """
    with command("train", as_json) as say:
        check_destination(output)
        data = load_data(source, normalise)
        if data.y is None:
            raise ValueError(f"{source}: it holds no array y; training needs labels or targets.")
        classify = _classifies(task, data.y)
        model = HSSM(
            inputs=data.X.shape[2],
            outputs=_outputs(data.y, classify),
            hidden=hidden,
            state=state,
            blocks=blocks,
            unit=unit.value,
            complex=complex,
            task="classification" if classify else "regression",
            output_step=output_step,
            step=step,
            substeps=substeps,
            integrator=integrator.value,
            activation=activation.value,
            key=jax.random.key(seed),
        )
        check_samples(model, data.X, data.y)
        if data.X_test is not None and data.y_test is not None:
            check_samples(model, data.X_test, data.y_test)
        model = with_statistics(model, jnp.asarray(data.X, model.encoder.weight.dtype))
        model = fit(
            model, data.X, data.y, epochs=epochs, learning_rate=lr, batch=batch, seed=seed,
            progress=True,
        )  # fmt: skip
        scores = _scores(model, data)
        save_model(output, model)
        say.result |= {
            "checkpoint": str(output),
            "task": model.task,
            "classes": list(data.classes),
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(model)),
            "normalised": None if data.mean is None or data.scale is None else {
                "mean": data.mean.tolist(), "scale": data.scale.tolist(),
            },
            **scores,
        }  # fmt: skip
        for name, value in scores.items():
            text = f"{value:.1%}" if classify else f"{value:.6g}"
            say.show(f"{name.replace('_', ' ')}: {text}")
        say.show(f"wrote {output}")


def _classifies(task: Task, y: np.ndarray) -> bool:
    if task is Task.auto:
        return y.ndim == 1 and y.dtype.kind in "iu"
    return task is Task.classification


def _outputs(y: np.ndarray, classify: bool) -> int:
    """How many the labels need; what is wrong with them is for `check_samples` to say."""
    if classify:
        return max(2, int(y.max()) + 1) if y.size and y.dtype.kind in "iu" else 2
    return y.shape[-1] if y.ndim == 3 else 1


def _scores(model: HSSM, data: Data) -> dict[str, float]:
    """Accuracy, or the mean squared error, on both splits."""
    predict: Any = jax.jit(jax.vmap(model))
    scores = {}
    for split, X, y in (("train", data.X, data.y), ("test", data.X_test, data.y_test)):
        if X is None or y is None:
            continue
        found = np.asarray(predict(jnp.asarray(X, model.encoder.weight.dtype)))
        if model.task == "classification":
            scores[f"{split}_accuracy"] = float(np.mean(found.argmax(axis=1) == y))
        else:
            scores[f"{split}_squared_error"] = float(np.mean((found - y) ** 2))
    return scores
