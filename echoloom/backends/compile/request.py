"""What is to be compiled: the arguments of `el.compile`, checked."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex

import equinox as eqx
import numpy as np
from numpy.typing import NDArray

from echoloom.backends.compile.arguments import (
    check_output_step,
    checked_rule,
    engine_sizes,
    target_named,
)
from echoloom.backends.compile.precision_argument import checked_precision, is_auto, precision_named
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.progress import Progress, silent
from echoloom.backends.compile.targets import Target
from echoloom.backends.run.integers import Floats
from echoloom.frontend.data.arrays import real_array
from echoloom.frontend.data.samples import check_inputs, check_samples
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.learning import Rule
from echoloom.ir.precision import Precision
from echoloom.ir.widths import Widths


@dataclass(frozen=True)
class Bounds:
    """What every tensor's gradient has to reach on every sequence: the least cosine, and how far
    its norm may be from the exact one, in parts of that."""

    cosine: float
    norm: float


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be compiled, and for which engine; all of it checked.

    samples [n, T, inputs] and targets [n, T', outputs] (None for classification, and where none
    were given) are float64. With `bounds` the precision is where a search for the cheapest begins,
    whose trials an `executor` makes. With an `earlier` program of the same model but for its
    parameters, graphs and code stay as they were there. A rule of `learning` comes with `labels`
    (or targets).
    """

    model: HSSM
    samples: Floats
    targets: Floats | None
    target: Target
    precision: Precision
    sizes: tuple[int, int, int]  # lanes, drains and slots
    earlier: CompiledProgram | None = None
    learning: Rule | None = None
    labels: NDArray[Any] | None = None
    bounds: Bounds | None = None
    executor: Executor | None = None
    progress: Progress = silent

    def __str__(self) -> str:
        shape = list(self.samples.shape)
        return f"{eqx.tree_pformat(self.model)}\n\nsamples {shape}\n{self.precision.widths}\n"


@dataclass(frozen=True, eq=False)
class Arguments:
    """What `compile` was called with."""

    model: HSSM
    samples: Any
    labels: Any
    target: str
    lanes: SupportsIndex
    drains: SupportsIndex | None
    slots: SupportsIndex
    widths: Widths | None
    weight_margin: SupportsIndex | None
    learning: Rule | None = None
    precision: Any = None
    progress: Progress = silent
    cosine: float = 0.999
    norm: float = 0.01
    executor: Executor | None = None


def checked(arguments: Arguments) -> Request:
    """The arguments as a request, or a ValueError in one sentence."""
    model, labels = arguments.model, arguments.labels
    target = target_named(arguments.target)
    sizes = engine_sizes(arguments.lanes, arguments.drains, arguments.slots)
    precision = _asked(arguments, target)
    check(model)
    check_output_step(model.output_step)
    samples = real_array("samples", arguments.samples).astype(np.float64)
    if labels is None:
        check_inputs(model, samples)
    else:
        _, labels = check_samples(model, samples, labels)
    rule = checked_rule(arguments.learning, labels is not None)
    return Request(
        model, samples, targets_of(model, labels), target, precision, sizes, None, rule, labels,
        _bounds(arguments), _executor(arguments.executor), arguments.progress,
    )  # fmt: skip


def _bounds(arguments: Arguments) -> Bounds | None:
    cosine, norm = arguments.cosine, arguments.norm
    for name, value in (("cosine", cosine), ("norm", norm)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < 1.0:
            raise ValueError(f"compile: {name} is {value!r}, but it must be between 0 and 1.")
    return Bounds(cosine, norm) if is_auto(arguments.precision) else None


def _executor(given: Any) -> Executor | None:
    if given is not None and not isinstance(given, Executor):
        raise ValueError(
            f"compile: executor is {given!r}, but it must be a concurrent.futures.Executor."
        )
    return given


def _asked(arguments: Arguments, target: Target) -> Precision:
    if arguments.precision is None or is_auto(arguments.precision):
        widths = target.widths if arguments.widths is None else arguments.widths
        precision = Precision(widths)
    elif arguments.widths is None:
        precision = precision_named(arguments.precision)
    else:
        raise ValueError("compile takes widths or a precision, which has widths, but not both")
    if arguments.weight_margin is not None:
        widths = replace(precision.widths, weight_margin=arguments.weight_margin)
        precision = replace(precision, widths=widths)
    return checked_precision(precision)


def targets_of(model: HSSM, labels: NDArray[Any] | None) -> Floats | None:
    """A regression's targets as the compiler takes them."""
    if labels is None or model.task == "classification":
        return None
    return labels.astype(np.float64)
