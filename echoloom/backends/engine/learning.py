"""A training as passes of an engine: sequences, and after each batch an update of every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from echoloom.backends.engine.requests import PassRequest, PassResult
from echoloom.backends.engine.sweeps import pass_request, swept
from echoloom.backends.run.integers import Words
from echoloom.backends.run.learning_run import (
    BatchSums,
    Lesson,
    Tensor,
    UpdatedWords,
    goes_on,
    plan_of,
    steps_at,
    tensors_of,
)
from echoloom.backends.run.levels import Artifact
from echoloom.ir.contract import Image, Register, Space
from echoloom.ir.host import Sweep
from echoloom.ir.learning import ScaledUpdate
from echoloom.ir.passes.layout import Place
from echoloom.ir.passes.learning_plan import LearnedTensor
from echoloom.ir.update_rules import noise_keys

Access = tuple[Space, int, int]


@dataclass(frozen=True, eq=False)
class LearningPass:
    """A pass of a training, and what it is: a sweep of a sequence of the batch, or an update's part
    for one tensor."""

    request: PassRequest
    sweep: Sweep | None = None
    tensor: str = ""


class LearningPasses:
    """Writes the passes of a program's trainings, and reads what they gave."""

    def __init__(self, artifact: Artifact, image: Image):
        self.artifact, self.image, self.plan = artifact, image, plan_of(artifact)
        self.tensors: Sequence[Tensor] = tensors_of(artifact)
        self.accumulators = tuple(t.accumulator for t in self.tensors)
        self._lanes = artifact.mapped.config.lanes

    def sequence(
        self, lesson: Lesson, update: int, number: int, outputs: Words
    ) -> Iterator[LearningPass]:
        """Forward pass and echo of sequence `number` of an update's batch, whose forward pass gives
        these outputs. The sums are read after the batch's last one."""
        forward = self.forward(lesson, update, number)
        yield forward
        last = number == len(lesson.order[update]) - 1
        yield self.echo(lesson, update, number, forward, outputs, sums=last)

    def forward(self, lesson: Lesson, update: int, number: int) -> LearningPass:
        """The forward pass of sequence `number` of an update's batch."""
        samples = lesson.xs[lesson.order[update, number]]
        return self._swept(replace(self.artifact.host.forward(samples), states=()))

    def echo(
        self,
        lesson: Lesson,
        update: int,
        number: int,
        forward: LearningPass,
        outputs: Words,
        *,
        sums: bool,
    ) -> LearningPass:
        """The echo after it, where it gave these outputs; then `sums` are read if that is said."""
        assert forward.sweep is not None
        begins = number == 0 and (update == 0 or not goes_on(self.plan))
        label = lesson.labels[lesson.order[update, number]]
        echo = self.artifact.host.echo(
            forward.sweep, outputs, label, shared=lesson.shared, adds=not begins
        )
        return self._swept(replace(echo, states=(), sums=self.accumulators if sums else ()))

    def _swept(self, sweep: Sweep) -> LearningPass:
        return LearningPass(pass_request(self.artifact, self.image, sweep), sweep)

    def update(self, update: int) -> Iterator[LearningPass]:
        """The passes that update every tensor. After the last one all weights are read."""
        scaled = isinstance(self.plan.rule, ScaledUpdate)
        steps = steps_at(self.plan, self.tensors, update)
        ahead = self._noise(update)
        for number, (t, own) in enumerate(zip(self.tensors, self.plan.tensors, strict=True)):
            scalars = ((self.plan.step, steps[number]), (self.plan.lift, t.lift))
            writes = (*ahead, *((Space.VECTOR, 0, at, word) for at, word in scalars))
            ahead = ()
            if scaled:
                yield LearningPass(_over_rows("scan", own, writes), tensor=t.name)
                writes = ()
            reads = self.weight_reads if number == len(self.tensors) - 1 else ()
            yield LearningPass(_over_rows("update", own, writes, reads), tensor=t.name)

    def _noise(self, update: int) -> tuple[tuple[Space, int, int, int], ...]:
        rule, at = self.plan.rule, self.plan.noise
        if not isinstance(rule, ScaledUpdate) or at is None:
            return ()
        keys = noise_keys(rule.seed, update, self._lanes).tolist()
        return tuple((Space.VECTOR, lane, at, key) for lane, key in enumerate(keys))

    @property
    def weight_reads(self) -> tuple[Access, ...]:
        """Where every weight that learns is, tensor by tensor."""
        return tuple(
            (Space.WEIGHT, lane, address)
            for t in self.plan.tensors
            for _, lane, address in t.weight.elements(self._lanes)
        )

    @property
    def sum_reads(self) -> tuple[Access, ...]:
        """Where the sums are that updates go by."""
        return tuple(
            (Space.GRADIENT, lane, address)
            for t in self.plan.tensors
            for _, lane, address in t.gradient.elements(self._lanes)
        )

    def batch_sums(self, found: Sequence[tuple[LearningPass, PassResult]]) -> BatchSums:
        """What the passes of a batch's sequences gave."""
        host = self.artifact.host
        gave = [(one.request.kind, swept(self.artifact, one.sweep, result))
                for one, result in found if one.sweep is not None]  # fmt: skip
        forward = [own for kind, own in gave if kind == "forward"]
        echoes = [own for kind, own in gave if kind != "forward"]
        return BatchSums(
            tuple(host.outputs(own) for own in forward),
            np.array([own.flags for own in forward]),
            np.array([own.flags for own in echoes]),
            echoes[-1].sums,
        )

    def updated(self, found: Sequence[tuple[LearningPass, PassResult]]) -> UpdatedWords:
        """What the passes of an update gave."""
        by_kind = {
            kind: {one.tensor: own for one, own in found if one.request.kind == kind}
            for kind in ("scan", "update")
        }
        updates, scans = by_kind["update"], by_kind["scan"]
        return UpdatedWords(
            self.weights(iter(found[-1][1].reads.tolist())),
            {name: own.clamped for name, own in updates.items()},
            {name: own.peak for name, own in scans.items()},
            {name: own.flags | (scans[name].flags if name in scans else 0)
             for name, own in updates.items()},
        )  # fmt: skip

    def weights(self, words: Iterator[int]) -> dict[str, Words]:
        """The tensors that these words are, as `weight_reads` has them."""
        shapes = {d.name: d.type.shape for d in self.artifact.program.coefficients}
        return {t.name: _gathered(t.weight, self._lanes, words, shapes[t.name])
                for t in self.plan.tensors}  # fmt: skip


def _gathered(place: Place, lanes: int, words: Iterator[int], shape: tuple[int, ...]) -> Words:
    flat = np.empty(place.rows * place.columns, np.int64)
    for index, _, _ in place.elements(lanes):
        flat[index] = next(words)
    return flat.reshape(shape)


def _over_rows(
    kind: Literal["scan", "update"],
    tensor: LearnedTensor,
    writes: tuple[tuple[Space, int, int, int], ...],
    reads: tuple[Access, ...] = (),
) -> PassRequest:
    """A pass over all rows of a tensor."""
    return PassRequest(
        kind,
        np.zeros((tensor.rows, 0), np.int64),
        {
            Register.WEIGHT_ROW: tensor.weight.address,
            Register.GRADIENT_ROW: tensor.gradient.address,
        },
        writes,
        reads,
    )
