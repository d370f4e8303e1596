"""The quality surface: points are what the programs give, and what cannot be is said."""

from __future__ import annotations

import pytest
from tiny_programs import STEPS

from echoloom.backends.gradients.quality import batch_quality
from echoloom.backends.profile.grid import Choices, default_choices, measure_grid, points_of
from echoloom.backends.profile.profile import Bound, check_choices, with_chosen
from echoloom.ir.widths import Widths


@pytest.fixture(scope="module")
def points(small):
    seen = []
    choices = Choices((14, 28), (12, 18), (0, 4), (STEPS // 2, STEPS))
    found = measure_grid(small, choices, lambda done, total: seen.append((done, total)))
    assert seen == [(n + 1, len(found)) for n in range(len(found))]
    return {(p.word, p.narrow, p.octave, p.length): p for p in found}


def test_every_choice_has_a_point(points):
    crossed = {(w, 12, 0, STEPS) for w in (14, 28)}
    assert set(points) == crossed | {
        (w, 18, o, t) for w in (14, 28) for o in (0, 4) for t in (STEPS // 2, STEPS)
    }


def test_the_chosen_point_is_the_program(small, points):
    point = points[28, 18, 0, STEPS]
    wanted = batch_quality(small.program, small.X, small.y).by_tensor()
    assert point.tensors == wanted
    assert point.cosine == min(q.cosine for q in wanted.values())
    half = batch_quality(small.program, small.X[:, : STEPS // 2], small.y).by_tensor()
    assert points[28, 18, 0, STEPS // 2].tensors == half


def test_shorter_words_are_worse(points):
    fine, bound = points[28, 18, 0, STEPS], Bound()
    assert bound.met_by(fine)
    assert points[28, 12, 0, STEPS].norm_error > 2 * fine.norm_error
    refused = points[14, 18, 0, STEPS]  # the narrow side is the longer one
    assert refused.refused and not refused.holds and not bound.met_by(refused)
    assert points_of([*points.values()], narrow=12) == [
        points[14, 12, 0, STEPS], points[28, 12, 0, STEPS],
    ]  # fmt: skip


def test_choices_around_the_chosen_widths():
    choices = default_choices(Widths(), 100)
    assert choices.lengths == (12, 25, 50, 100)
    assert 28 in choices.words and 18 in choices.narrows and 0 in choices.octaves
    assert default_choices(Widths(), 1).lengths == (1,)
    assert with_chosen(Choices((20,), (16,), (1,), (5,)), Widths(), 9) == Choices(
        (20, 28), (16, 18), (0, 1), (5, 9)
    )
    with pytest.raises(ValueError, match="a nudge's octave is 99, but it must be between"):
        check_choices(Choices((20,), (16,), (99,), (5,)), 1, 9)
    with pytest.raises(ValueError, match="a length is 2, but it must be between 3 and 9"):
        check_choices(Choices((20,), (16,), (0,), (2,)), 3, 9)
