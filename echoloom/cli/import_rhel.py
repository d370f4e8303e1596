"""`echoloom import-rhel`: from a checkpoint of the published RHEL code to one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoloom.cli.options import Json
from echoloom.cli.outcome import command
from echoloom.cli.tables import fields_table
from echoloom.frontend.data.files import check_destination
from echoloom.frontend.models.checkpoint import save_model
from echoloom.frontend.models.hssm import size
from echoloom.frontend.models.published.import_rhel import import_rhel as import_model
from echoloom.frontend.models.units import LinearUnit


def import_rhel(
    checkpoint: Annotated[
        Path, typer.Argument(help="What equinox.tree_serialise_leaves wrote of (model, state).")
    ],
    configuration: Annotated[
        Path,
        typer.Argument(
            help="JSON with model (LinHRU or NonlinHRU), num_blocks, hidden_dim, ssm_dim, data_dim "
            "and label_dim."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--out", "--output", "-o", metavar="CHECKPOINT", help="The file to write."),
    ],
    as_json: Json = False,
) -> None:
    """Turn a checkpoint of the RHEL paper's published code into one that `compile` takes.

    Example: echoloom import-rhel published.eqx published.json --out model.eqx
    """
    with command("import-rhel", as_json) as say:
        check_destination(output)
        model = import_model(checkpoint, configuration)
        save_model(output, model)
        nonlinear = not isinstance(model.blocks[0].unit, LinearUnit)
        fields = {
            "unit": "nonlinear" if nonlinear else "linear",
            "task": model.task,
            "inputs": model.inputs,
            "outputs": model.outputs,
            "hidden": model.hidden,
            "state": model.state,
            "blocks": len(model.blocks),
            "complex": model.complex,
            "output_step": model.output_step,
            "parameters": size(model),
        }
        say.result |= {"checkpoint": str(output), **fields}
        say.show(fields_table("imported", fields | {"complex": str(model.complex).lower()}))
        if nonlinear:
            say.show(
                "The compiled step takes the force half a step later than the published one, "
                "which is not reversible: compare the outputs on your data."
            )
        say.show(f"wrote {output}")
