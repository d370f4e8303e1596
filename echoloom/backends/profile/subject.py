"""What is profiled: a compiled model, the sequences that judge it, and its compilation's stages, so
that variants of it need only the last of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from echoloom.backends.compile.arguments import checked_widths
from echoloom.backends.compile.figures import BatchQuality, sequences_quality
from echoloom.backends.compile.pipeline import Stage, compiled
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.raw_gradients import coefficient_gradients, raw_gradients
from echoloom.backends.compile.request import Arguments
from echoloom.backends.compile.search import Searched
from echoloom.backends.compile.stages import (
    Formatted,
    RealProgram,
    Source,
    formatted,
    integer_program,
)
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.levels import IntegerProgram, numpy_run
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.frontend.gradients.exact import Tensors, exact_gradients, tensors
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.passes.calibrate import Ranges
from echoloom.ir.precision import Precision
from echoloom.ir.widths import Widths, accumulator_for

# Steps of sequences for which JAX compiles longer than NumPy runs.
FEW = 1 << 14
Progress = Callable[[int, int], None]  # how much is done, and of how much


@dataclass(frozen=True, eq=False)
class Subject:
    """A compiled model with X [n, T, inputs], y [n] or targets [n, T', outputs] that judge it."""

    program: CompiledProgram
    precision: Precision  # the program's own, whole
    searched: Searched  # how it was found, where it was
    source: Source
    real: RealProgram
    ranges: Ranges
    words: Formatted
    X: Floats
    y: NDArray[Any]

    def data(self, length: int) -> tuple[Floats, NDArray[Any]]:
        """The first `length` steps of the sequences, and what is asked of them."""
        X = self.X[:, :length]
        if self.program.model.task == "classification":
            return X, self.y
        return X, self.y[:, : length // self.source.output_step]

    def exact(self, length: int) -> Tensors:
        """Backpropagation through time in float64, [n, ...] by tensor."""
        return exact_gradients(self.program.model, *self.data(length))

    @property
    def widths(self) -> Widths:
        return self.precision.widths

    def integer(self, word: int, narrow: int) -> IntegerProgram:
        """The model in words of other lengths, whose formats calibration gives. ValueError where
        they cannot be."""
        own = replace(self.widths, word=word, narrow=narrow, gradient=None,
                      accumulator=accumulator_for(word, narrow))  # fmt: skip
        asked = Precision(checked_widths(own), self.precision.margins)
        source = replace(self.source, precision=asked)
        return integer_program(source, self.real, formatted(source, self.real, self.ranges))


@dataclass(frozen=True, eq=False)
class Gradients:
    """Of every sequence the gradients [n, ...] by tensor, and the Flag bits [n] that its run
    raised."""

    tensors: Tensors
    flags: Words

    def quality(self, exact: Tensors) -> BatchQuality:
        """How good they are."""
        return sequences_quality(self.tensors, exact, self.flags)


def subject(arguments: Arguments, X: Floats, y: NDArray[Any] | None) -> Subject:
    """Compile as `el.compile` does and keep what its stages gave.

    X [n, T, inputs] is judged, by y; a classification's labels may be None: then each sequence has
    the class that the float model finds least likely, so that there is an error to learn from.
    """
    made: dict[str, Any] = {}

    def watch(stage: Stage, result: Any) -> None:
        made[stage.name] = result

    program = compiled(arguments, watch)
    if y is None:
        y = least_likely(arguments.model, X)
    assert program.precision is not None  # it has just been chosen
    return Subject(
        program, program.precision, made["search"], made["settings"], made["real"], made["ranges"],
        made["formats"], np.asarray(X, np.float64), y,
    )  # fmt: skip


def least_likely(model: HSSM, X: Floats) -> NDArray[Any]:
    """Of every sequence the class that the float model finds least likely."""
    inputs = jnp.asarray(X, model.encoder.weight.dtype)
    return np.asarray(jax.vmap(model)(inputs)).argmin(1)


def integer_gradients(
    of: Subject, integer: IntegerProgram, length: int, runs: int = 1
) -> Gradients:
    """Gradients of the first `length` steps as an integer program gives them.

    `runs`: how many programs that differ in formats and coefficients alone are going to be run,
    for which JAX compiles once.
    """
    X, y = of.data(length)
    if X.shape[0] * length * runs > FEW:
        result = JaxRunner(integer).run(X, y)
    else:
        result = numpy_run(integer, X, y, machine=StagedNumpyMachine)
    raw = raw_gradients(
        of.program.folded, of.program.model, coefficient_gradients(integer, result, length)
    )
    return Gradients(tensors(raw), result.forward_flags | result.echo_flags)
