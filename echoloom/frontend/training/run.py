"""A run file carried out: every seed trained, resumed where it was cut off, and written down.

The folder of a run holds seed-N/{model.eqx, state.bin, history.csv} for every seed, curves.png and
result.json.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec.structs import asdict

from echoloom.frontend.data.data_sets import Data
from echoloom.frontend.data.files import json_bytes, write_together
from echoloom.frontend.data.locks import alone_in
from echoloom.frontend.gradients.bptt import bptt_value_and_grad
from echoloom.frontend.gradients.rhel import rhel_value_and_grad
from echoloom.frontend.models.check import check
from echoloom.frontend.models.checkpoint import model_bytes
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.training.curves import curves_png
from echoloom.frontend.training.devices import make_mesh, share_gradient
from echoloom.frontend.training.history import history_csv
from echoloom.frontend.training.loop import check_finite, fit, make_plan
from echoloom.frontend.training.model import make_model, task_of
from echoloom.frontend.training.optimiser import make_optimiser
from echoloom.frontend.training.run_file import Run, settings
from echoloom.frontend.training.scores import make_scorer, measure_name
from echoloom.frontend.training.source import GradientSource, float_source
from echoloom.frontend.training.state import Identity, StateFile, data_digest
from echoloom.frontend.training.summary import SeedResult, summary
from echoloom.frontend.training.watch import Watcher

# From a run, an untrained model and its data to the gradients.
MakeSource = Callable[[Run, HSSM, Data], GradientSource]
STATE, MODEL, HISTORY, CURVES, RESULT = (
    "state.bin", "model.eqx", "history.csv", "curves.png", "result.json",
)  # fmt: skip


def host_source(run: Run, model: HSSM, data: Data) -> GradientSource:
    """Gradients in floats: through time, or by the echo."""
    if run.training.gradient == "bptt":
        function = bptt_value_and_grad(model, **asdict(run.bptt))
    elif run.training.gradient == "rhel":
        function = rhel_value_and_grad(model, **asdict(run.rhel))
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
    holds another run; OSError if something cannot be written, or another training is at work there.
    """
    training = run.training
    _check(run, data)
    assert data.y is not None
    optimiser = make_optimiser(run.optimiser)
    scores = make_scorer(data, training.batch, make_mesh(training.devices))
    decided, digest = settings(run), data_digest(data)
    results: list[SeedResult] = []
    for seed in training.seeds:
        model = make_model(run.model, data, seed, training.norm_samples)
        check(model)
        own = folder / f"seed-{seed}"
        own.mkdir(parents=True, exist_ok=True)
        precision = {"precision": str(model.encoder.weight.dtype)}
        file = StateFile(own / STATE, Identity(decided | precision, digest, seed))
        source = make_source(run, model, data)
        with alone_in(own, "training"), watch(seed) as watcher:
            if fresh:
                _forget(own)
            fitted = fit(
                model, data.X, data.y, source, optimiser, make_plan(training, len(data.X), seed),
                evaluate=lambda own: scores(own, ("train", "validation")), file=file, watch=watcher,
            )  # fmt: skip
            final = scores(fitted.model, ("train", "validation", "test"))
            check_finite(final, fitted.counters.step)
            history = history_csv(fitted.counters.history, measure_name(model.task))
            write_together({own / MODEL: model_bytes(fitted.model), own / HISTORY: history})
        results.append(SeedResult(seed, fitted.model, final, fitted.counters))
    histories = {result.seed: result.counters.history for result in results}
    curves = curves_png(histories, measure_name(results[0].model.task))
    write_together(
        {folder / CURVES: curves, folder / RESULT: json_bytes(summary(run, data, results))}
    )
    return results


def _check(run: Run, data: Data) -> None:
    """Raises ValueError for a run that its data do not allow."""
    training = run.training
    if data.y is None:
        raise ValueError("[data] holds no array y; training needs labels or targets.")
    if training.patience is not None and data.X_validation is None:
        raise ValueError(
            f"[training] patience is {training.patience}, but there is no validation split: set "
            "[data] validation to a part of the training split, such as 0.2."
        )
    if task_of(run.model.task, data.y) == "regression":
        if training.metric == "accuracy":
            raise ValueError('[training] metric is "accuracy", but a regression has none.')
    elif run.data.scale_targets:
        raise ValueError("[data] scale_targets is for a regression, but this is a classification.")


def _forget(folder: Path) -> None:
    """Removes all that an earlier run of a seed wrote."""
    for name in (STATE, MODEL, HISTORY):
        with suppress(FileNotFoundError):
            (folder / name).unlink()
