"""A program with other words of its weights, and the raw model that folds to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np

from echoloom.backends.compile.coefficients import coefficient_words
from echoloom.backends.run.integers import Floats, Words, to_real
from echoloom.backends.run.levels import Artifact
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import Folding, float64
from echoloom.frontend.models.unfold import Unfolding
from echoloom.ir.formats import largest
from echoloom.ir.program import Program


class Weighed(Protocol):
    """What new weights need of a compiled program."""

    @property
    def model(self) -> HSSM: ...
    @property
    def artifact(self) -> Artifact: ...
    @property
    def ir(self) -> Program: ...
    def coefficient_values(self, model: HSSM) -> dict[str, Floats]: ...


def new_weights(
    program: Weighed, folding: Folding, words: Mapping[str, Any]
) -> tuple[HSSM, dict[str, Words]]:
    """The model whose coefficients round to these words, all others as they are; and all words.

    Its parameters keep their float type unless that is too coarse for them: then they are float64.
    ValueError, in one sentence, for words that the program does not have or that no model has.
    """
    given = _checked(program, words)
    wanted = {**program.artifact.coefficients, **given}
    types = {d.name: d.type for d in program.ir.coefficients}
    values = {name: to_real(own, types[name].q) for name, own in given.items()}
    wrong: list[str] = []
    with jax.enable_x64(True):
        for model in (program.model, float64(program.model)):
            found = Unfolding(model, folding).model_of(values)
            held = coefficient_words(program.ir, program.coefficient_values(found))
            wrong = [name for name, own in wanted.items() if not np.array_equal(held[name], own)]
            if not wrong:
                return found, wanted
    raise ValueError(f"no model of this program's kind has these words of {wrong[0]}")


def _checked(program: Weighed, words: Mapping[str, Any]) -> dict[str, Words]:
    types = {d.name: d.type for d in program.ir.coefficients}
    learning = program.artifact.mapped.learning
    learned = {} if learning is None else {t.name: t for t in learning.tensors}
    found: dict[str, Words] = {}
    for name, own in words.items():
        if name not in learned:
            raise ValueError(
                f"{name} is not among the weights that this program learns: "
                f"{', '.join(learned) or 'there are none'}"
            )
        array, shape = np.asarray(own), types[name].shape
        if array.shape != shape or array.dtype.kind not in "iu":
            raise ValueError(
                f"{name}: whole numbers of shape {list(shape)} are needed, got {array.dtype} of "
                f"shape {list(array.shape)}"
            )
        most = largest(types[name].q.width)
        least = 0 if learned[name].positive else -most
        if array.size and not (least <= array.min() and array.max() <= most):
            raise ValueError(
                f"{name}: its words go from {least} to {most}, got {array.min()} to {array.max()}"
            )
        found[name] = array.astype(np.int64)
    return found
