"""Classes of words: what their words ask for together, and caps that only fall."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echoloom.ir.formats import Q
from echoloom.ir.passes.format_classes import Basis, FormatClass, grouped
from echoloom.ir.sections import Section
from echoloom.ir.word import Word

WORDS = [Word(None, "q"), *(Word(Section.FORWARD_STEP, name) for name in "abcd")]
NEEDS = [(w, FormatClass(2.0**n, 28 - n, n, n == 1, n == 2)) for n, w in enumerate(WORDS)]
PAIRS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)))


def test_a_class_asks_for_all_that_its_words_do() -> None:
    formats = grouped(NEEDS, [(WORDS[0], WORDS[1]), (WORDS[2], WORDS[1])])
    assert {formats.of(w) for w in WORDS[:3]} == {FormatClass(4.0, 28, 2, True, True)}
    assert formats.of(WORDS[3]) == NEEDS[3][1]
    assert WORDS[4] in formats and Word(Section.ECHO_STEP, "a") not in formats


def test_a_format_holds_the_range_with_the_margin_to_spare() -> None:
    formats = grouped([(WORDS[0], FormatClass(3.0, 28, 2))], [])
    assert formats.q(WORDS[0]) == Q(28, 23)  # 3 needs 2 bits, 2 are spare, 1 is the sign


def test_a_shared_format_rests_on_the_weakest_reason() -> None:
    def basis(*own: Basis) -> Basis:
        words = list(zip(WORDS, own, strict=False))
        needs = [(w, FormatClass(1.0, 28, 2, basis=b)) for w, b in words]
        formats = grouped(needs, [(WORDS[0], w) for w, _ in words])
        assert f" {formats.of(WORDS[0]).basis.value} " in str(formats)
        return formats.of(WORDS[0]).basis

    assert basis(Basis.PROVEN, Basis.FUNCTION) is Basis.FUNCTION
    assert basis(Basis.WEIGHTS, Basis.FUNCTION, Basis.PROVEN) is Basis.WEIGHTS
    assert basis(Basis.WEIGHTS, Basis.OBSERVED) is Basis.OBSERVED
    assert basis(Basis.OBSERVED, Basis.EXPLICIT) is Basis.EXPLICIT


@given(PAIRS, st.randoms())
def test_the_order_of_pairs_does_not_matter(pairs: list[tuple[Word, Word]], random) -> None:
    mixed = [pair[:: random.choice((1, -1))] for pair in random.sample(pairs, len(pairs))]
    one, other = grouped(NEEDS, pairs), grouped(NEEDS, mixed)
    for word in WORDS:
        assert one.of(word) == other.of(word)


@given(PAIRS, st.lists(st.tuples(st.sampled_from(WORDS), st.integers(-9, 40))))
def test_caps_only_fall_and_hold_for_the_class(
    pairs: list[tuple[Word, Word]], limits: list[tuple[Word, int]]
) -> None:
    formats = grouped(NEEDS, pairs)
    capped = formats.capped(limits)
    assert capped.capped(limits) == capped, "nothing is left to say"
    for word, frac in limits:
        assert capped.q(word).scalar_frac <= min(frac, formats.q(word).scalar_frac)
    for a, b in pairs:
        assert capped.q(a) == capped.q(b)
    if not limits:
        assert capped == formats
