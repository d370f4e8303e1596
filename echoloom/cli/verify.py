"""`echoloom verify`: every level gives the same integers, or the first difference is named."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.table import Table

from echoloom.backends.compile.program import load
from echoloom.backends.report.page import Part
from echoloom.backends.run.excess import Excess
from echoloom.cli.data import Split, load_data
from echoloom.cli.html import Html, html_of, program_parts, write_page
from echoloom.cli.kept import Keep, write_kept
from echoloom.cli.options import Json, Normalise, Saved, Source, Unit, load_unit
from echoloom.cli.outcome import command
from echoloom.frontend.data.files import check_destination, json_bytes, write_whole
from echoloom.sim.first_difference import Mismatch
from echoloom.sim.float_distance import WrongModel
from echoloom.sim.run_rtl import Simulator
from echoloom.sim.verify import DEFAULT, KNOWN
from echoloom.sim.verify import verify as verify_levels
from echoloom.sim.wave_window import FIRST_DIFFERENCE, Around

FORWARD, ECHO = 8, 4  # sequences, where nothing else is asked for


def verify(
    program: Saved,
    source: Source,
    levels: Annotated[
        str, typer.Option(help=f"Levels to compare, by commas: {', '.join(KNOWN)}.")
    ] = ",".join(DEFAULT),
    simulator: Annotated[
        str, typer.Option(help=f"Of the level rtl: {', '.join(get_args(Simulator))}.")
    ] = "verilator",
    forward: Annotated[
        int | None, typer.Option(help="Sequences to run forward; up to 8 if not given.")
    ] = None,
    echo: Annotated[
        int | None,
        typer.Option(help="Of these, how many to learn from as well; up to 4 if not given."),
    ] = None,
    learn: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Learn instead, so many updates, and compare every weight after each."
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Sequences in an update; the program's if not given.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="train or test; test if DATA has it, and train with --learn."),
    ] = None,
    stall_seed: Annotated[
        int | None, typer.Option(help="Hold the engine's streams back at random.")
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of the level onnx: this exported file, nothing else."),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(metavar="PORT", help="Of the level board: where it is, as in `board`."),
    ] = None,
    waves: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.fst", help="Write waves of the circuit, for GTKWave and Surfer."
        ),
    ] = None,
    around: Annotated[
        str | None,
        typer.Option(metavar="STEP", help=f"Waves around this step only, or {FIRST_DIFFERENCE}."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the comparison as JSON here.")
    ] = None,
    keep: Keep = None,
    html: Html = None,
    unit: Unit = None,
    normalise: Normalise = True,
    as_json: Json = False,
) -> None:
    """Run sequences at every level and compare all integers: outputs, states and gradients.

    Ends with code 4 when two levels differ, and names the first step, block, signal and bit, or
    when the integers are further from the float model than rounding explains. The report is
    written then too, with "ok": false.

    With --learn all passes of a training are compared, and the weights after every update; the
    difference then names the update, the tensor, the element and the bit.

    Examples: echoloom verify motions.elp BasicMotions --report verify.json,
    echoloom verify motions.elp BasicMotions --learn 3 --batch 4
    """
    with command("verify", as_json) as say:
        for path in (report, html, keep):
            if path is not None:
                check_destination(path)
        if split not in (None, *get_args(Split)):
            raise ValueError(f"--split is {split!r}, but it must be train or test.")
        steps = _around(around)
        compiled = load(program, load_unit(unit))
        data = load_data(source, normalise, compiled.model.task, compiled.model.classes)
        say.notes(data.notes)
        chosen = split or (None if learn is None else "train")
        X, y = data.split(chosen)  # type: ignore[arg-type]
        if learn is None:
            labels = _labels(source, len(X), y, forward, echo)
        else:
            labels = _learnt_from(source, y, forward, echo)
        values: dict[str, Any] = {
            "kind": "verify",
            "ok": False,
            "echoloom": version("echoloom"),
            "program": str(program),
            "sha256": hashlib.sha256(program.read_bytes()).hexdigest(),
        }
        try:
            with say.working("verifying") as progress:
                found = verify_levels(
                    compiled,
                    X[: len(labels)],
                    labels,
                    simulator=simulator,  # type: ignore[arg-type]
                    levels=[level.strip() for level in levels.split(",")],
                    stall_seed=stall_seed,
                    onnx=onnx,
                    port=port,
                    waves=waves,
                    around=steps,
                    learn=learn,
                    batch=batch,
                    progress=lambda text: progress.update(progress.task_ids[0], description=text),
                )
            values |= {"ok": True, **asdict(found)}
            numbers = sorted({e.sequence for e in found.excesses if e.sequence is not None})
            write_kept(say, keep, [X[n] for n in numbers], [labels[n] for n in numbers])
        except Mismatch as mismatch:
            values["difference"] = asdict(mismatch.difference)
            values["notes"] = getattr(mismatch, "__notes__", [])
            for note in values["notes"]:
                say.errors.print(note, markup=False)
            raise
        except WrongModel as wrong:
            values["difference"] = str(wrong)
            raise
        finally:
            say.result |= values
            # Any other failure compared nothing, and a report would be about nothing.
            if values["ok"] or "difference" in values:
                if report is not None:
                    write_whole(report, json_bytes(values))
                    say.errors.print(f"wrote {report}", markup=False)
                if html is not None:
                    verification = Part("Verification", html_of(verify_table(values)))
                    parts = [verification, *program_parts(compiled, X.shape[1])]
                    write_page(html, "Verification", f"{program} on {source}", parts)
                    say.errors.print(f"wrote {html}", markup=False)
        say.show(verify_table(values))


def _around(text: str | None) -> Around:
    """What `--around` says; ValueError for anything else."""
    if text is None or text == FIRST_DIFFERENCE:
        return text
    if text.isdecimal():
        return int(text)
    raise ValueError(f"--around is {text!r}, but it must be a step or {FIRST_DIFFERENCE}.")


def _labels(
    source: str, count: int, y: NDArray[Any] | None, forward: int | None, echo: int | None
) -> list[Any]:
    """The label of each sequence that is to run, None for those that run forward only."""
    forward = min(FORWARD, count) if forward is None else forward
    if echo is None:
        echo = 0 if y is None else min(ECHO, forward)
    if not 0 <= echo <= forward or forward < 1:
        raise ValueError(
            f"--forward {forward} and --echo {echo}: at least one sequence runs forward, and no "
            "more than those can echo."
        )
    if count < forward:
        raise ValueError(f"{source}: it holds {count} sequences, fewer than --forward {forward}.")
    if y is None:
        if echo:
            raise ValueError(f"{source}: without labels nothing can be learnt; use --echo 0.")
        return [None] * forward
    if len(y) < echo:
        raise ValueError(f"{source}: it holds {len(y)} labels, fewer than --echo {echo}.")
    return [*y[:echo], *[None] * (forward - echo)]


def _learnt_from(
    source: str, y: NDArray[Any] | None, forward: int | None, echo: int | None
) -> list[Any]:
    """All labels: a training draws its sequences from all."""
    if forward is not None or echo is not None:
        raise ValueError(
            "--learn draws its sequences from all of DATA: leave out --forward and --echo."
        )
    if y is None:
        raise ValueError(f"{source}: without labels nothing can be learnt.")
    return [*y]


def _measured(floats: dict[str, Any]) -> list[dict[str, Any]]:
    return [floats[name] for name in ("outputs", "gradient") if floats[name] is not None]


def _distance(found: dict[str, Any]) -> str:
    return (
        f"{found['what']} at most {found['relative']:.2g}, relative "
        f"(formats explain {found['bound']:.2g})"
    )


def _kind(excess: dict[str, Any]) -> str:
    return "overflow" if excess["overflow"] else "clamped word"


def verify_table(values: dict[str, Any]) -> RenderableType:
    """A verification as a table; of one that failed, the difference."""
    if not values["ok"]:
        return f"levels differ: {values['difference']}"
    table = Table("level", "sequences forward", "with echo", "integers compared", "different")
    for name, level in values["levels"].items():
        table.add_row(
            name,
            str(level["forward"]),
            str(level["echo"]),
            f"{level['compared']:,}",
            str(level["mismatches"]),
        )
    rows = [f"program {values['program']}", *values.get("notes", ())]
    for name, pass_ in values["cycles"].items():
        rows.append(
            f"{name}: {pass_['length']:,} steps, {pass_['rtl']:,} cycles, as predicted; "
            f"utilisation {pass_['utilisation']:.1%}"
        )
    for name, error in values.get("floats", {}).items():
        rows.append(f"ONNX {name}: at most {error:.2g} from JAX, relative")
    if (floats := values.get("float_model")) is not None:
        rows.append("from the float model: " + "; ".join(map(_distance, _measured(floats))))
    if (learning := values.get("learning")) is not None:
        rows.append(
            f"{learning['updates']} updates of {learning['batch']} sequences: "
            f"{learning['weights']:,} weights equal after each; words clamped: "
            f"{learning['clamped']:,}"
        )
        if learning["update_cycles"] is not None:
            share = learning["update_cycles"] / learning["batch_cycles"]
            rows.append(
                f"a batch takes {learning['batch_cycles']:,} cycles, its update "
                f"{learning['update_cycles']:,} more ({share:.1%})"
            )
    if (waves := values.get("waves")) is not None:
        rows.append(f"waves: {waves['shows']}, {waves['clocks']:,} clocks, in {waves['file']}")
    if values["lsb_off"] is not None:
        rows.append(f"after the echo the free copy is {values['lsb_off']} LSB from its start")
    rows.append(f"sequences clamped: {values['saturated']}, overflowed: {values['overflowed']}")
    rows += [f"first {_kind(excess)}: {Excess(**excess)}" for excess in values.get("excesses", ())]
    table.caption = "\n".join(rows)
    return table
