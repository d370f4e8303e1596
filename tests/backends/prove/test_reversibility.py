"""Proofs that a step retraces itself; and programs that do not, refuted by words that replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import bitwuzla as smt
import jax
import pytest
from hamiltonians import GALLERY

import echoloom as el
from echoloom.backends.prove.counterexample import Counterexample, counterexample, retraced
from echoloom.backends.prove.reversibility import decided
from echoloom.backends.prove.words import Solver, Undecided, Words
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.arithmetic import Overflow, Rounding
from echoloom.ir.ops import Op, Requant, Scale
from echoloom.ir.program import Body, Instr
from echoloom.ir.reversible import paths
from echoloom.ir.sections import Section
from echoloom.ir.widths import Widths
from tests.backends.tiny_programs import samples, small_model

pytestmark = pytest.mark.usefixtures("compile_in_haste")

BOTH = (Section.FORWARD_STEP, Section.ECHO_STEP)
ECHO = (Section.ECHO_STEP,)


@lru_cache
def compiled(unit: str = "linear", **others: Any) -> el.CompiledProgram:
    own: Any = GALLERY[unit](4, jax.random.key(1)) if unit in GALLERY else unit
    state = GALLERY[unit].positions if unit in GALLERY else 2
    model = small_model(unit=own, state=state, step=0.2, **others)
    return el.compile(model, samples(), lanes=2)


@pytest.mark.parametrize(
    ("unit", "others"),
    [
        ("linear", {}),
        ("nonlinear", {}),
        ("linear", {"integrator": "imex"}),
        ("linear", {"substeps": 3}),
        ("nonlinear", {"integrator": "imex", "substeps": 2, "blocks": 2}),
        ("henon_heiles", {}),  # couples its positions
        ("relativistic", {}),  # a velocity that goes through tables
        ("dense_mass", {}),  # and one that is a matrix product
    ],
)
def test_every_move_of_a_step_is_proven_to_be_taken_back(unit: str, others: dict[str, Any]) -> None:
    program = compiled(unit, **others)
    proof = decided(program.artifact)
    assert not proof.refuted
    free = [n for c, n in program.artifact.program.coordinates().items() if ".free." in n]
    moved = {claim.state for claim in proof.claims if claim.move}
    assert moved == set(free)
    assert {claim.state for claim in proof.claims if claim.move == 0} == set(free)
    steps = paths(program.artifact.program.body(Section.FORWARD_STEP))
    for state in free:
        moves = sorted(claim.move for claim in proof.claims if claim.state == state)
        assert moves == list(range(len(steps[state].values)))


def test_a_velocity_of_a_table_is_odd_in_all_its_segments() -> None:
    proof = decided(compiled("saturating_velocity").artifact)
    assert not proof.refuted
    assert any("table tanh" in lemma.what for lemma in proof.lemmas)


@pytest.mark.parametrize("word", [12, 21])
def test_proofs_hold_at_other_word_lengths(word: int) -> None:
    widths = Widths(word, narrow := word - 3, word + narrow + 6, margin=1)
    artifact = el.compile(small_model(step=0.2), samples(), lanes=2, widths=widths).artifact
    proof = decided(artifact)
    assert not proof.refuted
    assert counterexample(artifact) is None


# Programs that do not retrace themselves

Edit = Callable[[Body, Instr], Instr]


@dataclass(frozen=True)
class Sabotage:
    """An edit of the instructions of these sections for which `at` is true."""

    sections: Iterable[Section]
    edit: Edit


def edited(artifact: IntegerProgram, own: Sabotage) -> IntegerProgram:
    bodies = tuple(
        replace(b, instrs=tuple(own.edit(b, i) for i in b.instrs))
        if b.section in own.sections
        else b
        for b in artifact.program.bodies
    )
    assert bodies != artifact.program.bodies
    return replace(artifact, program=replace(artifact.program, bodies=bodies))


def _requantised(name: str, **how: Any) -> Edit:
    def edit(body: Body, instr: Instr) -> Instr:
        if instr.name != name:
            return instr
        assert isinstance(instr.attr, Requant)
        return replace(instr, attr=replace(instr.attr, **how))

    return edit


def _whole_step(body: Body, instr: Instr) -> Instr:
    """The force of the echo sees the position before the drift."""
    if "free.force" not in instr.name:
        return instr
    args = tuple("b0.free.q" if a == "b0.free.first.q" else a for a in instr.args)
    return replace(instr, args=args)


def _not_turned(body: Body, instr: Instr) -> Instr:
    """Momenta are not turned round between the sweeps."""
    if instr.op is not Op.SCALE or "flipped" not in instr.name:
        return instr
    return replace(instr, attr=Scale(1.0))


SABOTAGES = {
    "floor": Sabotage(BOTH, _requantised("b0.free.first.q.rounded", rounding=Rounding.FLOOR)),
    "half_up": Sabotage(BOTH, _requantised("b0.free.second.q.rounded", rounding=Rounding.HALF_UP)),
    "saturating": Sabotage(BOTH, _requantised("b0.free.kick.p", overflow=Overflow.SATURATE)),
    "whole_step": Sabotage(ECHO, _whole_step),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_what_does_not_retrace_is_refuted_by_words_that_replay(name: str) -> None:
    artifact = edited(compiled().artifact, SABOTAGES[name])
    proof = decided(artifact)
    assert proof.refuted
    found = counterexample(artifact)
    assert found is not None
    assert str(found.before) in str(found) and found.state in str(found)
    after, fine = retraced(artifact, found.states, found.frame)
    assert fine
    assert after[found.state][found.element] == found.after != found.before
    assert found.states[found.state][found.element] == found.before


def test_the_program_itself_has_no_counterexample_among_those_tried() -> None:
    artifact = compiled().artifact
    assert counterexample(artifact) is None


def test_momenta_that_are_not_turned_are_refuted() -> None:
    own = Sabotage((Section.ECHO_PROLOGUE,), _not_turned)
    proof = decided(edited(compiled().artifact, own))
    assert [claim.move for claim in proof.refuted] == [0]
    assert "the turn of b0.free.p" in str(proof.refuted[0])


def test_a_program_that_is_refuted_is_said_in_one_sentence() -> None:
    program = compiled()
    bad = replace(program, artifact=edited(program.artifact, SABOTAGES["floor"]))
    with pytest.raises(el.NotRetraced, match=r"does not take back move . of b0.free.q.*off by"):
        el.prove(bad)


def test_a_solver_without_time_is_no_proof() -> None:
    """No solver finds the factors of a number of 60 bits in an instant."""
    words = Words()
    x, y = words.symbol("x"), words.symbol("y")
    known = words.make(smt.Kind.BV_MUL, x, y)
    prime = words.make(smt.Kind.DISTINCT, known, words.number(1_000_000_007 * 998_244_353))
    factors = [words.make(smt.Kind.BV_SGT, factor, words.number(1)) for factor in (x, y)]
    small = [words.within(factor, 32) for factor in (x, y)]
    with pytest.raises(Undecided, match=r"neither a proof nor a refutation in 0\.01 s"):
        Solver(words, 0.01).refuted(prime, [*factors, *small], [x, y])


def test_a_counterexample_keeps_its_words() -> None:
    artifact = edited(compiled().artifact, SABOTAGES["floor"])
    found = counterexample(artifact)
    assert isinstance(found, Counterexample)
    assert set(found.frame) == {"x"}
