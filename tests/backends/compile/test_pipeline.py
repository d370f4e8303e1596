"""The compiler as a tuple of stages: none is missing, each fits those before, each can be read."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import numpy as np
import pytest
from tiny_programs import samples, small_model

import echoloom as el
from echoloom.backends.compile.pipeline import STAGES, Arguments, Stage, compiled, run

# What every dump has to show of this model.
SHOWN = {
    "model": ("HSSM(", "drive=", "samples [2, 12, 3]", "margin=2"),
    "energies": ("0: coefficients", "potential of 0 = q, 1 = u", "matrix 1 drive : [2]", "kinetic"),
    "graphs": ("encode\n", "block 0: force\n", "input block.unit.drive : real[2,4]", "= matvec("),
    "course": ("nothing learns",),
    "search": ("not searched for",),
    "settings": ("[widths]", "word = 28"),
    "nudges": ("block 0",),
    "real": ("forward_step:\n", ": real[", "b0.free.p <- "),
    "ranges": ("largest", "forward_step", "b0.free.q", "block 0: plus - minus"),
    "formats": ("margin", "forward_step  ", "b0.free.q", "Q(", "capped"),
    "precision": ("nudges = [", "[formats.program]", '"b0.free.q" = "Q(', "[formats.forward_step]"),
    "integer": ("= requant(", "b0.free.p <- "),
    "rounding": ("input channel", "row: row ", "column: column "),
    "allocation": ("weight ", "vector in forward_step", "gradient ", "encoder.weight"),
    "schedule": ("forward_step: ", " cycles\n", "multiply ", "drain ", "b0.free."),
    "image": ("weight ", "mac ", "forward_step ", "EngineConfig(lanes=2"),
}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    found: dict[str, Any] = {}
    arguments = Arguments(
        small_model(complex=False), samples(), [0, 1], "ecp5-85k", 2, None, 4, None, None
    )
    found["program"] = compiled(arguments, lambda stage, made: found.update({stage.name: made}))
    return found


def test_it_says_how_far_it_is() -> None:
    """Forward and back, for the probe and for the ranges: 12 steps each."""
    said: list[tuple[str, int, int]] = []
    model = small_model(complex=False)
    el.compile(model, samples(), [0, 1], lanes=2, progress=lambda *told: said.append(told))
    assert {what for what, _, _ in said} == {"measuring ranges"}
    assert {told[1:] for told in said} == {(12, 24), (24, 24)}
    assert said[0][1:] == (12, 24) and said[-1][1:] == (24, 24)


def test_the_stages_are_those_of_the_compiler_in_order() -> None:
    assert [stage.name for stage in STAGES] == list(SHOWN)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_stage_can_be_read(stage: Stage, made: dict[str, Any]) -> None:
    text = stage.text(made[stage.name])
    assert [part for part in SHOWN[stage.name] if part not in text] == []
    assert " object at 0x" not in text and "array(" not in text
    assert max(map(len, text.splitlines())) < 400


def test_a_stage_takes_what_earlier_ones_give() -> None:
    given = {"arguments": Arguments}
    for stage in STAGES:
        hints = get_type_hints(stage.make)
        wanted = [hints[name] for name in inspect.signature(stage.make).parameters]
        assert [given[name] for name in stage.takes] == wanted[: len(stage.takes)], stage.name
        given[stage.name] = hints["return"]


def test_every_result_is_used(made: dict[str, Any]) -> None:
    """By a later stage, or in the program that comes out."""
    taken = {name for stage in STAGES for name in stage.takes}
    assert {stage.name for stage in STAGES} - taken == {"precision", "rounding", "image"}
    assert made["image"] == made["program"].image


def test_watching_changes_nothing(made: dict[str, Any]) -> None:
    program = el.compile(small_model(complex=False), samples(), [0, 1], lanes=2)
    assert str(program) == str(made["program"]) == made["integer"].program.__str__()
    assert program.image == made["image"] and program.epsilons == made["program"].epsilons


def test_stages_whose_results_are_given_are_not_run(made: dict[str, Any]) -> None:
    seen: list[str] = []
    given = {stage.name: made[stage.name] for stage in STAGES[:-1]}
    again = run(given, lambda stage, own: seen.append(stage.name))
    assert seen == [stage.name for stage in STAGES]
    assert all(again[name] is value for name, value in given.items())
    assert again["image"] == made["image"] and again["image"] is not made["image"]


def test_what_came_before_a_refusal_has_been_seen() -> None:
    seen: list[str] = []
    x = samples()
    arguments = Arguments(
        small_model(), np.where(np.isnan(x), x, np.nan), None, "ecp5-85k", 2, None, 4, None, None
    )
    with pytest.raises(ValueError, match=r"^samples: nan"):
        compiled(arguments, lambda stage, made: seen.append(stage.name))
    assert seen == []
    wide = Arguments(small_model(hidden=200), x, None, "ecp5-85k", 1, None, 4, None, None)
    with pytest.raises(ValueError, match="an engine addresses 65,536"):
        compiled(wide, lambda stage, made: seen.append(stage.name))
    assert seen == [stage.name for stage in STAGES[: seen.index("rounding") + 1]]
