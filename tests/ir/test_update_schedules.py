"""Schedules of SCAN and UPDATE keep every promise that tasks of one row ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from learning_programs import made

from echoloom.backends.prove.legality import schedules_played
from echoloom.backends.prove.schedule_checker import setting, violations
from echoloom.ir.contract import Destination
from echoloom.ir.passes.schedule import Schedule
from echoloom.ir.sections import LEARNING, Section


@pytest.mark.parametrize("case", ["linear", "complex", "nonlinear", "user", "regression"])
def test_rows_overlap_without_harm(case: str) -> None:
    program = made(case)[0]
    mapped = program.artifact.mapped
    played = {own.section: own for own in schedules_played(mapped, program.image)}
    for section in LEARNING:
        assert (section in played) == bool(mapped.schedules[section].length)
        assert section not in played or played[section].wrong == ()
    assert played[Section.UPDATE].times > 1


def found(case: str, stream: str, which: dict[str, Any], changed: dict[str, int]) -> str:
    """What the checker says of an UPDATE whose first entry with fields `which` has others."""
    mapped = made(case)[0].artifact.mapped
    plan: Schedule = mapped.schedules[Section.UPDATE]
    entries = list(getattr(plan, stream))
    index = next(i for i, e in enumerate(entries) if which.items() <= vars_of(e).items())
    entries[index] = replace(entries[index], **changed)
    bad = replace(plan, **{stream: tuple(entries)})
    return " ".join(violations(bad, setting(mapped, Section.UPDATE), 9))


def vars_of(entry: Any) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}


def test_a_weight_that_goes_into_another_row_is_found() -> None:
    said = found("linear", "drain", {"to_weight": 1}, {"destination": 1})
    assert "other weights were made" in said


def test_a_row_that_is_read_once_more_is_found() -> None:
    """Rows long before have their new weights."""
    said = found("linear", "mac", {"narrow": 0, "load_gradient": 0}, {"w_base": -6})
    assert "reads a weight that the section has made" in said


def test_a_sum_that_decays_before_its_sign_is_taken_is_found() -> None:
    which = {"destination": Destination.GRADIENT}
    said = found("nonlinear", "mac", which, {"g_base": 1})
    assert "loads a gradient word that the section changed" in said or "in flight" in said


def test_a_direction_that_is_not_there_yet_is_found() -> None:
    mapped = made("linear")[0].artifact.mapped
    plan = mapped.schedules[Section.UPDATE]
    early = tuple(replace(e, start=e.start - 12, stage=0) for e in plan.mac[1:])
    bad = replace(plan, mac=(plan.mac[0], *early))
    said = " ".join(violations(bad, setting(mapped, Section.UPDATE), 3))
    assert "wants learn.direction" in said
