"""`echoloom board`'s commands that run data: predict, gradient, bench."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from echoloom.backends.board.bench import bench as run_bench
from echoloom.backends.board.board import open_board
from echoloom.backends.board.guard import guard_of
from echoloom.backends.compile.program import CompiledProgram, load
from echoloom.cli.board import Baud, Guarded, Port, Timeout, board, load_into, say_of_line
from echoloom.cli.data import Split, load_data
from echoloom.cli.kept import Keep, keeping
from echoloom.cli.options import Json, Normalise, Saved, Source, Unit, load_unit
from echoloom.cli.outcome import Reporter, command
from echoloom.cli.tables import fields_table
from echoloom.frontend.data.files import check_destination, npz_bytes, write_whole
from echoloom.frontend.gradients.exact import tensors

Count = Annotated[int, typer.Option(min=1, help="Sequences, from the first.")]
Part = Annotated[str | None, typer.Option(help="train or test; test if DATA has it.")]


@board.command()
def predict(
    port: Port,
    program: Saved,
    source: Source,
    count: Count = 8,
    split: Part = None,
    keep: Keep = None,
    baud: Baud = None,
    timeout: Timeout = 1.0,
    guard: Guarded = "off",
    unit: Unit = None,
    normalise: Normalise = True,
    as_json: Json = False,
) -> None:
    """Run sequences on a board, which is loaded first where it does not hold the program.

    Example: echoloom board predict /dev/ttyUSB0 motions.elp BasicMotions --count 40
    """
    with command("board predict", as_json) as say, keeping(say, keep):
        if keep is not None:
            check_destination(keep)
        guard_of(guard)
        compiled = load(program, load_unit(unit))
        xs, labels = _sequences(say, compiled, source, split, count, normalise)
        with open_board(port, baud=baud, timeout_s=timeout, guard=guard) as found:
            load_into(say, found, compiled)
            outputs = []
            with say.counting("predicting") as progress:
                for number, x in enumerate(xs, 1):
                    outputs.append(found.predict(x))
                    progress(number, len(xs))
            say.result["outputs"] = np.array(outputs).tolist()
            _say_of_outputs(say, compiled, outputs, labels)
            say_of_line(say, found)


@board.command()
def gradient(
    port: Port,
    program: Saved,
    source: Source,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the mean here, as .npz."),
    ] = None,
    count: Count = 8,
    split: Part = "train",
    keep: Keep = None,
    baud: Baud = None,
    timeout: Timeout = 1.0,
    guard: Guarded = "off",
    unit: Unit = None,
    normalise: Normalise = True,
    as_json: Json = False,
) -> None:
    """The mean gradient of the loss over sequences, from their echoes on a board.

    Example: echoloom board gradient /dev/ttyUSB0 motions.elp BasicMotions -o gradient.npz
    """
    with command("board gradient", as_json) as say, keeping(say, keep):
        for path in (output, keep):
            if path is not None:
                check_destination(path)
        guard_of(guard)
        compiled = load(program, load_unit(unit))
        xs, labels = _sequences(say, compiled, source, split, count, normalise)
        if labels is None:
            raise ValueError(f"{source}: without labels there is no gradient.")
        sums: dict[str, NDArray[Any]] = {}
        with open_board(port, baud=baud, timeout_s=timeout, guard=guard) as found:
            load_into(say, found, compiled)
            with say.counting("learning") as progress:
                for number, (x, label) in enumerate(zip(xs, labels, strict=True), 1):
                    for name, leaf in tensors(found.gradient(x, label)).items():
                        sums[name] = sums.get(name, 0.0) + np.asarray(leaf)
                    progress(number, len(xs))
            means = {name: total / len(xs) for name, total in sums.items()}
            norms = {name: float(np.linalg.norm(mean)) for name, mean in means.items()}
            say.result |= {"sequences": len(xs), "norms": norms}
            say.show(
                fields_table("mean gradient, norms", {n: f"{v:.6g}" for n, v in norms.items()})
            )
            say_of_line(say, found)
        if output is not None:
            write_whole(output, npz_bytes(means))
            say.show(f"wrote {output}")


@board.command()
def bench(
    port: Port,
    program: Saved,
    source: Source,
    clock: Annotated[
        float | None,
        typer.Option(help="The engine's clock in MHz, as it was built; the board's if not given."),
    ] = None,
    count: Count = 4,
    split: Part = None,
    baud: Baud = None,
    timeout: Timeout = 1.0,
    unit: Unit = None,
    normalise: Normalise = True,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Sequences per second through the link, beside those of the engine alone.

    The board counts its own clock cycles, those of its engine and all of them, so the two compare
    exactly, on a virtual board too.

    Example: echoloom board bench /dev/ttyUSB0 motions.elp BasicMotions
    """
    with command("board bench", as_json) as say:
        compiled = load(program, load_unit(unit))
        xs, labels = _sequences(say, compiled, source, split, count, normalise)
        with open_board(port, baud=baud, timeout_s=timeout) as found:
            load_into(say, found, compiled)
            with say.counting("measuring") as progress:
                rows = run_bench(found, xs, labels, clock, progress)
            table = Table("", "sequences/s through the link", "engine alone", "link / engine",
                          "engine cycles", "bytes")  # fmt: skip
            for row in rows:
                table.add_row(
                    row.what,
                    f"{row.through_link:,.1f}",
                    f"{row.engine_alone:,.1f}",
                    f"{row.engine_alone / row.through_link - 1:.2f}",
                    f"{row.engine_cycles:,}",
                    f"{row.bytes:,}",
                )
            table.caption = (
                f"at {rows[0].clock_mhz:.4g} MHz; link / engine: time that the link adds"
            )
            say.result["rows"] = [asdict(row) for row in rows]
            say.show(table)
            say_of_line(say, found)


def _sequences(
    say: Reporter,
    compiled: CompiledProgram,
    source: str,
    split: str | None,
    count: int,
    normalise: bool,
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The first `count` sequences of a split, and their labels where there are any."""
    if split not in (None, *get_args(Split)):
        raise ValueError(f"--split is {split!r}, but it must be train or test.")
    data = load_data(source, normalise, compiled.model.task, compiled.model.classes)
    say.notes(data.notes)
    X, y = data.split(split)  # type: ignore[arg-type]
    if len(X) < count:
        raise ValueError(f"{source}: it holds {len(X)} sequences, fewer than --count {count}.")
    return X[:count], None if y is None else y[:count]


def _say_of_outputs(
    say: Reporter, compiled: CompiledProgram, outputs: list[NDArray[Any]], labels: Any
) -> None:
    if compiled.model.task != "classification":
        say.show(f"{len(outputs)} sequences of {len(outputs[0])} outputs")
        return
    found = [int(np.argmax(logits)) for logits in outputs]
    names = compiled.model.classes
    say.result["classes"] = found
    say.show("classes: " + ", ".join(names[c] if names else str(c) for c in found))
    if labels is not None:
        right = sum(c == int(label) for c, label in zip(found, labels, strict=True))
        say.result["right"] = right
        say.show(f"right: {right} of {len(found)}")
