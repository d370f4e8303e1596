"""`echoloom build`: from a saved program to a board's bitstream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from echoloom.backends.bitstream.aim import MARGIN
from echoloom.backends.bitstream.build import REPORT
from echoloom.backends.bitstream.build import build as build_program
from echoloom.backends.bitstream.targets.boards import BOARDS
from echoloom.backends.compile.program import load
from echoloom.backends.report.page import Part
from echoloom.cli.html import LENGTH, Html, html_of, program_parts, write_page
from echoloom.cli.options import Json, Saved, Unit, load_unit
from echoloom.cli.outcome import command
from echoloom.cli.tables import fields_table
from echoloom.frontend.data.files import check_destination


def build(
    program: Saved,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write into.")
    ],
    board: Annotated[str, typer.Option(help=f"Board: {', '.join(BOARDS)}.")] = "ulx3s-85f",
    clock: Annotated[
        float | None,
        typer.Option(help="The engine's clock in MHz; the highest with a margin if not given."),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(help="What the router aims at, in MHz; --clock or the board's if not given."),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(help="Without --clock: by what part the clock is below what is reached."),
    ] = MARGIN,
    seed: Annotated[int, typer.Option(help="Of the placer; the first, if there are several.")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="How many; the quickest is built.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Placements at a time.")] = 1,
    baud: Annotated[
        int | None,
        typer.Option(help="The serial line's speed; what the board's USB chip makes if not given."),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="How many the board keeps, a power of two; up to 8,192 as they fit."),
    ] = None,
    checks: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="Whether the board sums up its memories by itself; not on iCE40 if not given.",
        ),
    ] = None,
    html: Html = None,
    unit: Unit = None,
    as_json: Json = False,
) -> None:
    """Build the bitstream of a program's engine, and the bytes that load the program; minutes.

    Ends with code 5 when the routed design misses its clock; then there is no bitstream.

    Example: echoloom build motions.elp -o build/motions --seeds 4
    """
    with command("build", as_json) as say:
        if html is not None:
            check_destination(html)
        compiled = load(program, load_unit(unit))
        with say.working(f"synthesising, placing and routing; logs are in {output}"):
            build_program(
                compiled,
                board,
                output,
                clock_mhz=clock,
                target_mhz=target,
                margin=margin,
                seed=seed,
                seeds=seeds,
                jobs=jobs,
                baud=baud,
                samples=samples,
                checks=checks,
            )
        values = json.loads((output / REPORT).read_text())
        say.result |= {"folder": str(output), **values}
        say.show(build_table(values))
        if html is not None:
            parts = [Part("Build", html_of(build_table(values))), *program_parts(compiled, LENGTH)]
            write_page(html, "Build", f"{program} for {board}", parts)
        say.show(f"wrote {output}")


def build_table(values: dict[str, Any]) -> RenderableType:
    """A build's report as tables."""
    resources = {
        name: f"{usage['used']:,} of {usage['available']:,}"
        for name, usage in values["usage"].items()
    }
    steps = {
        f"{name} cycles, utilisation": f"{step['cycles']:,}, {step['utilisation']:.1%}"
        for name, step in values["steps"].items()
    }
    figures = {
        "board": values["board"],
        "clock MHz": f"{values['clock_mhz']:g}, {values['margin']:.1%} below what is reached",
        "reached MHz": f"{values['fmax_mhz']:.1f} (aimed at {values['target_mhz']:g})",
        "seeds": _seeds(values),
        "longest path": values["critical_path"],
        **resources,
        **steps,
    }
    return Group(fields_table("build", figures), fields_table("files", values["sha256"]))


def _seeds(values: dict[str, Any]) -> str:
    reached = [
        f"{run['seed']}: {run['fmax_mhz']:.1f}" if run["fmax_mhz"] else f"{run['seed']}: failed"
        for run in values["seeds"]
    ]
    return f"{', '.join(reached)}; median {values['median_fmax_mhz']:.1f}, best {values['seed']}"
