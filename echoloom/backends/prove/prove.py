"""`el.prove`: a proof, or a counterexample in words."""

from __future__ import annotations

from dataclasses import dataclass

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.prove.counterexample import TRIED, Counterexample, counterexample
from echoloom.backends.prove.legality import Played, schedules_played
from echoloom.backends.prove.reversibility import LIMIT_S, Proof, decided


class NotRetraced(ValueError):
    """A program whose echo does not retrace it; `counterexample`, where one was found."""

    def __init__(self, proof: Proof, found: Counterexample | None) -> None:
        claim = proof.refuted[0]
        said = f"{found}" if found else f"no case of it among {TRIED} states of every size"
        super().__init__(f"the echo does not take back {claim}: {said}")
        self.proof, self.counterexample = proof, found

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.proof, self.counterexample), self.__dict__


class NotLegal(ValueError):
    """A schedule that the engine may not play."""


@dataclass(frozen=True)
class Proven:
    """That steps are taken back, and that schedules may be played as the image has them."""

    steps: Proof
    schedules: tuple[Played, ...]

    @property
    def seconds(self) -> float:
        return self.steps.seconds + sum(own.seconds for own in self.schedules)


def prove(program: CompiledProgram, limit_s: float = LIMIT_S) -> Proven:
    """The proof that `program`'s step is taken back by its echo's, for all states, inputs and
    coefficients, and that its schedules keep the engine's contract: every claim and lemma.

    Raises NotRetraced and NotLegal (ValueErrors) where they are not, and Undecided (a RuntimeError)
    if the solver takes longer than `limit_s` seconds for one claim.
    """
    steps = decided(program.artifact, limit_s)
    if steps.refuted:
        raise NotRetraced(steps, counterexample(program.artifact))
    schedules = tuple(schedules_played(program.artifact.mapped, program.image))
    for own in schedules:
        for sentence in own.wrong:
            raise NotLegal(f"the schedule of {own.section.name.lower()}: {sentence}")
    return Proven(steps, schedules)
