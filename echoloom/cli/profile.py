"""`echoloom profile`: how good the integers' gradients are, over formats, nudges and lengths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from echoloom.backends.compile.arguments import target_named
from echoloom.backends.compile.request import Arguments
from echoloom.backends.compile.targets import TARGETS
from echoloom.backends.profile.grid import default_choices
from echoloom.backends.profile.profile import Bound, Profile, check_choices, measure_profile
from echoloom.backends.profile.subject import subject
from echoloom.backends.report.page import page
from echoloom.backends.report.profile_page import pictures, profile_parts
from echoloom.backends.report.program_page import search_parts
from echoloom.cli.data import Data, load_data
from echoloom.cli.html import program_parts
from echoloom.cli.options import Json, Normalise, Source, Unit, load_unit
from echoloom.cli.outcome import command
from echoloom.frontend.data.files import check_destination, json_bytes, write_together
from echoloom.frontend.models.checkpoint import load_model
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.contract import EngineConfig
from echoloom.ir.widths import Widths

PAGE, VALUES = "profile.html", "profile.json"


def profile(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="MODEL", help="What `echoloom train` wrote.")
    ],
    source: Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write into.")
    ] = Path("profile"),
    target: Annotated[str, typer.Option(help=f"Device: {', '.join(TARGETS)}.")] = "ecp5-85k",
    lanes: Annotated[int, typer.Option(help="Multipliers.")] = 16,
    margin: Annotated[
        int, typer.Option(help="Spare bits of range above what the samples need.")
    ] = Widths.margin,
    precision: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="What to choose formats by, as in `compile`."),
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Word lengths; around the target's if not given."),
    ] = None,
    narrows: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Narrow sides; around the target's if not given."),
    ] = None,
    octaves: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...", help="Nudges, as powers of two from the chosen; -4,-2,0,2,4."
        ),
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Steps; T/8,T/4,T/2,T if not given."),
    ] = None,
    sequences: Annotated[int, typer.Option(min=1, help="Sequences that judge.")] = 8,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1, help="Calibrate on the first so many sequences of X; all if not given."
        ),
    ] = None,
    cosine: Annotated[float, typer.Option(help="The least cosine to reach.")] = Bound.cosine,
    norm: Annotated[float, typer.Option(help="How far norms may be off.")] = Bound.norm,
    unit: Unit = None,
    normalise: Normalise = True,
    as_json: Json = False,
) -> None:
    """Measure the integers' gradients against float64 backpropagation through time: every tensor,
    over word lengths, nudges and sequence lengths, and which format to widen next.

    Sequences of the test split judge, or of X where there is none; a classification's with the
    class that the model finds least likely. Writes profile.html, profile.json and the pictures.

    Example: echoloom profile motions.eqx BasicMotions -o profile
    """
    with command("profile", as_json) as say:
        chosen = {"words": words, "narrows": narrows, "octaves": octaves, "lengths": lengths}
        given = {name: _numbers(name, text) for name, text in chosen.items() if text is not None}
        bound = Bound(cosine, norm)
        if not (0.0 < cosine < 1.0 and 0.0 < norm < 1.0):
            raise ValueError(
                f"--cosine is {cosine:g} and --norm {norm:g}, but both must be between 0 and 1."
            )
        model = load_model(checkpoint, load_unit(unit))
        data = load_data(source, normalise, model.task, model.classes)
        say.notes(data.notes)
        X, y = _judging(model, data, sequences)
        widths = replace(target_named(target).widths, margin=margin)
        choices = replace(default_choices(widths, X.shape[1]), **given)
        check_choices(choices, model.output_step, X.shape[1])
        if precision is not None and margin != Widths.margin:
            raise ValueError("--margin is a part of --precision: give one of the two.")
        labels = None if data.y is None else data.y[:samples]
        output.mkdir(parents=True, exist_ok=True)
        check_destination(output / PAGE)
        with say.following("compiling") as progress:
            of = subject(
                Arguments(
                    model, data.X[:samples], labels, target, lanes, None, EngineConfig.slots,
                    widths if precision is None else None, None, precision=precision,
                    progress=progress, cosine=cosine, norm=norm,
                ),
                X, y,
            )  # fmt: skip
            choices = replace(default_choices(of.widths, X.shape[1]), **given)
        with say.counting("measuring") as count:
            found = measure_profile(of, choices, bound, count)
        with say.working("drawing"):
            svg = pictures(found)
            parts = [
                *profile_parts(found, svg),
                *search_parts(of.searched),
                *program_parts(of.program, found.length),
            ]
        values = {"model": str(checkpoint), "data": source, **found.values()}
        lead = (
            f"{checkpoint} on {len(X)} sequences of {X.shape[1]} steps of {source}, for {target}: "
            "integer gradients against float64 backpropagation through time."
        )
        write_together(
            {
                **{output / f"{name}.svg": text.encode() for name, text in svg.items()},
                output / VALUES: json_bytes(values),
                output / PAGE: page("Gradient profile", lead, parts),
            }
        )
        say.result |= {"folder": str(output), "advice": found.advice(), "chosen": _chosen(found)}
        say.show(profile_table(found))
        for sentence in found.advice():
            say.show(sentence)
        say.show(f"wrote {output / PAGE}")


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise ValueError(
            f"--{name} is {text!r}, but it must be whole numbers with commas between them."
        ) from None


def _judging(
    model: HSSM, data: Data, count: int
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """Sequences from all over the test split, or X, and a regression's targets."""
    X, y = data.split(None)
    some = np.unique(np.linspace(0, len(X) - 1, min(count, len(X))).astype(int))
    targets = None if model.task == "classification" else y
    if model.task != "classification" and targets is None:
        raise ValueError("a regression is judged by targets, and DATA has none.")
    return X[some].astype(np.float64), None if targets is None else targets[some]


def _chosen(found: Profile) -> dict[str, Any]:
    own = found.chosen
    return {
        "word": own.word,
        "narrow": own.narrow,
        "cosine": own.cosine if own.holds else None,
        "norm_error": own.norm_error if own.holds else None,
    }


def profile_table(found: Profile) -> Table:
    """Word lengths down, narrow sides across: the worst cosine and norm ratio's distance."""
    narrows = found.choices.narrows
    table = Table("word", *(f"narrow {n}" for n in narrows))
    for word in found.choices.words:
        cells = []
        for narrow in narrows:
            point = found.at(word, narrow, 0, found.length)
            said = f"{point.cosine:.5f}, {point.norm_error:.2%}" if point.holds else "no figures"
            mark = " *" if point is found.chosen else ""
            cells.append(said + mark)
        table.add_row(str(word), *cells)
    table.caption = "worst cosine and norm error of all tensors; * is the chosen point"
    return table
