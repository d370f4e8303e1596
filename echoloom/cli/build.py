"""`echoloom build`: from a saved program to a board's bitstream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from echoloom.backends.bitstream.build import REPORT
from echoloom.backends.bitstream.build import build as build_program
from echoloom.backends.compile.program import load
from echoloom.cli.options import Json, Saved, Unit, load_unit
from echoloom.cli.outcome import command
from echoloom.cli.tables import fields_table
from echoloom.hdl.board import BOARDS


def build(
    program: Saved,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write into.")
    ],
    board: Annotated[str, typer.Option(help=f"Board: {', '.join(BOARDS)}.")] = "ulx3s-85f",
    clock: Annotated[
        float | None, typer.Option(help="The engine's clock in MHz; the board's if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the placer.")] = 1,
    unit: Unit = None,
    as_json: Json = False,
) -> None:
    """Build the bitstream of a program's engine, and the bytes that load the program; minutes.

    Ends with code 5 when the routed design misses its clock; then there is no bitstream.

    Example: echoloom build motions.elp -o build/motions
    """
    with command("build", as_json) as say:
        compiled = load(program, load_unit(unit))
        with say.working(f"synthesising, placing and routing; logs are in {output}"):
            build_program(compiled, board, output, clock_mhz=clock, seed=seed)
        values = json.loads((output / REPORT).read_text())
        say.result |= {"folder": str(output), **values}
        say.show(build_table(values))
        say.show(f"wrote {output}")


def build_table(values: dict[str, Any]) -> RenderableType:
    """A build's report as tables."""
    resources = {
        name: f"{values[name]['used']:,} of {values[name]['available']:,}"
        for name in ("luts", "registers", "dsps", "brams")
    }
    steps = {
        f"{name} cycles, utilisation": f"{step['cycles']:,}, {step['utilisation']:.1%}"
        for name, step in values["steps"].items()
    }
    figures = {
        "board": values["board"],
        "clock MHz": f"{values['target_mhz']:g}",
        "reached MHz": f"{values['fmax_mhz']:.1f}",
        **resources,
        **steps,
    }
    return Group(fields_table("build", figures), fields_table("files", values["sha256"]))
