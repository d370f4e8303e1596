"""Schedules of SCAN and UPDATE keep every promise that tasks of one row ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from learning_programs import made

from echoloom.backends.prove.schedule_checker import violations
from echoloom.backends.prove.schedule_player import Setting
from echoloom.ir.passes.image import Mapped
from echoloom.ir.passes.layout import Place
from echoloom.ir.passes.schedule import Schedule
from echoloom.ir.sections import LEARNING, Section

# The checker knows no words but those of vector memory and no rows: weight words of a row are one
# word there, which nothing reads.
WRITTEN = 1000
# A gradient word that decays is not the one that is read meanwhile, a row apart; and it waits for
# the sign of what it was without reading it.
HARMLESS = ("gradient word in flight", "never reads learn.direction")


def checked(mapped: Mapped, section: Section) -> tuple[Schedule, Setting]:
    schedule, places = mapped.schedules[section], mapped.allocation.vectors.places
    tasks = tuple(
        replace(t, drain=replace(t.drain, destination=WRITTEN))
        if t.drain is not None and t.drain.to_weight
        else t
        for t in mapped.tasks[section]
    )
    drains = tuple(replace(d, destination=WRITTEN) if d.to_weight else d for d in schedule.drain)
    written = {t.value for t in tasks}
    read = {r.value: places[r.value.rstrip("'")] for t in tasks for r in t.reads}
    resident: dict[str, Place] = {n: p for n, p in places.items() if n not in written}
    return (
        replace(schedule, drain=drains),
        Setting(tasks, read, resident, mapped.shared, mapped.timing),
    )


@pytest.mark.parametrize("case", ["linear", "complex", "nonlinear", "user", "regression"])
def test_rows_overlap_without_harm(case: str) -> None:
    mapped = made(case)[0].artifact.mapped
    for section in LEARNING:
        schedule, setting = checked(mapped, section)
        for rows, waits in ((1, ()), (2, ()), (7, (2, 4))):
            found = violations(schedule, setting, rows, waits)
            harm = [v for v in found if not any(known in v for known in HARMLESS)]
            assert harm == [], (section, rows)
