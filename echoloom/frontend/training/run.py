"""A run file carried out: every seed trained, resumed where it was cut off, and written down.

The folder of a run holds seed-N/{model.eqx, state.bin, history.csv} for every seed, curves.png and
result.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax
from numpy.typing import NDArray

from echoloom.frontend.check import check
from echoloom.frontend.checkpoint import save_model
from echoloom.frontend.data import check_samples
from echoloom.frontend.data_sets import Data
from echoloom.frontend.files import write_whole
from echoloom.frontend.hamiltonian import Hamiltonian
from echoloom.frontend.hssm import HSSM, Task, with_statistics
from echoloom.frontend.learning import bptt_value_and_grad, rhel_value_and_grad
from echoloom.frontend.named import import_unit
from echoloom.frontend.training.curves import curves_png
from echoloom.frontend.training.devices import make_mesh, share_gradient
from echoloom.frontend.training.history import history_csv
from echoloom.frontend.training.loop import check_finite, fit, make_plan
from echoloom.frontend.training.optimiser import make_optimiser
from echoloom.frontend.training.run_file import ModelSection, Run, settings
from echoloom.frontend.training.scores import Score, Scorer, make_scorer, measure_name
from echoloom.frontend.training.source import GradientSource, float_source
from echoloom.frontend.training.state import Counters, Identity, StateFile, data_digest
from echoloom.frontend.training.watch import Watcher

# From a run, an untrained model and its data to the gradients.
MakeSource = Callable[[Run, HSSM, Data], GradientSource]
STATE, MODEL, HISTORY, CURVES, RESULT = (
    "state.bin", "model.eqx", "history.csv", "curves.png", "result.json",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SeedResult:
    """What one seed came to: scores by split, and how it got there."""

    seed: int
    model: HSSM
    scores: dict[str, Score]
    counters: Counters

    @property
    def overflows(self) -> int:
        """Sequences left out of gradients, over the whole run."""
        rows = self.counters.history
        return self.counters.overflows + sum(row.overflows for row in rows)


def task_of(task: str, y: NDArray[Any]) -> Task:
    """`task`, where "auto" means classification if the labels are whole numbers [n]."""
    if task == "auto":
        return "classification" if y.ndim == 1 and y.dtype.kind in "iu" else "regression"
    return task  # type: ignore[return-value]


def make_model(
    section: ModelSection, data: Data, seed: int, norm_samples: int | None = None
) -> HSSM:
    """An untrained model that fits the data, its norm statistics measured on training samples.

    Without `output_step`, targets [n, T', outputs] mean one every T // T' steps. `norm_samples`
    takes so many sequences, evenly spread, in place of all. Raises ValueError for a section that
    describes no model, or labels that do not fit it.
    """
    if data.y is None:
        raise ValueError("the data hold no array y; training needs labels or targets.")
    task = task_of(section.task, data.y)
    unit = section.unit if isinstance(section.unit, tuple) else (section.unit,)
    units = [_unit(name) for name in unit]
    model = HSSM(
        inputs=data.X.shape[2],
        outputs=_outputs(data.y, task),
        hidden=section.hidden,
        state=section.state,
        blocks=section.blocks,
        unit=units if isinstance(section.unit, tuple) else units[0],
        complex=section.complex,
        task=task,
        output_step=section.output_step or _output_step(data, task),
        step=section.step,
        substeps=section.substeps,
        integrator=section.integrator,
        activation=section.activation,
        key=jax.random.key(seed),
    )
    check_samples(model, data.X, data.y)
    for X, y in ((data.X_validation, data.y_validation), (data.X_test, data.y_test)):
        if X is not None and y is not None:
            check_samples(model, X, y)
    count = len(data.X)
    picks = np.unique(np.linspace(0, count - 1, min(norm_samples or count, count)).astype(int))
    return with_statistics(model, jnp.asarray(data.X[picks], model.encoder.weight.dtype))


def host_source(run: Run, model: HSSM, data: Data) -> GradientSource:
    """Gradients in floats: through time, or by the echo."""
    if run.training.gradient == "bptt":
        function = bptt_value_and_grad(model, rematerialise=run.bptt.rematerialise)
    elif run.training.gradient == "rhel":
        own = run.rhel
        function = rhel_value_and_grad(
            model, chunk=own.chunk, echoes=own.echoes, epsilon=own.epsilon
        )
    else:
        raise ValueError(f"gradient = {run.training.gradient!r} needs a source of its own.")
    return float_source(share_gradient(function, make_mesh(run.training.devices)))


def train_run(
    run: Run,
    data: Data,
    folder: Path,
    *,
    make_source: MakeSource = host_source,
    watch: Callable[[int], Watcher] = lambda seed: Watcher(),
    fresh: bool = False,
) -> list[SeedResult]:
    """Trains every seed of `run` into `folder`, from where it stopped unless `fresh`.

    `watch` is called with a seed. Raises ValueError for what cannot be trained, or a folder that
    holds another run; OSError if something cannot be written.
    """
    training = run.training
    _check(run, data)
    optimiser = make_optimiser(run.optimiser)
    scores = make_scorer(data, training.batch, make_mesh(training.devices))
    settled, digest = settings(run), data_digest(data)
    results = []
    for seed in training.seeds:
        model = make_model(run.model, data, seed, training.norm_samples)
        check(model)
        own = folder / f"seed-{seed}"
        own.mkdir(parents=True, exist_ok=True)
        _tidy(own, fresh)
        precision = {"precision": str(model.encoder.weight.dtype)}
        file = StateFile(own / STATE, Identity(settled | precision, digest, seed))
        with watch(seed) as watcher:
            results.append(
                _train_seed(
                    run,
                    data,
                    seed,
                    model,
                    make_source(run, model, data),
                    optimiser,
                    scores,
                    file,
                    watcher,
                )  # fmt: skip
            )
        save_model(own / MODEL, results[-1].model)
        measure = measure_name(model.task)
        rows = results[-1].counters.history
        write_whole(own / HISTORY, history_csv(rows, measure))
    histories = {result.seed: result.counters.history for result in results}
    write_whole(folder / CURVES, curves_png(histories, measure_name(results[0].model.task)))
    report = json.dumps(summary(run, data, results), indent=2) + "\n"
    write_whole(folder / RESULT, report.encode())
    return results


def _train_seed(
    run: Run,
    data: Data,
    seed: int,
    model: HSSM,
    source: GradientSource,
    optimiser: optax.GradientTransformation,
    scores: Scorer,
    file: StateFile,
    watch: Watcher,
) -> SeedResult:
    assert data.y is not None
    training = run.training
    plan = make_plan(
        len(data.X), batch=training.batch, seed=seed, epochs=training.epochs, steps=training.steps,
        evaluate_every=training.evaluate_every, checkpoint_every=training.checkpoint_every,
        patience=training.patience, metric=training.metric,
    )  # fmt: skip
    fitted = fit(
        model, data.X, data.y, source, optimiser, plan,
        evaluate=lambda own: scores(own, ("train", "validation")), file=file, watch=watch,
    )  # fmt: skip
    final = scores(fitted.model, ("train", "validation", "test"))
    check_finite(final, fitted.counters.step)
    return SeedResult(seed, fitted.model, final, fitted.counters)


def summary(run: Run, data: Data, results: Sequence[SeedResult]) -> dict[str, Any]:
    """Everything that a run came to, for JSON.

    Squared errors are in the units of the data's own targets, also where these were scaled.
    """
    model = results[0].model
    measure = measure_name(model.task)
    seeds = [
        {
            "seed": result.seed,
            **{f"{split}_{measure}": score.measure for split, score in result.scores.items()},
            **{f"{split}_loss": score.loss for split, score in result.scores.items()},
            "steps": result.counters.step,
            "best_step": result.counters.best_step if run.training.patience else None,
            "stopped_early": result.counters.stopped,
            "overflows": result.overflows,
            "notes": [asdict(note) for note in result.counters.notes],
            "seconds": result.counters.seconds,
        }
        for result in results
    ]
    overall = {}
    for split in results[0].scores:
        values = [result.scores[split].measure for result in results]
        overall[f"{split}_{measure}"] = {
            "mean": float(np.mean(values)),
            "deviation": spread(values),
        }
    shifts = ("mean", "scale", "target_centre", "target_scale")
    return {
        "run": msgspec.to_builtins(run),
        "task": model.task,
        "classes": list(data.classes),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model)),
        "data": {
            name: None if getattr(data, name) is None else getattr(data, name).tolist()
            for name in shifts
        },
        "seeds": seeds,
        **overall,
    }


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample; one value has none."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _check(run: Run, data: Data) -> None:
    """Raises ValueError for a run that its data do not allow."""
    training = run.training
    if training.patience is not None and data.X_validation is None:
        raise ValueError(
            f"[training] patience is {training.patience}, but there is no validation split: set "
            "[data] validation to a part of the training split, such as 0.2."
        )
    if data.y is not None and task_of(run.model.task, data.y) == "regression":
        if training.metric == "accuracy":
            raise ValueError('[training] metric is "accuracy", but a regression has none.')
    elif run.data.scale_targets:
        raise ValueError("[data] scale_targets is for a regression, but this is a classification.")


def _tidy(folder: Path, fresh: bool) -> None:
    """Removes what a killed run left half-written, and with `fresh` all that it wrote."""
    for partial in folder.glob("*.partial"):
        partial.unlink()
    if fresh:
        for name in (STATE, MODEL, HISTORY):
            with suppress(FileNotFoundError):
                (folder / name).unlink()


def _unit(name: str) -> str | Hamiltonian:
    return import_unit(name, "[model] unit") if ":" in name else name


def _outputs(y: NDArray[Any], task: Task) -> int:
    """How many the labels need; what is wrong with them is for `check_samples` to say."""
    if task == "classification":
        return max(2, int(y.max()) + 1) if y.size and y.dtype.kind in "iu" else 2
    return y.shape[-1] if y.ndim == 3 else 1


def _output_step(data: Data, task: Task) -> int:
    assert data.y is not None
    if task == "classification" or data.y.ndim != 3 or not data.y.shape[1]:
        return 1
    return max(1, data.X.shape[1] // data.y.shape[1])
