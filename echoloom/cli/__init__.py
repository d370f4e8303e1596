"""The command line: from samples or a checkpoint to a board. docs/cli.md explains it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from echoloom.cli.board_flash import flash
from echoloom.cli.board_learn import learn as board_learn
from echoloom.cli.board_runs import board
from echoloom.cli.build import build
from echoloom.cli.compile import compile
from echoloom.cli.doctor import doctor
from echoloom.cli.export_onnx import export_onnx
from echoloom.cli.export_verilog import export
from echoloom.cli.import_rhel import import_rhel
from echoloom.cli.learn import learn
from echoloom.cli.profile import profile
from echoloom.cli.prove import prove
from echoloom.cli.report import report
from echoloom.cli.train import train
from echoloom.cli.verify import verify

app = typer.Typer(
    help="Compiles Hamiltonian state-space models from JAX to FPGA fabric that infers and learns.",
    epilog="Exit codes: 0 done, 2 usage, 3 bad input, 4 levels differ, 5 timing missed, "
    "6 a tool is missing, 7 a tool, simulation or board failed, 1 a fault of echoloom itself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (
    train,
    import_rhel,
    compile,
    export_onnx,
    verify,
    prove,
    learn,
    build,
    report,
    profile,
    doctor,
):
    app.command()(_command)
app.command("export-verilog")(export)
board.command()(flash)
board.command("learn")(board_learn)
app.add_typer(board, name="board")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("echoloom"))
        raise typer.Exit


@app.callback()
def options(
    show: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Options of `echoloom` itself."""


def main() -> None:
    """Entry point of the `echoloom` script."""
    app()
