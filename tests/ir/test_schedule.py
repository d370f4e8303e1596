"""Schedules keep the engine's contract, by a checker that is shown to be able to object."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_models import Built, Sizes, build, sizes

from echoloom.backends.prove.schedule_checker import setting, violations
from echoloom.backends.prove.schedule_player import Setting
from echoloom.ir.contract import Destination, EngineConfig, Timing
from echoloom.ir.passes.image import Mapped, place
from echoloom.ir.passes.schedule import Schedule, schedule
from echoloom.ir.sections import STEPS, SWEPT, Section

SECTIONS = SWEPT


def placed(built: Built, lanes: int, drains: int, slots: int, timing: Timing = Timing()) -> Mapped:  # noqa: B008
    return place(built.quantised, built.tables, EngineConfig(lanes, drains, slots), timing)


def check_all(mapped: Mapped) -> None:
    """All sections; those of steps for fewer steps than are in flight and for more, and waiting."""
    for section in SECTIONS:
        plan, own = mapped.schedules[section], setting(mapped, section)
        if section not in STEPS:
            assert violations(plan, own) == []
            continue
        for steps in (1, 2, plan.overlap + 3):
            assert violations(plan, own, steps) == [], (section, steps)
        iterations = range(1, 2 * plan.overlap + 3)
        for waits in (iterations, *((i,) for i in iterations)):
            assert violations(plan, own, plan.overlap + 3, waits) == [], (section, waits)


@st.composite
def engines(draw: st.DrawFn) -> tuple[int, int, int]:
    lanes = draw(st.integers(1, 5))
    return lanes, draw(st.integers(1, lanes)), draw(st.integers(1, 4))


@given(sizes(("linear", "quartic", "massive")), engines())
@settings(max_examples=10, deadline=None)
def test_schedules_keep_the_contract(s: Sizes, engine: tuple[int, int, int]) -> None:
    check_all(placed(build(s), *engine))


@given(
    engines(),
    st.builds(
        Timing,
        mac_to_slot=st.integers(1, 9),
        tree_to_slot=st.integers(1, 9),
        gradient=st.integers(1, 9),
        drain_direct=st.integers(1, 12),
        drain_table=st.integers(1, 20),
        overhead=st.integers(0, 3),
    ),
)
@settings(max_examples=8, deadline=None)
def test_any_latencies_will_do(engine: tuple[int, int, int], timing: Timing) -> None:
    check_all(placed(build(Sizes(hidden=4)), *engine, timing))


# A schedule with one thing wrong


@lru_cache(maxsize=1)
def example() -> tuple[Schedule, Setting]:
    """The echo step of a small model: broadcasts, trees, tables, gradients and moves."""
    mapped = placed(build(Sizes(hidden=4, blocks=2)), 3, 2, 3)
    destinations = {e.destination for e in mapped.schedules[Section.ECHO_STEP].mac}
    assert destinations >= {Destination.ACCUMULATOR, Destination.TREE, Destination.GRADIENT}
    return mapped.schedules[Section.ECHO_STEP], setting(mapped, Section.ECHO_STEP)


def without(entries: tuple, index: int) -> tuple:  # type: ignore[type-arg]
    return entries[:index] + entries[index + 1 :]


def changed(entries: tuple, index: int, **fields: int) -> tuple:  # type: ignore[type-arg]
    return (*entries[:index], replace(entries[index], **fields), *entries[index + 1 :])


def played(plan: Schedule, own: Setting) -> list[str]:
    return violations(plan, own, plan.overlap + 2)


def complains(plan: Schedule, about: str, setting: Setting | None = None) -> None:
    sentences = played(plan, setting or example()[1])
    assert any(about in s for s in sentences), sentences[:5]


def test_the_example_is_good() -> None:
    assert example()[0].overlap > 0
    assert played(*example()) == []


@pytest.mark.parametrize("index", range(1, 60, 6))
def test_an_entry_for_another_step(index: int) -> None:
    """An entry that is played for the step before, or after, meets other words."""
    plan, own = example()
    for field, entries in (("mac", plan.mac), ("drain", plan.drain)):
        stage = 1 - entries[index].stage
        moved = replace(plan, **{field: changed(entries, index, stage=stage)})
        assert played(moved, own), (field, index)


@pytest.mark.parametrize("index", range(0, 40, 3))
def test_a_drain_from_the_wrong_slot(index: int) -> None:
    plan, _ = example()
    slot = (plan.drain[index].slot + 1) % 3
    complains(replace(plan, drain=changed(plan.drain, index, slot=slot)), f"drain entry {index} ")


def test_a_drain_that_comes_too_early() -> None:
    """A cycle earlier than the result of the multiplication right before."""
    plan, own = example()
    index = plan.labels.index(("encode.t1", 0))
    entry = plan.drain[index]
    last = max(e.start + e.inner for e in plan.mac if e.slot == entry.slot and not e.stage
               and e.start + e.inner - 1 + own.timing.mac_to_slot <= entry.start)  # fmt: skip
    at = last - 1 + own.timing.mac_to_slot - 1
    moved = replace(entry, start=at)
    drain = sorted((*without(plan.drain, index), moved), key=lambda e: e.start)
    labels = dict(zip(plan.drain, plan.labels, strict=True)) | {moved: plan.labels[index]}
    complains(
        replace(plan, drain=tuple(drain), labels=tuple(labels[e] for e in drain)), "for encode"
    )


def test_drains_that_overlap() -> None:
    plan, _ = example()
    index = next(i for i, e in enumerate(plan.drain) if e.count > 2)
    late = changed(plan.drain, index, start=plan.drain[index + 1].start - 1)
    complains(replace(plan, drain=late), f"drain entry {index + 1} starts in cycle")


def test_products_that_overlap() -> None:
    plan, _ = example()
    end = [e.start + e.inner * e.outer for e in plan.mac]
    index = next(i for i in range(len(plan.mac) - 1) if end[i] == plan.mac[i + 1].start)
    late = changed(plan.mac, index, start=plan.mac[index].start + 1)
    complains(replace(plan, mac=late), f"MAC entry {index + 1} starts in cycle")


def test_a_sum_that_goes_on_after_something_else() -> None:
    """A lane has no accumulator beside the register behind its adder."""
    plan, _ = example()
    kinds = [e.destination for e in plan.mac]
    index = next(
        i for i in range(1, len(kinds))
        if kinds[i] is Destination.ACCUMULATOR and kinds[i - 1] is not Destination.ACCUMULATOR
    )  # fmt: skip
    late = changed(plan.mac, index, clear=False)
    complains(replace(plan, mac=late), f"MAC entry {index} goes on with a sum that has ended")


def test_operands_that_are_not_there_yet() -> None:
    """Where the multipliers wait for a word, one cycle less is too early; some wait for a slot."""
    plan, _ = example()
    end = [e.start + e.inner * e.outer for e in plan.mac]
    waits = [i for i in range(1, len(plan.mac)) if plan.mac[i].start > end[i - 1]]
    caught = 0
    for index in waits:
        early = changed(plan.mac, index, start=plan.mac[index].start - 1)
        sentences = played(replace(plan, mac=early), example()[1])
        caught += any(s.startswith(f"MAC entry {index} wants") for s in sentences)
    assert caught


def test_an_old_state_read_too_late_or_too_early() -> None:
    """The readout's gradient needs q before the step. At one end of the iteration there is that of
    another step."""
    plan, own = example()
    address = own.places["b0.free.q"].address
    index = next(
        i for i, e in enumerate(plan.mac)
        if e.destination is Destination.GRADIENT and address in (e.x_base, e.y_base)
    )  # fmt: skip
    moved, others = plan.mac[index], without(plan.mac, index)
    longer = moved.inner * moved.outer + own.timing.drain_table
    lengths = {"length": plan.length + longer, "last": plan.length + longer}
    late = replace(plan, mac=(*others, replace(moved, start=plan.length)), **lengths)
    later = [
        tuple(replace(e, start=e.start + longer) for e in entries)
        for entries in (others, plan.drain)
    ]
    early = replace(plan, mac=(replace(moved, start=0), *later[0]), drain=later[1], **lengths)
    sentences = [s for one in (early, late) for s in played(one, own) if "wants b0.free.q" in s]
    assert any("meets ('b0.free.second.q'" in s for s in sentences), sentences


def test_results_that_are_missing_or_double() -> None:
    plan, own = example()
    value = plan.labels[5]
    missing = replace(plan, drain=without(plan.drain, 5), labels=without(plan.labels, 5))
    complains(missing, f"{value} is never computed")
    twice = replace(
        plan,
        drain=(*plan.drain, replace(plan.drain[5], start=plan.length)),
        labels=(*plan.labels, value),
        length=plan.length + 30,
        last=plan.length + 30,
    )
    complains(twice, f"computes {value}, which no task asks for, or again")
    index = next(i for i, e in enumerate(plan.mac) if e.destination is Destination.GRADIENT)
    complains(replace(plan, mac=without(plan.mac, index)), "is never summed or emitted")
    again = replace(plan.mac[index], start=plan.length)
    length = plan.length + own.timing.gradient + 30
    longer = replace(plan, mac=(*plan.mac, again), length=length, last=length)
    complains(longer, f"MAC entry {len(plan.mac)} belongs to no task")


def test_an_iteration_that_ends_too_soon() -> None:
    plan, own = example()
    assert played(replace(plan, length=plan.length - 1), own)
    assert played(replace(plan, last=plan.last - 2), own)


@pytest.mark.parametrize("field", ["mac_to_slot", "tree_to_slot", "drain_direct", "drain_table"])
def test_latencies_longer_than_promised(field: str) -> None:
    plan, own = example()
    timing = replace(own.timing, **{field: getattr(own.timing, field) + 1})
    assert played(plan, replace(own, timing=timing))


def test_two_results_at_one_write_port() -> None:
    """Where a table's result lands, a later direct one may not."""
    plan, own = example()
    step = own.timing.drain_table - own.timing.drain_direct
    starts = {e.start for e in plan.drain}
    index = next(
        i for i, e in enumerate(plan.drain) if e.use_table and e.start + step not in starts
    )
    other = next(
        i for i, e in enumerate(plan.drain) if i > index and not e.use_table and e.count <= 2
    )
    at = plan.drain[index].start + step
    crossed = replace(plan, drain=changed(plan.drain, other, start=at))
    complains(crossed, ", as another one does")


def test_a_schedule_is_the_same_every_time() -> None:
    plan, own = example()
    assert schedule(own.tasks, own.shared, own.timing, steps=True) == plan
