"""`el.prove`: a proof, or a counterexample in words."""

from __future__ import annotations

from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.prove.counterexample import TRIED, Counterexample, counterexample
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


def prove(program: CompiledProgram, limit_s: float = LIMIT_S) -> Proof:
    """The proof that `program`'s step is taken back by its echo's, for all states, inputs and
    coefficients: every claim and lemma that it is made of.

    Raises NotRetraced where it is not, and Undecided (a RuntimeError) if the solver takes longer
    than `limit_s` seconds for one claim.
    """
    proof = decided(program.artifact, limit_s)
    if proof.refuted:
        raise NotRetraced(proof, counterexample(program.artifact))
    return proof
