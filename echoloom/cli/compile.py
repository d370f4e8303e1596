"""`echoloom compile`: from a checkpoint and samples to a saved program."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from echoloom.backends.compile.archive import packed
from echoloom.backends.compile.pipeline import STAGES, Arguments, Stage, compiled
from echoloom.backends.compile.precision_argument import profiles
from echoloom.backends.compile.search import Searched, Unmet
from echoloom.backends.compile.targets import TARGETS
from echoloom.cli.data import load_data
from echoloom.cli.learning_options import RULES, RuleOptions
from echoloom.cli.options import Json, Normalise, Source, Unit, load_unit
from echoloom.cli.outcome import command
from echoloom.cli.precision_options import PrecisionOptions
from echoloom.cli.tables import summary, summary_tables
from echoloom.frontend.data.files import check_destination, write_together, write_whole
from echoloom.frontend.models.checkpoint import load_model
from echoloom.ir.contract import EngineConfig
from echoloom.ir.widths import Widths

NAMES, ALL = tuple(stage.name for stage in STAGES), "all"


def compile(
    checkpoint: Annotated[Path, typer.Argument(help="What `echoloom train` wrote.")],
    source: Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PROGRAM", help="The file to write.")
    ],
    target: Annotated[str, typer.Option(help=f"Device: {', '.join(TARGETS)}.")] = "ecp5-85k",
    lanes: Annotated[int, typer.Option(help="Multipliers.")] = 16,
    drains: Annotated[
        int | None, typer.Option(help="Results requantised a cycle; lanes / 4 if not given.")
    ] = None,
    slots: Annotated[
        int, typer.Option(help="Row groups that wait for the drains.")
    ] = EngineConfig.slots,
    word: Annotated[
        int | None, typer.Option(help="Bits of a word of every vector; the target's if not given.")
    ] = None,
    narrow: Annotated[
        int | None,
        typer.Option(help="Bits of weights, the multipliers' narrow side; likewise."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME|auto",
            help="A TOML file of word lengths, spare bits, nudges and formats; a profile: "
            f"{', '.join(profiles())}; or auto, the cheapest that is good enough.",
        ),
    ] = None,
    cosine: Annotated[
        float | None,
        typer.Option(
            help="With --precision auto: the least cosine of every tensor's gradient with the "
            f"exact one; {Arguments.cosine} if not given."
        ),
    ] = None,
    norm: Annotated[
        float | None,
        typer.Option(help=f"Likewise how far its norm may be off; {Arguments.norm}."),
    ] = None,
    margin: Annotated[
        int | None,
        typer.Option(
            help="Spare bits of range above what the samples need; "
            f"{Widths.margin}, or the precision's."
        ),
    ] = None,
    gradient_bits: Annotated[
        int | None,
        typer.Option(help="Bits of a gradient's sum over steps; the accumulator's if not given."),
    ] = None,
    write_precision: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write all that was chosen here, for --precision."),
    ] = None,
    learning: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help=f"Let the engine update its own weights by this rule: {', '.join(RULES)}.",
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(help="By how much an update moves a weight at most, such as 2^-8."),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Sequences of an update.")] = None,
    updates: Annotated[
        int | None, typer.Option(help="How many updates the formats are to hold for.")
    ] = None,
    halve_at: Annotated[
        list[int] | None, typer.Option(help="An update that halves the step; may be repeated.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A coefficient that learns, or its name's beginning; repeatable."
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Use the first so many sequences of X; all if not given.")
    ] = None,
    length: Annotated[
        int | None, typer.Option(help="Steps T to predict cycles for; DATA's own if not given.")
    ] = None,
    ir: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the program's text here.")
    ] = None,
    dump: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE",
            help=f"Print what a stage gives, may be repeated: {', '.join(NAMES)} or {ALL}.",
        ),
    ] = None,
    dump_to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write dumps to files here, STAGE.txt, not to stdout."),
    ] = None,
    unit: Unit = None,
    normalise: Normalise = True,
    as_json: Json = False,
) -> None:
    """Compile a model for an engine; every format comes from what it does on the samples.

    Examples:

    echoloom compile motions.eqx BasicMotions -o motions.elp --lanes 4

    echoloom compile motions.eqx BasicMotions -o motions.elp --precision auto

    echoloom compile untrained.eqx BasicMotions -o motions.elp --learning sign --updates 300
    """
    with command("compile", as_json) as say:
        rule = RuleOptions(learning, step, batch, updates, halve_at, only).rule()
        asked = PrecisionOptions(precision, word, narrow, margin, gradient_bits, cosine, norm)
        widths, chosen = asked.of(target)
        for path in (output, ir, write_precision):
            if path is not None:
                check_destination(path)
        dumped = _dumped(dump or ([] if dump_to is None else [ALL]))
        if dump_to is not None:
            dump_to.mkdir(parents=True, exist_ok=True)
            for stage in dumped:
                check_destination(dump_to / f"{stage}.txt")
        for name, value in (("samples", samples), ("length", length)):
            if value is not None and value < 1:
                raise ValueError(f"--{name} is {value}, but it must be >= 1.")
        model = load_model(checkpoint, load_unit(unit))
        data = load_data(source, normalise, model.task, model.classes)
        say.notes(data.notes)
        X, y = data.X[:samples], None if data.y is None else data.y[:samples]
        found: list[Searched] = []

        def watch(stage: Stage, made: Any) -> None:
            if isinstance(made, Searched):
                found.append(made)
            if stage.name in dumped and dump_to is None:
                say.show(f"{stage.name}:\n{stage.text(made)}")
            elif stage.name in dumped and dump_to is not None:
                write_whole(dump_to / f"{stage.name}.txt", stage.text(made).encode())

        with say.following("compiling") as progress, warnings.catch_warnings():
            warnings.simplefilter("ignore", Unmet)  # which `found` says too
            program = compiled(
                Arguments(
                    model, X, y, target, lanes, drains, slots, widths, None, rule, chosen,
                    progress, *asked.bounds,
                ),
                watch,
            )  # fmt: skip
            values = summary(program, X.shape[1] if length is None else length)
        files = {output: packed(program)}
        if ir is not None:
            files[ir] = str(program).encode()
            say.result["ir"] = str(ir)
        if write_precision is not None:
            files[write_precision] = str(program.precision).encode()
            say.result["precision"] = str(write_precision)
        write_together(files)
        for own in found:
            if own.chosen is not None:
                say.show(str(own))
                say.result["search"] = own.summary()
            say.notes(own.unmet)
        say.result |= {"program": str(output), **values}
        say.show(summary_tables(values))
        say.show(f"wrote {output}")


def _dumped(wanted: Sequence[str]) -> frozenset[str]:
    """The stages to dump. ValueError for a name that none has."""
    for name in wanted:
        if name not in (*NAMES, ALL):
            raise ValueError(f"--dump is {name!r}, but it must be {', '.join(NAMES)} or {ALL}.")
    return frozenset(NAMES if ALL in wanted else wanted)
