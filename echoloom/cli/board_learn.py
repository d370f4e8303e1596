"""`echoloom board learn`: a board that trains itself on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from echoloom.backends.board.board import Board, open_board
from echoloom.backends.board.guard import guard_of
from echoloom.backends.board.records import Trained
from echoloom.backends.compile.archive import packed
from echoloom.backends.compile.program import load
from echoloom.cli.board import Baud, Guarded, Port, Timeout, load_into, say_of_line
from echoloom.cli.data import load_data
from echoloom.cli.kept import Keep, say_of_kept
from echoloom.cli.options import Json, Normalise, Saved, Source, Unit, load_unit
from echoloom.cli.outcome import Reporter, command
from echoloom.cli.tables import fields_table
from echoloom.frontend.data.files import check_destination, write_together
from echoloom.frontend.models.checkpoint import model_bytes


def learn(
    port: Port,
    program: Saved,
    source: Source,
    updates: Annotated[
        int | None, typer.Option(min=1, help="How many; the rule's own number if not given.")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=1, help="Updates between checkpoints, at which weights are read."),
    ] = None,
    score: Annotated[
        int, typer.Option(min=0, help="Test sequences to classify on the board at checkpoints.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the trained program here."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the trained model here, as .eqx.")
    ] = None,
    keep: Keep = None,
    guard: Guarded = "off",
    baud: Baud = None,
    timeout: Timeout = 1.0,
    unit: Unit = None,
    normalise: Normalise = True,
    as_json: Json = False,
) -> None:
    """Have a board learn from the training split: it sums gradients over batches and updates its
    own weights. The program must have been compiled to learn.

    Example: echoloom board learn /dev/ttyUSB0 motions.elp BasicMotions --every 5 -o learnt.elp
    """
    with command("board learn", as_json) as say:
        for destination in (output, model, keep):
            if destination is not None:
                check_destination(destination)
        guard_of(guard)
        compiled = load(program, load_unit(unit))
        data = load_data(source, normalise, compiled.model.task, compiled.model.classes)
        say.notes(data.notes)
        X, y = data.split("train")
        if y is None:
            raise ValueError(f"{source}: without labels nothing can be learnt.")
        tests = _tests(data, source, compiled.model.task, score)
        with open_board(port, baud=baud, timeout_s=timeout, guard=guard) as found:
            load_into(say, found, compiled)
            rows: list[dict[str, Any]] = []

            def watch(so_far: Trained) -> None:
                rows.append(_row(found, so_far, rows, tests))
                say.show(fields_table(f"after {so_far.updates} updates", _shown(rows[-1])))

            trained = found.learn(X, y, updates, every=every, watch=watch)
            say.result |= {"checkpoints": rows, "clamped": dict(trained.clamped)}
            _say_of(say, trained)
            say_of_kept(say, trained.kept, keep)
            say_of_line(say, found)
        files: dict[Path, bytes] = {}
        if output is not None:
            files[output] = packed(trained.program)
        if model is not None:
            files[model] = model_bytes(trained.program.model)
        write_together(files)
        for path in files:
            say.show(f"wrote {path}")


def _tests(data: Any, source: str, task: str, count: int) -> tuple[Any, Any] | None:
    if not count:
        return None
    if task != "classification":
        raise ValueError("--score counts right classes, and this program has none.")
    X, y = data.split("test")
    if y is None or len(X) < count:
        raise ValueError(f"{source}: it holds no {count} test sequences with labels for --score.")
    return X[:count], y[:count]


def _row(
    found: Board, so_far: Trained, before: list[dict[str, Any]], tests: tuple[Any, Any] | None
) -> dict[str, Any]:
    """What a checkpoint says."""
    began = before[-1]["updates"] if before else 0
    row = {
        "updates": so_far.updates,
        "loss": float(np.mean(so_far.losses[began:])),
        "clamped": sum(so_far.clamped.values()),
        "overflowed": so_far.overflowed,
    }
    if tests is not None:
        right = [int(np.argmax(found.predict(x))) == int(label)
                 for x, label in zip(*tests, strict=True)]  # fmt: skip
        row["accuracy"] = float(np.mean(right))
    return row


def _shown(row: dict[str, Any]) -> dict[str, str]:
    shown = {"loss before them": f"{row['loss']:.4f}", "clamped sums": f"{row['clamped']:,}"}
    if row["overflowed"]:
        shown["sequences that overflowed"] = f"{row['overflowed']:,}"
    if "accuracy" in row:
        shown["right, of the test sequences"] = f"{row['accuracy']:.1%}"
    return shown


def _say_of(say: Reporter, trained: Trained) -> None:
    of_sequences, of_updates = trained.cycles
    share = of_updates / max(1, of_sequences + of_updates)
    say.result |= {"cycles": {"sequences": of_sequences, "updates": of_updates}}
    say.show(
        f"{trained.updates} updates; {of_sequences:,} cycles of the engine for sequences, "
        f"{of_updates:,} for updates ({share:.1%})"
    )
