"""`echoloom train`: from samples to a checkpoint, or a whole run file carried out, on the host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from echoloom.cli.data import load_data
from echoloom.cli.options import Json, Normalise, Source
from echoloom.cli.outcome import Reporter, command
from echoloom.cli.train_run import carry_out, make_source
from echoloom.frontend.data.files import check_destination
from echoloom.frontend.models.hssm import size
from echoloom.frontend.models.sizes import Activation, BlockSizes, Sizes, Task, UnitName
from echoloom.frontend.training.example import EXAMPLE
from echoloom.frontend.training.model import make_model
from echoloom.frontend.training.run_file import (
    BLOCKS,
    HIDDEN,
    STATE,
    DataSection,
    Gradient,
    ModelSection,
    Run,
    TrainingSection,
)
from echoloom.frontend.training.scores import make_scorer, measure_name
from echoloom.frontend.training.train import save_model
from echoloom.frontend.training.train import train as fit
from echoloom.ir.scheme import Integrator

TRAINING = TrainingSection()
# What a run file leaves to the command line.
OF_BOTH = {"source", "output", "as_json", "example", "fresh"}


def _show_example(wanted: bool) -> None:
    if wanted:
        typer.echo(EXAMPLE, nl=False)
        raise typer.Exit


def train(
    context: typer.Context,
    source: Source,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="PATH", help="The checkpoint to write; a run file's folder."
        ),
    ],
    hidden: Annotated[int, typer.Option(help="Width H of the stack.")] = HIDDEN,
    state: Annotated[int, typer.Option(help="Oscillators in a block.")] = STATE,
    blocks: Annotated[int, typer.Option(help="Blocks in the stack.")] = BLOCKS,
    unit: Annotated[UnitName, typer.Option(help="What a block's oscillators are.")] = "linear",
    complex: Annotated[
        bool,
        typer.Option(
            "--complex/--real", help="Linear units: complex B and C, two copies of oscillators."
        ),
    ] = BlockSizes.complex,
    task: Annotated[
        Literal["auto", Task],
        typer.Option(help="auto: classification if the labels are whole numbers or texts."),
    ] = "auto",
    output_step: Annotated[
        int | None,
        typer.Option(help="Regression: one output every so many steps; T // T' if not given."),
    ] = None,
    step: Annotated[
        float | None,
        typer.Option(help="Initial step of every oscillator, 0 to 1; 0.5 to 0.73 if not given."),
    ] = BlockSizes.step,
    substeps: Annotated[
        int, typer.Option(help="Steps that every sample makes.")
    ] = BlockSizes.substeps,
    integrator: Annotated[
        Integrator, typer.Option(help="leapfrog, or imex: symplectic Euler.")
    ] = BlockSizes.integrator,
    activation: Annotated[
        Activation, typer.Option(help="The exact GELU, or its tanh form.")
    ] = Sizes.activation,
    gradient: Annotated[
        Gradient,
        typer.Option(
            help="Through time; by the echo in floats; by the echo in the fabric's words."
        ),
    ] = TRAINING.gradient,
    epochs: Annotated[int, typer.Option(help="Passes over the training split.")] = 60,
    lr: Annotated[float, typer.Option(help="Adam's learning rate.")] = 3e-3,
    batch: Annotated[int, typer.Option(help="Sequences in a batch.")] = TRAINING.batch,
    seed: Annotated[int, typer.Option(help="Of the parameters and of the order of samples.")] = 0,
    normalise: Normalise = True,
    untrained: Annotated[
        bool,
        typer.Option(
            "--untrained", help="Write the model as it begins: for a board that trains it."
        ),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run file: start over, forget what the folder holds.")
    ] = False,
    example: Annotated[
        bool,
        typer.Option(
            "--example", is_eager=True, callback=_show_example, help="Print a run file and stop."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train an HSSM and write a checkpoint, or carry out a run file (DATA is then run.toml).

    Examples: echoloom train BasicMotions -o motions.eqx, echoloom train run.toml -o motions
    """
    with command("train", as_json) as say:
        if source.endswith(".toml"):
            _refuse_flags(context)
            carry_out(say, Path(source), output, fresh)
            return
        if fresh:
            raise ValueError("--fresh is for run files; a checkpoint is always trained anew.")
        check_destination(output)
        section = ModelSection(
            hidden=hidden, state=state, blocks=blocks, unit=unit, complex=complex, task=task,
            output_step=output_step, step=step, substeps=substeps, integrator=integrator,
            activation=activation,
        )  # fmt: skip
        run = Run(
            data=DataSection(source=source, normalise=normalise),
            model=section,
            training=TrainingSection(gradient=gradient, epochs=epochs, batch=batch, seeds=(seed,)),
        )
        _train_once(say, run, source, output, None if untrained else lr)


def _refuse_flags(context: typer.Context) -> None:
    """Raises ValueError for a flag that says what the run file says."""
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name)
        # By its name: newer releases of typer carry a click of their own.
        if given is not None and given.name == "COMMANDLINE" and name not in OF_BOTH:
            raise ValueError(
                f"{parameter.opts[0]} is for training without a run file; write it into the run "
                "file."
            )


def _train_once(say: Reporter, run: Run, source: str, output: Path, lr: float | None) -> None:
    """The quick form: one seed, Adam, no stops; without a learning rate, no training either."""
    data, training = load_data(source, run.data.normalise, run.model.task), run.training
    if data.y is None:
        raise ValueError(f"{source}: it holds no array y; training needs labels or targets.")
    say.notes(data.notes)
    assert training.epochs is not None
    model = make_model(run.model, data, training.seeds[0])
    if lr is not None:
        model = fit(
            model, data.X, data.y, epochs=training.epochs, learning_rate=lr, batch=training.batch,
            seed=training.seeds[0], progress=True, source=make_source(run, model, data),
        )  # fmt: skip
    measure = measure_name(model.task)
    found = make_scorer(data, training.batch)(model, ("train", "test"))
    scores = {f"{split}_{measure}": score.measure for split, score in found.items()}
    save_model(output, model)
    say.result |= {
        "checkpoint": str(output),
        "task": model.task,
        "classes": list(data.classes),
        "parameters": size(model),
        "normalised": None if data.mean is None or data.scale is None else {
            "mean": data.mean.tolist(), "scale": data.scale.tolist(),
        },
        **scores,
    }  # fmt: skip
    if data.classes:
        say.show(f"classes: {', '.join(f'{n} = {own}' for n, own in enumerate(data.classes))}")
    for name, value in scores.items():
        text = f"{value:.1%}" if measure == "accuracy" else f"{value:.6g}"
        say.show(f"{name.replace('_', ' ')}: {text}")
    say.show(f"wrote {output}")
