"""What `el.compile` returns: a model on an engine, with its numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import equinox as eqx
import jax

from echoloom.backends.compile.archive import Contents, packed, unpacked
from echoloom.backends.compile.coefficients import as_held, coefficient_words
from echoloom.backends.compile.learned import LearnResult, Watch, lesson_of, trained
from echoloom.backends.compile.new_weights import new_weights
from echoloom.backends.compile.raw_gradients import (
    coefficient_gradients,
    gradients_of_sums,
    raw_gradient,
)
from echoloom.backends.compile.refusals import said_of
from echoloom.backends.compile.rounding import Rounding, worst_roundings
from echoloom.backends.compile.stream import Stream
from echoloom.backends.run.beginnings import begun_at
from echoloom.backends.run.excess import Kept, Locate, nowhere, overflowed
from echoloom.backends.run.integers import Floats, output_type, to_real
from echoloom.backends.run.levels import numpy_run
from echoloom.backends.run.stream_levels import stream_level
from echoloom.backends.run.watched import overflow_of
from echoloom.frontend.data.files import write_whole
from echoloom.frontend.data.samples import host_sequence
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.sizes import BlockSizes, Sizes
from echoloom.frontend.models.stack import Folding, folded_stack
from echoloom.ir.contract import Image
from echoloom.ir.host import RunResult
from echoloom.ir.passes.image import image
from echoloom.ir.passes.learning_plan import LearningPlan
from echoloom.ir.program import Program


@dataclass(frozen=True, eq=False)
class CompiledProgram(Contents):
    """A model compiled for an engine. All numbers it gives are those of the fabric."""

    folding: Folding | None = field(default=None, repr=False)

    @cached_property
    def folded(self) -> Folding:
        """How raw parameters become coefficients; a loaded program traces its model for it."""
        return folded_stack(self.model) if self.folding is None else self.folding

    @property
    def ir(self) -> Program:
        """The integer program; str() of it is its text."""
        return self.artifact.program

    def __str__(self) -> str:
        return str(self.ir)

    def __getstate__(self) -> dict[str, Any]:
        """What `pickle` and `copy` take along; the folding holds traced code and is made anew."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "folding": None}

    @property
    def learning(self) -> LearningPlan | None:
        """What of it a board updates by itself, by which rule, and where it is; None where it was
        compiled for no rule."""
        return self.artifact.mapped.learning

    @cached_property
    def image(self) -> Image:
        """Memory contents to load into the engine."""
        return image(self.artifact.mapped, self.artifact.coefficients)

    @cached_property
    def rounding(self) -> dict[str, Rounding]:
        """Which "input channel", "row" and "column" of a weight matrix (or element of a vector)
        rounding takes most of, and how much, in parts of its own largest magnitude."""
        return worst_roundings(self.artifact, self.coefficient_values(self.model), self.peaks)

    def run(self, x: Any, label: Any = None, initial: Any = None) -> RunResult:
        """All integers of x [T, inputs]; with a label or targets, of the echo too.

        The sequence begins at rest, or where `initial` says: a pair (q0, p0) of real vectors for
        every block, or the state of a stream. ValueError for malformed input, InputRange (a
        ValueError) outside the calibrated range.
        """
        x, label = host_sequence(self.model, x, label)
        carried = None if initial is None else begun_at(self.artifact, initial)
        return numpy_run(self.artifact, x, label, carried=carried)

    def stream(self, window: int = 0, initial: Any = None, level: str = "numpy") -> Stream:
        """A sequence without an end, to push samples into: the integers of one long sequence.

        It keeps the last `window` samples, for gradients over them, and begins as `run` does: a
        saved state is put back as `initial`. `level`: "numpy", or "jax" for speed.
        Raises WrongState (a ValueError) for another program's state.
        """
        return Stream(self, stream_level(self.artifact, level), window, initial)

    def predict(self, x: Any, initial: Any = None) -> Floats:
        """float64 view of the integer outputs. Overflowed, which names the first word that left its
        range, when an overflow flag was raised."""
        result = self.run(x, initial=initial)
        return self.real_outputs(result, lambda: self.overflow(x, initial=initial))

    def gradient(self, x: Any, label: Any, initial: Any = None) -> HSSM:
        """float64 gradient of the loss of one sequence, on the raw parameters.

        A pytree like `bptt_gradient`'s. Overflowed, which names the first word that left its range,
        when an overflow flag was raised.
        """
        result = self.run(x, label, initial)
        return self.real_gradient(result, len(x), lambda: self.overflow(x, label, initial))

    def real_outputs(self, result: RunResult, locate: Locate = nowhere) -> Floats:
        """`predict` from a run's integers, wherever they were computed. `locate` finds what
        overflowed."""
        _insist(result, locate)
        return to_real(result.outputs, output_type(self.ir).q)

    def real_gradient(self, result: RunResult, length: int, locate: Locate = nowhere) -> HSSM:
        """`gradient` from a run's integers, wherever they were computed; `length` is that of x.
        `locate` finds what overflowed."""
        _insist(result, locate)
        return self.raw_gradient(result, length)

    def overflow(self, x: Any, label: Any = None, initial: Any = None) -> Kept | None:
        """The first word that overflows when `run` is given these, and the sequence; None where
        none does. It runs again under NumPy for that."""
        x, label = host_sequence(self.model, x, label)
        carried = None if initial is None else begun_at(self.artifact, initial)
        return overflow_of(self.artifact, x, label, carried)

    def coefficient_gradients(self, result: RunResult, length: int) -> dict[str, Floats]:
        """float64 gradients of the folded coefficients, by name, from a run's integers.

        From a batch's integers every sequence's own, with a first axis [n].
        """
        return coefficient_gradients(self.artifact, result, length)

    def gradients_of_sums(
        self, sums: Mapping[str, Floats], exponent: Any, outputs: tuple[int, ...], length: int
    ) -> dict[str, Floats]:
        """`coefficient_gradients` from the accumulators' real values; `outputs` is the shape."""
        return gradients_of_sums(self.artifact, sums, self._held, exponent, outputs, length)

    @cached_property
    def _held(self) -> dict[str, Floats]:
        return as_held(self.artifact)

    def coefficient(self, name: str) -> Floats:
        """float64 view of a coefficient as the fabric holds it."""
        return self._held[name]

    def raw_gradient(self, result: RunResult, length: int) -> HSSM:
        """Gradients of a run chained from the folded coefficients back to the raw parameters."""
        return raw_gradient(self.folded, self.model, self.coefficient_gradients(result, length))

    def coefficient_values(self, model: HSSM) -> dict[str, Floats]:
        """float64 coefficients of `model` by the program's names, before they are rounded."""
        values = self.folded.values(model)
        for d in self.ir.coefficients:
            if d.fixed:
                values[d.name] = self.coefficient(d.name)
            elif d.half_of:
                values[d.name] = values[d.half_of]
        return values

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file, whole or not at all; `echoloom.load` reads it."""
        write_whole(path, packed(self))

    def learn(
        self,
        X: Any,
        y: Any,
        updates: int | None = None,
        level: str = "numpy",
        order: Any = None,
        exponent: int | None = None,
        watch: Watch = lambda number, update: None,
    ) -> LearnResult[CompiledProgram]:
        """Learn from sequences X [n][T, inputs] with labels y, as the board would: all integers.

        Every update takes a batch, in the order of `order` [updates, batch] or else of one random
        permutation of all sequences after the other; there are `updates` of them, or the rule's.
        `level`: "numpy", or "jax" for speed. `exponent`: errors are told times 2**-exponent; if not
        given, a classification's as they are and a regression's so large that the largest of the
        first batch is in [0.5, 1). `watch` sees every update, with its number.

        ValueError, in one sentence, for what does not fit.
        """
        return trained(self, lesson_of(self, X, y, updates, order, exponent), level, watch)

    def with_weights(self, words: Mapping[str, Any]) -> CompiledProgram:
        """The same program with these words, by name, of weights that learn.

        Its `model` is the one whose raw parameters fold to them exactly. ValueError, in one
        sentence, for words of other names, shapes or ranges.
        """
        model, held = new_weights(self, self.folded, words)
        artifact = replace(self.artifact, coefficients=held)
        return replace(self, model=model, artifact=artifact, folding=self.folded)

    def with_parameters(self, model: HSSM) -> CompiledProgram:
        """The same formats and schedule with another model's parameters.

        CoefficientRange names the first coefficient that its format cannot hold; ValueError for a
        model that is not of this program's sizes.
        """
        check(model)
        _check_alike(model, self.model)
        with said_of(model, self.folded.plans):
            words = coefficient_words(self.ir, self.coefficient_values(model))
        artifact = replace(self.artifact, coefficients=words)
        return replace(self, model=model, artifact=artifact, folding=self.folded)


def _insist(result: RunResult, locate: Locate) -> None:
    if result.overflow:
        raise overflowed(locate())


# What a model is beside its numbers, by the names of its properties; `_fixed_parts` has the rest.
SIZES = [
    f.name
    for kind in (Sizes, BlockSizes)
    for f in fields(kind)
    if f.name not in ("blocks", "unit", "step")
]


def _check_alike(model: HSSM, compiled: HSSM) -> None:
    """ValueError unless `model` differs from the compiled one in its numbers only."""
    for name in SIZES:
        new, old = getattr(model, name), getattr(compiled, name)
        if new != old:
            raise ValueError(
                f"the new model has {name} = {new}, but this program was compiled for {old}; "
                "compile the new model instead of reusing formats"
            )
    if _fixed_parts(model) != _fixed_parts(compiled):
        raise ValueError(
            "the new model has other blocks or units than the one that this program was compiled "
            "for; compile the new model instead of reusing formats"
        )


def _fixed_parts(model: HSSM) -> tuple[Any, list[Any]]:
    """What no parameter is: the structure, and leaves such as a module's activation."""
    return jax.tree.structure(model), jax.tree.leaves(eqx.filter(model, eqx.is_array, inverse=True))


def load(path: str | os.PathLike[str], unit: Hamiltonian | None = None) -> CompiledProgram:
    """The program that `save` wrote: the same integers at every level, the same image.

    `unit` is needed for a model with a Hamiltonian of its own, as in `load_model`. Raises
    CorruptProgram, in one sentence, for any other file, ValueError for another unit than the saved
    one, and OSError for a file that cannot be read.
    """
    with open(path, "rb") as file:
        return CompiledProgram(**vars(unpacked(file, path, unit)))
