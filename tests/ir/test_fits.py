"""Programs that have no room: which memory, how much, and what would fit."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from ir_models import Built, Sizes, build

from echoloom.ir.contract import DrainEntry, EngineConfig, MacEntry, Timing
from echoloom.ir.passes import fits
from echoloom.ir.passes.fits import DoesNotFit
from echoloom.ir.passes.image import Mapped, image, place
from echoloom.ir.passes.layout import Memory
from echoloom.ir.passes.lower import lower
from echoloom.ir.passes.tasks import Segment, Task
from echoloom.ir.sections import Section


@pytest.fixture(scope="module")
def built() -> Built:
    return build(Sizes(hidden=4, state=3))


def placed(built: Built, lanes: int) -> Mapped:
    return place(built.quantised, built.tables, EngineConfig(lanes, 1, 2), Timing())


def test_weights_name_the_lanes_that_are_enough(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = placed(built, 1).allocation.weight.used
    monkeypatch.setattr(fits, "MOST_WORDS", used - 1)
    with pytest.raises(DoesNotFit) as caught:
        placed(built, 1)
    message = str(caught.value)
    assert message == (
        f"with lanes=1 the weights take {used} words in every lane, but an engine addresses "
        f"{used - 1}: with lanes=2 they fit"
    )
    monkeypatch.undo()
    assert placed(built, 2).allocation.weight.used <= used - 1


def test_no_number_of_lanes_is_enough(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "MOST_WORDS", 2)
    with pytest.raises(DoesNotFit, match="no engine has more than 256 lanes; a smaller hidden"):
        placed(built, 1)


def test_every_memory_has_its_sentence(built: Built) -> None:
    at = placed(built, 2).allocation
    plenty = 70_000
    for need, change in (
        ("with lanes=2 the weights take 70,000 words in every lane", {"weight": Memory(2, plenty)}),
        ("with lanes=2 the vectors take 70,000 words", {"vectors": Memory(2, plenty)}),
        ("the gradient sums take 70,000 words", {"gradient": Memory(2, plenty)}),
        ("the tables of gelu (", {"table_words": plenty}),
        ("the exponents of single weights take 70,000 words", {"exponent_words": [[0] * plenty]}),
    ):
        with pytest.raises(DoesNotFit, match=re.escape(need)):
            fits.check_fits(replace(at, **change), [])


def test_programs_name_their_instructions(built: Built) -> None:
    at = placed(built, 2).allocation
    one = Task("", (Segment(MacEntry(0), ()),), DrainEntry(0, 0, 1, 0))
    fits.check_fits(at, [[one] * 65_535])  # and the entry that ends them
    with pytest.raises(DoesNotFit, match="the program has 65,537 multiply instructions"):
        fits.check_fits(at, [[one] * 65_536])
    two = Task("", one.segments)
    with pytest.raises(DoesNotFit, match="with lanes=2 the program has 65,538 multiply"):
        fits.check_fits(at, [[two], [one] * 65_535])


def test_the_count_is_the_images(built: Built) -> None:
    """What the check counts is what is loaded."""
    mapped = placed(built, 1)
    at, program = mapped.allocation, mapped.program
    tasks = [lower(program, program.body(section), at) for section in Section]
    loaded = image(mapped, built.words)
    assert len(loaded.mac) == len(tasks) + sum(len(t.segments) for own in tasks for t in own)
    assert len(loaded.drain) == len(tasks) + sum(t.drain is not None for own in tasks for t in own)
    assert len(loaded.table) == at.table_words
    assert max(map(len, loaded.vector)) <= fits.vector_words(at) <= mapped.config.vector_depth
