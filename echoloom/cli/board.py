"""`echoloom board`: drive a board, or a virtual one, through its serial port."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from serial.tools import list_ports

from echoloom.backends.board.board import Board, open_board
from echoloom.backends.board.check import check_memories, check_sequence, stand_in
from echoloom.backends.compile.program import CompiledProgram, load
from echoloom.backends.link.serial import baud_of
from echoloom.cli.options import Json, Saved, Unit, load_unit
from echoloom.cli.outcome import Reporter, command
from echoloom.sim.golden_served import golden_board
from echoloom.sim.virtual_board import ENGINE_MHZ, FASTEST, virtual_board

board = typer.Typer(help="Drive a board through its serial port.", no_args_is_help=True)

Port = Annotated[
    str,
    typer.Argument(
        metavar="PORT", help="/dev/ttyUSB0, or a URL of pyserial's: socket://localhost:4000."
    ),
]
Baud = Annotated[
    int | None,
    typer.Option(help="The serial line's speed; that of boards with the USB chip if not given."),
]
Timeout = Annotated[float, typer.Option(help="Seconds that the board may take for an answer.")]

Guarded = Annotated[
    str,
    typer.Option(
        "--guard",
        help="Against bits that flip on the board: off; memories: states come back and memories "
        "are as loaded; twice: and all is played once more.",
    ),
]


@board.command()
def serve(
    program: Saved,
    tcp: Annotated[
        int | None,
        typer.Option(metavar="PORT", help="A TCP port in place of a pseudo-terminal; 0: any."),
    ] = None,
    simulator: Annotated[
        str,
        typer.Option(help="verilator: the circuit; golden: its twin in Python, without a build."),
    ] = "verilator",
    baud: Annotated[int, typer.Option(help="In the board's own time.")] = FASTEST,
    clock: Annotated[float, typer.Option(help="The engine's, in MHz.")] = ENGINE_MHZ,
    unit: Unit = None,
) -> None:
    """Be a board with the program's engine, simulated, until interrupted.

    The first line on stdout is the PORT for the other commands. The board holds no program yet.

    Example: echoloom board serve motions.elp --tcp 4000
    """
    with command("board serve", False) as say:
        mapped = load(program, load_unit(unit)).artifact.mapped
        if simulator == "golden":
            serving = golden_board(mapped.config, mapped.timing, tcp=tcp)
        elif simulator == "verilator":
            say.errors.print("building the simulator, where it is not there yet ...")
            serving = virtual_board(
                mapped.config, mapped.timing, tcp=tcp, baud=baud, clock_mhz=clock
            )
        else:
            raise ValueError(f"--simulator is {simulator!r}, but it must be verilator or golden.")
        with serving as served:
            typer.echo(served.port)
            try:
                served.wait()
            except KeyboardInterrupt:
                say.errors.print("stopped")


@board.command("list")
def list_boards(as_json: Json = False) -> None:
    """The serial ports of this machine, and what is plugged into them.

    Virtual boards are not among them: `serve` says where they are.
    """
    with command("board list", as_json) as say:
        found = [
            {"port": port.device, "what": port.description, "id": port.hwid, "baud": baud_of(port)}
            for port in sorted(list_ports.comports())
        ]
        say.result["ports"] = found
        table = Table("port", "what", "id", "baud, if it is a board's")
        for one in found:
            table.add_row(*map(str, one.values()))
        say.show(table if found else "no serial ports")


@board.command()
def check(
    port: Port,
    program: Saved,
    baud: Baud = None,
    timeout: Timeout = 1.0,
    unit: Unit = None,
    as_json: Json = False,
) -> None:
    """Check a board: its engine, every word of its memories, a sequence forward and back.

    Example: echoloom board check /dev/ttyUSB0 motions.elp
    """
    with command("board check", as_json) as say:
        compiled = load(program, load_unit(unit))
        with open_board(port, baud=baud, timeout_s=timeout) as found:
            with say.counting("memories") as progress:
                words = check_memories(found, compiled, progress)
            with say.working("a sequence forward and back"):
                integers = check_sequence(found, compiled, *stand_in(compiled))
            engine = found.status().engine
            say_of_line(say, found)
        say.result |= {"words": words, "integers": integers}
        say.show(f"the engine {engine} answers at {port}")
        say.show(f"{words:,} memory words as written")
        say.show(f"{integers:,} integers of a sequence forward and back as NumPy's")


@board.command("load")
def load_program(
    port: Port,
    program: Saved,
    baud: Baud = None,
    timeout: Timeout = 1.0,
    anew: Annotated[bool, typer.Option(help="Even if the board says that it is there.")] = False,
    unit: Unit = None,
    as_json: Json = False,
) -> None:
    """Have a board hold a program; it keeps it until it is reset or switched off.

    Example: echoloom board load /dev/ttyUSB0 motions.elp
    """
    with command("board load", as_json) as say:
        compiled = load(program, load_unit(unit))
        with open_board(port, baud=baud, timeout_s=timeout) as found:
            words = load_into(say, found, compiled, anew)
            say.show(f"loaded {words:,} words" if words else "the board holds it already")
            say_of_line(say, found)


def load_into(say: Reporter, found: Board, compiled: CompiledProgram, anew: bool = False) -> int:
    """Load a program where it is not there, with a bar; the number of words written."""
    with say.counting("loading") as progress:
        words = found.load(compiled, anew=anew, progress=progress)
    say.result["loaded_words"] = words
    return words


def say_of_line(say: Reporter, found: Board) -> None:
    """What the line has seen, where it was not smooth."""
    status = found.status()
    say.result["status"] = asdict(status)
    if status.repeated or status.reruns:
        say.errors.print(
            f"the line lost something: {status.repeated} requests were sent again, "
            f"{status.reruns} sequences run again"
        )
