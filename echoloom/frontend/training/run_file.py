"""Run files: a training described in TOML, read into frozen typed values and checked at once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from echoloom.frontend.data.data_sets import Data, Pad, prepare
from echoloom.frontend.data.sources import read_loader, read_source
from echoloom.frontend.gradients.rhel.sweep import Echoes
from echoloom.frontend.gradients.rhel.value_and_grad import CHUNK
from echoloom.frontend.models.sizes import BlockSizes, Sizes, Task
from echoloom.frontend.training.optimiser import OptimiserSection, make_optimiser
from echoloom.ir.toml import read_toml

Gradient = Literal["bptt", "rhel", "rhel-fixed"]
HIDDEN, STATE, BLOCKS = 16, 8, 2  # where nothing else is asked for
# What may change between a run and its resumption: none of it alters a step that was made.
FREE = ("epochs", "steps", "seeds", "checkpoint_every")


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class DataSection(Section, frozen=True, kw_only=True):
    """Where samples come from, and what is done to them."""

    source: str | tuple[str, ...] | None = None
    loader: str | None = None
    normalise: bool = True
    validation: float = 0.0
    split_seed: int = 0
    pad: Pad = "refuse"
    scale_targets: bool = False


class ModelSection(Section, frozen=True, kw_only=True):
    """The arguments of `HSSM` that the data do not decide."""

    hidden: int = HIDDEN
    state: int | tuple[int, ...] = STATE
    blocks: int = BLOCKS
    unit: str | tuple[str, ...] = str(BlockSizes.unit)
    complex: bool | tuple[bool, ...] = BlockSizes.complex
    task: Literal["auto", Task] = "auto"
    output_step: int | None = None
    step: float | tuple[float, ...] | None = BlockSizes.step
    substeps: int | tuple[int, ...] = BlockSizes.substeps
    integrator: str | tuple[str, ...] = BlockSizes.integrator
    activation: str = Sizes.activation


class TrainingSection(Section, frozen=True, kw_only=True):
    """How long, in which batches, and what is watched meanwhile."""

    gradient: Gradient = "bptt"
    epochs: int | None = None
    steps: int | None = None
    batch: int = 10
    seeds: tuple[int, ...] = (0,)
    evaluate_every: int | None = None
    checkpoint_every: int | None = None
    patience: int | None = None
    metric: Literal["loss", "accuracy"] = "loss"
    devices: int = 1
    norm_samples: int | None = None


class BpttSection(Section, frozen=True, kw_only=True):
    """Options of gradient = "bptt": those of `bptt_value_and_grad`."""

    rematerialise: int | None = None


class RhelSection(Section, frozen=True, kw_only=True):
    """Options of gradient = "rhel": those of `rhel_value_and_grad`."""

    chunk: int = CHUNK
    echoes: Echoes = "renormalised"
    epsilon: float | None = None


class FixedSection(Section, frozen=True, kw_only=True):
    """Options of gradient = "rhel-fixed": those of `FixedGradient`."""

    target: str = "ecp5-85k"
    lanes: int = 4
    margin: int = 2
    weight_margin: int = 1


class Run(Section, frozen=True, kw_only=True):
    """A whole run file."""

    data: DataSection
    training: TrainingSection
    model: ModelSection = ModelSection()
    optimiser: OptimiserSection = OptimiserSection()
    bptt: BpttSection = BpttSection()
    rhel: RhelSection = RhelSection()
    fixed: FixedSection = FixedSection()


def read_run(path: str | os.PathLike[str]) -> Run:
    """The run that a file describes.

    Raises OSError if it cannot be read, and ValueError, in one sentence that names file and field,
    for what is not a run.
    """
    text = Path(path).read_bytes()
    try:
        run = read_toml(text, Run)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {_explained(str(error))}") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: this is not TOML: {error}.") from error
    try:
        _check(run)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return run


def run_data(run: Run, path: str | os.PathLike[str], classes: tuple[str, ...] = ()) -> Data:
    """The data of the run file at `path`, where relative paths start; `classes` as of `prepare`.

    Raises ValueError or OSError for what is not usable data, MissingPackage without aeon.
    """
    own = run.data
    if own.loader is not None:
        name, raw = f"loader {own.loader}", read_loader(own.loader)
    else:
        assert own.source is not None
        raw = read_source(own.source, Path(path).parent)
        name = own.source if isinstance(own.source, str) else own.source[0]
    return prepare(
        name, raw, normalise=own.normalise, pad=own.pad, validation=own.validation,
        split_seed=own.split_seed, scale_targets=own.scale_targets, task=run.model.task,
        classes=classes,
    )  # fmt: skip


def settings(run: Run) -> dict[str, Any]:
    """Everything that decides the numbers of a run, by "section.field"."""
    sections: dict[str, dict[str, Any]] = msgspec.to_builtins(run)
    return {
        f"{section}.{name}": value
        for section, fields in sections.items()
        for name, value in fields.items()
        if not (section == "training" and name in FREE)
    }


def _check(run: Run) -> None:
    """Raises ValueError for values that no run can have."""
    data, training = run.data, run.training
    if (data.source is None) == (data.loader is None):
        raise ValueError("[data] needs `source` or `loader`, one of the two.")
    if not 0.0 <= data.validation < 1.0:
        raise ValueError(
            f"[data] validation is {data.validation}, but it is the part of the training split "
            "that is put aside: 0 <= validation < 1."
        )
    if (training.epochs is None) == (training.steps is None):
        raise ValueError("[training] needs `epochs` or `steps`, one of the two.")
    counts = ("epochs", "steps", "batch", "evaluate_every", "checkpoint_every", "patience",
              "devices", "norm_samples")  # fmt: skip
    fields = [("training", name, getattr(training, name)) for name in counts]
    fields += [("model", "output_step", run.model.output_step)]
    fields += [("bptt", "rematerialise", run.bptt.rematerialise), ("rhel", "chunk", run.rhel.chunk)]
    fields += [("fixed", "lanes", run.fixed.lanes), ("rhel", "epsilon", run.rhel.epsilon)]
    for section, name, value in fields:
        if value is not None and not value > 0:
            raise ValueError(f"[{section}] {name} is {value}, but it must be > 0.")
    if run.rhel.epsilon is not None and run.rhel.echoes != "fixed":
        raise ValueError(
            f'[rhel] epsilon is {run.rhel.epsilon}, but echoes = "{run.rhel.echoes}" finds its '
            'own: say echoes = "fixed", or leave epsilon out.'
        )
    seeds = training.seeds
    if not seeds or len(set(seeds)) != len(seeds) or not 0 <= min(seeds) <= max(seeds) < 2**32:
        raise ValueError(
            f"[training] seeds is {list(seeds)}, but it must hold different whole numbers, one or "
            "more, from 0 to 2^32 - 1."
        )
    for name in ("margin", "weight_margin"):
        if (bits := getattr(run.fixed, name)) < 0:
            raise ValueError(f"[fixed] {name} is {bits}, but it must be >= 0.")
    if training.batch % training.devices:
        raise ValueError(
            f"[training] batch is {training.batch}, which {training.devices} devices cannot share "
            "evenly."
        )
    if training.devices > 1 and training.gradient == "rhel-fixed":
        raise ValueError(
            f'[training] devices is {training.devices}, but gradient = "rhel-fixed" runs on one.'
        )
    if training.metric == "accuracy" and run.model.task == "regression":
        raise ValueError('[training] metric is "accuracy", but a regression has none: use "loss".')
    make_optimiser(run.optimiser)


def _explained(said: str) -> str:
    """msgspec's complaint in this project's words."""
    text, _, place = said.partition(" - at `$")
    names = [name for name in place.rstrip("`").split(".") if name]
    known = _field_type(names)
    where = " ".join(f"[{names[0]}] {'.'.join(names[1:])}".split()) if names else "the file"
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", text):
        fields = ", ".join(field.name for field in msgspec.structs.fields(known))
        kind = "field" if names else "section"
        return f"{where} has no {kind} {found[1]!r}; it knows {fields}."
    if found := re.fullmatch(r"Object missing required field `(.*)`", text):
        return f"{where} lacks {found[1] if names else f'the section [{found[1]}]'}."
    if found := re.fullmatch(r"Invalid enum value '(.*)'", text):
        choices = " or ".join(repr(choice) for choice in get_args(known))
        return f"{where} is {found[1]!r}, but it must be {choices}."
    if found := re.fullmatch(r"Expected `(.*)`, got `(.*)`", text):
        wanted = " or ".join(part for part in found[1].split(" | ") if part != "null")
        return f"{where} is of type {found[2]}, but {wanted} is needed."
    return f"{where}: {text}."


def _field_type(names: list[str]) -> Any:
    """The type that a path of field names leads to."""
    kind: Any = Run
    for name in names:
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return kind
        name = name.partition("[")[0]
        kind = next(f.type for f in msgspec.structs.fields(kind) if f.name == name)
        inner = [own for own in get_args(kind) if get_origin(own) is Literal]
        kind = inner[0] if inner else kind
    return kind
