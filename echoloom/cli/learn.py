"""`echoloom learn`: train a program by its own integers, on the host, as its board would."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from echoloom.backends.compile.archive import packed
from echoloom.backends.compile.learned import LEARNERS, LearnResult, lesson_of, trained
from echoloom.backends.compile.program import CompiledProgram, load
from echoloom.backends.run.integers import InputRange
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.cli.data import Data, load_data
from echoloom.cli.kept import Keep, say_of_kept
from echoloom.cli.options import Json, Normalise, Saved, Source, Unit, load_unit
from echoloom.cli.outcome import Reporter, command
from echoloom.frontend.data.files import check_destination, write_together
from echoloom.frontend.models.checkpoint import model_bytes


def learn(
    program: Saved,
    source: Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="CHECKPOINT", help="The model to write.")
    ],
    updates: Annotated[
        int | None, typer.Option(help="How many; as many as PROGRAM's formats hold if not given.")
    ] = None,
    level: Annotated[
        str, typer.Option(help=f"Who computes: {' or '.join(LEARNERS)}; the integers are alike.")
    ] = "jax",
    learnt: Annotated[
        Path | None,
        typer.Option("--program", metavar="PROGRAM", help="Also write the trained program here."),
    ] = None,
    keep: Keep = None,
    unit: Unit = None,
    normalise: Normalise = True,
    as_json: Json = False,
) -> None:
    """Train a program that was compiled with --learning, from the training split of DATA.

    All is integers, the very ones that a board which learns from the same sequences has. The
    weights come back as a model in floats, which folds to them exactly.

    Example: echoloom learn motions.elp BasicMotions -o trained.eqx --updates 100
    """
    with command("learn", as_json) as say:
        for path in (output, learnt, keep):
            if path is not None:
                check_destination(path)
        compiled = load(program, load_unit(unit))
        model = compiled.model
        data = load_data(source, normalise, model.task, model.classes)
        say.notes(data.notes)
        if data.y is None:
            raise ValueError(f"{source}: it holds no array y; learning needs labels or targets.")
        lesson = lesson_of(compiled, data.X, data.y, updates)
        with say.counting("learning") as progress:
            found = trained(
                compiled, lesson, level, lambda done, _: progress(done + 1, lesson.updates)
            )
        files = {output: model_bytes(found.model)}
        if learnt is not None:
            files[learnt] = packed(found.program)
            say.result["program"] = str(learnt)
        write_together(files)
        say.result |= {"checkpoint": str(output), **learning_values(found)}
        _show(say, say.result)
        say_of_kept(say, found.kept, keep)
        _say_of_scores(say, compiled, found, data)
        for path in (output, learnt):
            if path is not None:
                say.show(f"wrote {path}")


def learning_values(found: LearnResult[CompiledProgram]) -> dict[str, Any]:
    """What a training gave, for a JSON object."""
    updates, batch = found.order.shape
    return {
        "updates": updates,
        "batch": batch,
        "losses": found.losses.mean(1).tolist(),
        "clamped": {name: int(own.sum()) for name, own in found.clamped.items()},
        "overflowed": int(found.overflowed.sum()),
        "exponent": found.exponent,
    }


def _show(say: Reporter, values: dict[str, Any]) -> None:
    losses, clamped = values["losses"], values["clamped"]
    say.show(
        f"{values['updates']} updates of {values['batch']} sequences; loss of a batch: first "
        f"{losses[0]:.4g}, last {losses[-1]:.4g}"
    )
    words = ", ".join(f"{name} {count:,}" for name, count in clamped.items() if count)
    say.show(f"words clamped: {words or 'none'}; sequences overflowed: {values['overflowed']}")


def _say_of_scores(
    say: Reporter, before: CompiledProgram, found: LearnResult[CompiledProgram], data: Data
) -> None:
    """Accuracy, or the mean square error, of all sequences of each split before and after."""
    accuracy = before.model.task == "classification"
    measure = "accuracy" if accuracy else "loss"
    for split, X, y in (("train", data.X, data.y), ("test", data.X_test, data.y_test)):
        if X is None or y is None:
            continue
        try:
            scores = [score(own, X, y) for own in (before, found.program)]
        except InputRange as error:
            say.show(f"{split} {measure}: not known, {error}")
            continue
        say.result[f"{split}_{measure}"] = dict(zip(("before", "after"), scores, strict=True))
        shown = [f"{value:.1%}" if accuracy else f"{value:.6g}" for value in scores]
        say.show(f"{split} {measure}: before {shown[0]}, after {shown[1]}")


def score(program: CompiledProgram, X: NDArray[Any], y: NDArray[Any], together: int = 64) -> float:
    """Accuracy of a program's integers, or of a regression the mean of its losses. InputRange (a
    ValueError) for samples beyond its range. `together`: sequences that run at once."""
    host, runner = program.artifact.host, JaxRunner(program.artifact)
    size = min(len(X), together)
    # The last part is filled up, for which nothing has to be compiled anew.
    parts = [
        runner.run(X[np.minimum(np.arange(at, at + size), len(X) - 1)].astype(np.float64)).outputs
        for at in range(0, len(X), size)
    ]
    outputs = host.decode(np.concatenate(parts)[: len(X)])
    if program.model.task == "classification":
        return float(np.mean(outputs.argmax(-1) == y))
    return float(np.mean(host.objective.losses(outputs, y)))
