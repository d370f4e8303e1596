"""Programs that have no room: which memory, how much, and what would fit."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from ir_models import Built, Sizes, build

from echoloom.ir.contract import EngineConfig, Timing
from echoloom.ir.passes import fits
from echoloom.ir.passes.fits import DoesNotFit
from echoloom.ir.passes.image import Mapped, image, place
from echoloom.ir.passes.layout import Memory
from echoloom.ir.passes.tasks import Drain, Multiply, Task


@pytest.fixture(scope="module")
def built() -> Built:
    return build(Sizes(hidden=4, state=3))


def placed(built: Built, lanes: int) -> Mapped:
    return place(built.quantised, built.tables, EngineConfig(lanes, 1, 2), Timing())


def weight_words(mapped: Mapped) -> int:
    return fits.weight_words(mapped.allocation, mapped.shared)


def test_weights_name_the_lanes_that_are_enough(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = weight_words(placed(built, 1))
    monkeypatch.setattr(fits, "MOST_WORDS", used - 1)
    with pytest.raises(DoesNotFit) as caught:
        placed(built, 1)
    message = str(caught.value)
    assert message == (
        f"with lanes=1 the weights take {used} words in every lane, but an engine addresses "
        f"{used - 1}: with lanes=2 they fit"
    )
    monkeypatch.undo()
    assert weight_words(placed(built, 2)) <= used - 1


def test_no_number_of_lanes_is_enough(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "MOST_WORDS", 2)
    with pytest.raises(DoesNotFit, match="no engine has more than 256 lanes; a smaller hidden"):
        placed(built, 1)


def test_every_memory_has_its_sentence(built: Built) -> None:
    mapped = placed(built, 2)
    plenty = 70_000
    known = mapped.program, built.tables
    at, shared = mapped.allocation, replace(mapped.shared, factors={})
    words = Memory(2, plenty)
    for need, own, common in (
        ("with lanes=2 the weights take 70,000 words in every lane", {"weight": words}, {}),
        ("with lanes=2 the vectors take 70,000 words", {"vectors": words}, {}),
        ("the gradient sums take 70,000 words", {"gradient": words}, {}),
        ("the tables of gelu (", {}, {"table_words": plenty}),
        ("the exponents of single weights take 70,000", {}, {"exponent_words": [[0] * plenty]}),
    ):
        with pytest.raises(DoesNotFit, match=re.escape(need)):
            fits.check_fits(*known, replace(at, **own), replace(shared, **common), [])


def test_programs_name_their_instructions(built: Built) -> None:
    mapped = placed(built, 2)
    known = (mapped.program, built.tables, mapped.allocation, mapped.shared)
    one = Task("", (Multiply(),), Drain(1, 0, 28, False))
    fits.check_fits(*known, [[one] * 65_535])  # and the entry that ends them
    with pytest.raises(DoesNotFit, match="the program has 65,537 multiply instructions"):
        fits.check_fits(*known, [[one] * 65_536])
    two = Task("", one.multiplies)
    with pytest.raises(DoesNotFit, match="with lanes=2 the program has 65,538 multiply"):
        fits.check_fits(*known, [[two], [one] * 65_535])


def test_the_count_is_the_images(built: Built) -> None:
    """What the check counts is what is loaded."""
    mapped = placed(built, 1)
    tasks = mapped.tasks.values()
    loaded = image(mapped, built.words)
    assert len(loaded.mac) == len(tasks) + sum(len(t.multiplies) for own in tasks for t in own)
    assert len(loaded.drain) == len(tasks) + sum(t.drain is not None for own in tasks for t in own)
    assert len(loaded.table) == mapped.shared.table_words
    assert (
        max(map(len, loaded.vector))
        <= fits.vector_words(mapped.allocation)
        <= mapped.config.vector_depth
    )
