"""`echoloom export-verilog`: a saved program's engine as Verilog for other systems."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from echoloom.backends.compile.program import load
from echoloom.backends.export.export import INTERFACES, export_verilog
from echoloom.backends.export.folder import check_folder
from echoloom.cli.options import Json, Saved, Unit, load_unit
from echoloom.cli.outcome import command


def export(
    program: Saved,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder to write: new, empty or an export."
        ),
    ],
    interface: Annotated[
        str, typer.Option(help=f"The host's bus: {' or '.join(INTERFACES)} (AXI4-Lite).")
    ] = "stream",
    length: Annotated[
        int | None,
        typer.Option(
            help="Samples of a sequence: then the engine starts by itself and needs no host."
        ),
    ] = None,
    module: Annotated[str, typer.Option(help="Name of the top module.")] = "echoloom",
    unit: Unit = None,
    as_json: Json = False,
) -> None:
    """Write a program's engine as Verilog: AXI4-Stream samples and outputs, memories with contents.

    With it come a FuseSoC core, the port list, an example and, for AXI4-Lite, a C header.

    Example: echoloom export-verilog motions.elp -o build/motions --interface axi --length 100
    """
    with command("export-verilog", as_json) as say:
        check_folder(output)
        compiled = load(program, load_unit(unit))
        with say.working("writing Verilog"):
            report = export_verilog(
                compiled,
                output,
                interface=interface,  # type: ignore[arg-type]
                length=length,
                module=module,
            )
        say.result |= asdict(report)
        say.show(
            f"wrote {output}: module {module}, {report.ports} ports, {report.memory_files} memory "
            "files"
        )
