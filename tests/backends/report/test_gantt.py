"""Gantt charts show the schedule that the engine plays: nothing left out, nothing twice."""

from __future__ import annotations

from collections import Counter

import pytest

from echoloom.backends.report.gantt import (
    OUTPUTS,
    SUMS,
    Bar,
    Chart,
    chart,
    colours,
    gantt_svg,
    part_of,
)
from echoloom.backends.report.program_page import schedule_part
from echoloom.ir.passes.image import Mapped
from echoloom.ir.sections import SWEPT, Section


def total(bars: tuple[Bar, ...]) -> Counter[str]:
    found: Counter[str] = Counter()
    for bar in bars:
        found[bar.label] += bar.end - bar.start
    return found


def charts(mapped: Mapped) -> list[tuple[Section, Chart]]:
    return [(s, chart(mapped, s)) for s in SWEPT if mapped.schedules[s].length]


def test_lanes_do_the_tasks_that_were_scheduled(classifier):
    mapped = classifier.artifact.mapped
    for section, found in charts(mapped):
        wanted: Counter[str] = Counter()
        for task in mapped.tasks[section]:
            drained = f"{task.value}[{task.group}]"
            wanted[drained if task.drain else ""] += task.cycles
        own = total(found.multipliers)
        own[""] = own.pop(SUMS, 0) + own.pop(OUTPUTS, 0)
        assert +own == +wanted, section


def test_rows_of_slots_and_drains_hold_one_thing_at_a_time(classifier):
    for section, found in charts(classifier.artifact.mapped):
        for row in (found.multipliers, found.drains, *found.slots):
            taken = Counter(cycle for bar in row for cycle in range(bar.start, bar.end))
            assert max(taken.values(), default=0) <= 1, section
            assert all(0 <= cycle < found.length for cycle in taken)


def test_a_result_waits_until_its_drain(classifier):
    for section, found in charts(classifier.artifact.mapped):
        begins = {(bar.label, bar.start + 1) for bar in found.drains}
        ends = {(bar.label, bar.end) for row in found.slots for bar in row}
        assert begins <= ends, section
        # Others are of a wait that goes on at the beginning of the next iteration.
        assert {end for _, end in ends - begins} <= {found.length}


def test_a_bar_across_the_iterations_end_goes_on_at_its_beginning():
    assert [*Bar(7, 13, "x").wrapped(10)] == [Bar(7, 10, "x"), Bar(0, 3, "x")]
    assert [*Bar(12, 15, "x").wrapped(10)] == [Bar(2, 5, "x")]
    assert [*Bar(8, 10, "x").wrapped(10)] == [Bar(8, 10, "x")]


def test_parts_of_the_model_have_colours(classifier):
    mapped = classifier.artifact.mapped
    assert {"b0", "encode", "head", SUMS} <= set(colours(mapped))
    assert part_of("b0.free.q[1]") == "b0" and part_of("x[0]") == "x" and part_of(SUMS) == SUMS


def test_sections_that_are_not_played_have_no_chart(classifier):
    mapped = classifier.artifact.mapped
    assert mapped.schedules[Section.ECHO_EPILOGUE].length == 0
    with pytest.raises(ValueError, match="ECHO_EPILOGUE is not played"):
        gantt_svg(mapped, Section.ECHO_EPILOGUE)
    assert schedule_part(mapped).body.count("<figure>") == len(charts(mapped))
