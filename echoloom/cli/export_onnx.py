"""`echoloom export-onnx`: a checkpoint or a saved program as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoloom.backends.compile.archive import MAGIC
from echoloom.backends.compile.program import CompiledProgram, load
from echoloom.backends.onnx.export import KINDS, PASSES, VIEW, onnx_model
from echoloom.cli.options import Json, Unit, load_unit
from echoloom.cli.outcome import command
from echoloom.frontend.data.files import check_destination, write_whole
from echoloom.frontend.models.checkpoint import load_model
from echoloom.frontend.models.hssm import HSSM


def export_onnx(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A saved program, or a checkpoint.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")
    ],
    kind: Annotated[
        str,
        typer.Option(help=f"{', '.join(KINDS)} or {VIEW}; the last two take a saved program."),
    ] = "float",
    passes: Annotated[
        str, typer.Option(help=f"{' or '.join(PASSES)}; gradient adds the echo.")
    ] = "forward",
    steps: Annotated[
        int | None,
        typer.Option(help=f"Of kind {VIEW}: a sequence of so many samples; one step if not given."),
    ] = None,
    unit: Unit = None,
    as_json: Json = False,
) -> None:
    """Write a model as an ONNX graph of standard operators: real numbers, or the exact integers.

    The kind qonnx is the forward pass with QONNX's Quant nodes, where float32 can hold its words.

    Example: echoloom export-onnx motions.elp -o motions.onnx --kind integer --passes gradient
    """
    with command("export-onnx", as_json) as say:
        check_destination(output)
        model = read_source(source, unit)
        with say.working("exporting"):
            exported = onnx_model(model, kind, passes, steps=steps)  # type: ignore[arg-type]
        data = exported.SerializeToString()
        write_whole(output, data)
        properties = {p.key.removeprefix("echoloom."): p.value for p in exported.metadata_props}
        say.result |= {
            "onnx": str(output),
            "kind": kind,
            "passes": passes,
            "bytes": len(data),
            "program_sha256": properties["sha256"],
            "inputs": [i.name for i in exported.graph.input],
            "outputs": [o.name for o in exported.graph.output],
        }
        say.show(f"inputs: {', '.join(say.result['inputs'])}")
        say.show(f"outputs: {', '.join(say.result['outputs'])}")
        say.show(f"wrote {output}, {len(data):,} bytes")


def read_source(source: Path, unit: str | None) -> CompiledProgram | HSSM:
    """What a file holds, by its first bytes."""
    with open(source, "rb") as file:
        begins = file.read(len(MAGIC))
    return (load if begins == MAGIC else load_model)(source, load_unit(unit))
