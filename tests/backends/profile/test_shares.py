"""Shares of the error: which formats there are, what one alone does, and who is to blame."""

from __future__ import annotations

import re

import pytest
from studied import studied
from tiny_programs import STEPS

from echoloom.backends.profile.coarser import coarser
from echoloom.backends.profile.grid import Choices, measure_grid
from echoloom.backends.profile.profile import Bound, Profile, measure_profile
from echoloom.backends.profile.shares import Shares, measure_shares
from echoloom.backends.profile.signals import Kind, short, signals
from echoloom.backends.profile.subject import Subject
from echoloom.ir.formats import Q
from echoloom.ir.ops import Op
from echoloom.ir.passes.format_classes import Word
from echoloom.ir.precision import Precision
from echoloom.ir.program import Program
from echoloom.ir.sections import Section


def words_of(program: Program) -> dict[tuple[Section, str], Q]:
    """Formats of all words that something is rounded to."""
    return {
        (body.section, i.name): i.type.q
        for body in program.bodies
        for i in body.instrs
        if i.op in (Op.REQUANT, Op.TABLE)
    }


def shares_of(of: Subject) -> Shares:
    return measure_shares(of, of.exact(of.X.shape[1]), lambda done, total: None)


@pytest.fixture(scope="module")
def measured(small) -> Shares:
    return shares_of(small)


def test_every_word_is_of_one_signal(small):
    found = signals(small.words)
    named = [word for signal in found for word in signal.words]
    assert len(named) == len(set(named))
    kinds = {signal.name: signal.kind for signal in found}
    assert {w.name for s in found if s.kind is Kind.STATE for w in s.words} >= {
        "b0.free.q", "b0.free.p", "b0.plus.q", "b0.minus.p",
    }  # fmt: skip
    assert kinds["b0.unit.drive"] is Kind.COEFFICIENT
    narrow = small.widths.narrow
    assert all(s.q.width == narrow for s in found if s.kind in (Kind.COEFFICIENT, Kind.COPY))
    back = {w.section for s in found if s.kind is Kind.BACK for w in s.words}
    assert back <= {None, Section.ECHO_PROLOGUE, Section.ECHO_STEP}
    stored = {name for _, name in words_of(small.words.program)}
    parts = {n for n in stored if not any(n == w.name for w in named)}
    assert all(n.endswith((".rounded", ".next", ".near")) or ".upper." in n for n in parts), parts


def test_one_format_is_coarser_and_no_other_rounds_for_it(small):
    made, before = coarser(small), words_of(small.words.program)
    for signal in signals(small.words):
        integer = made.program(signal, 3)
        after = words_of(small.words.program if integer is None else integer.program)
        own = {w.name for w in signal.words}
        moved = {key[1]: q.scalar_frac - after[key].scalar_frac for key, q in before.items()}
        assert set(moved.values()) <= {0, 1, 2, 3}, signal
        if signal.kind is Kind.COEFFICIENT:
            assert integer is not None and not any(moved.values())
        elif signal.kind is Kind.COPY:
            assert {name for name, bits in moved.items() if bits} == own
        elif integer is not None and signal.kind is not Kind.TABLE:
            assert all(moved[name] == 3 for name in own & moved.keys()), signal


def test_shares_are_parts_of_the_error(measured):
    for name, error in measured.errors.items():
        assert error > 0.0
        parts = [measured.part(name, share) for share in measured.shares]
        assert min(parts) >= 0.0
        assert sum(parts) + measured.rest(name) == pytest.approx(1.0)
        assert measured.widened(name, measured.largest(name)) < error**0.5


def test_what_overflows_at_the_chosen_point_is_named(small):
    word = Word(None, "b0.free.q")
    formats = {word: small.precision.formats[word].shifted(4)}
    short_of_range = studied(Precision(small.precision.widths, {}, small.precision.nudges, formats))
    found = measure_profile(short_of_range, Choices((28,), (18,), (0,), (STEPS,)), Bound())
    assert found.chosen.overflowed > 0 and not found.bound.met_by(found.chosen)
    first, *others = found.advice()
    assert re.search(r"of 2 sequences overflow, in sequence 0 .*b0\.", first), first
    assert not any("widen next" in sentence for sentence in others)


@pytest.mark.parametrize(
    "word", [Word(Section.FORWARD_STEP, "b0.drive.t1"), Word(None, "b0.unit.drive")]
)
def test_a_format_of_six_bits_less_is_named(small, measured, word):
    own = small.precision.formats[word]
    formats = {word: own.shifted(-6)}
    spoilt = studied(Precision(small.precision.widths, {}, small.precision.nudges, formats))
    found = shares_of(spoilt)
    assert found.errors[found.worst] > 10 * measured.errors[found.worst]
    largest = found.largest(found.worst)
    assert word.name in {w.name.removesuffix(".narrow") for w in largest.signal.words}
    assert found.part(found.worst, largest) > 0.5
    choices = Choices((28,), (18,), (0,), (STEPS,))
    points = measure_grid(spoilt, choices, lambda done, total: None)
    profile = Profile(
        spoilt.widths, spoilt.program.epsilons, 2, STEPS, Bound(), choices, points, found, ()
    )
    assert f"{largest.signal}, {short(largest.signal.q)}" in " ".join(profile.advice())
