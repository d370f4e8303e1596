"""Latencies are exact in both directions, entries run back to back, rounding is seen."""

from __future__ import annotations

import pytest
from engine_bench import Pass, after_tree, check, image_of, small

from echoloom.hdl.engine import Engine
from echoloom.ir.arithmetic import Rounding
from echoloom.ir.contract import Destination, DrainEntry, MacEntry, Narrow, Timing, Wide
from echoloom.ir.sections import Section

SIZES = [(1, 1), (2, 1), (2, 2), (3, 2), (5, 1), (5, 2), (5, 3), (5, 5)]
TIMING = Timing()
LAST = TIMING.mac_to_slot + 1  # from here on a slot is there that came at a section's end


def test_entries_follow_each_other_without_a_gap() -> None:
    """Single-element entries in consecutive cycles, from cycle 0 to the section's last."""
    count = 12
    macs = [MacEntry(start=cycle, w_base=cycle, clear=cycle == 0, push=cycle == count - 1)
            for cycle in range(count)]  # fmt: skip
    drains = [DrainEntry(start=cycle, slot=0, count=1, destination=1) for cycle in range(count)]
    image = image_of(
        small(1, 1),
        {Section.FORWARD_PROLOGUE: (macs, drains, count), Section.FORWARD_EPILOGUE:
         ([], [DrainEntry(start=LAST, slot=0, count=1, destination=2)], LAST + 2)},
        weight=[list(range(1, count + 1))],
        vector=[[1]],
    )  # fmt: skip
    (result,) = check(image, [Pass()])
    assert result.vector[0][2] == count * (count + 1) // 2
    assert len(result.writes) == count + 1


@pytest.mark.parametrize("gap", [0, 1])
def test_a_sum_goes_on_at_once_or_not_at_all(gap: int) -> None:
    macs = [MacEntry(start=0, push=False), MacEntry(start=1 + gap, clear=False)]
    drain = DrainEntry(start=1 + TIMING.mac_to_slot, slot=0, count=1, destination=1)
    image = image_of(
        small(1, 1), {Section.FORWARD_PROLOGUE: (macs, [drain], 2 * LAST)},
        weight=[[3]], vector=[[5]],
    )  # fmt: skip
    if gap:
        with pytest.raises(ValueError, match="cycle 2 goes on with a sum that does not end"):
            check(image, [Pass()])
    else:
        (result,) = check(image, [Pass()])
        assert result.vector[0][1] == 30


@pytest.mark.parametrize("rounding", list(Rounding))
def test_wrong_rounding_is_noticed(rounding: Rounding) -> None:
    """Half of 1, -1, 3 and -3."""
    config = small(4, 4)
    x = [1, -1, 3, -3]
    image = image_of(
        config,
        {
            Section.FORWARD_PROLOGUE: (
                [MacEntry(start=0)],
                [DrainEntry(start=LAST, slot=0, count=4, destination=1, shift=1)],
                2 * LAST,
            )
        },
        weight=[[1]] * 4,
        vector=[[value] for value in x],
    )
    if rounding is Rounding.HALF_EVEN:
        (result,) = check(image, [Pass()])
        assert [bank[1] for bank in result.vector] == [0, 0, 2, -2]
    else:
        with pytest.raises(AssertionError, match="pass 0"):
            check(image, [Pass()], rounding=rounding)


@pytest.mark.parametrize("late", [0, 1])
def test_latencies_are_exact(late: int) -> None:
    """Reading a slot, a word or a gradient a cycle too early gives the old value."""
    lanes = 4
    config = small(lanes, 4)
    offset = late - 1
    tree, direct, table, sums, last = range(30, 180, 30)
    to_slot = TIMING.mac_to_slot
    drain_from_mac = to_slot + offset
    drain_from_tree = tree + after_tree(config) + offset
    read_direct = direct + TIMING.drain_direct + offset
    read_table = table + TIMING.drain_table + offset
    gradient = sums + TIMING.gradient + offset
    image = image_of(
        config,
        {
            Section.FORWARD_PROLOGUE: (
                [
                    MacEntry(start=0, slot=0),
                    MacEntry(start=tree, slot=1, destination=Destination.TREE),
                    MacEntry(start=read_direct, slot=2, x_base=4),
                    MacEntry(start=read_table, slot=3, narrow=Narrow.WEIGHT, wide=Wide.Y, y_base=5),
                    MacEntry(start=sums, destination=Destination.GRADIENT, g_base=3),
                    MacEntry(start=gradient, load_gradient=True, g_base=3, slot=2),
                ],
                [
                    DrainEntry(start=drain_from_mac, slot=0, count=1, destination=1),
                    DrainEntry(start=drain_from_tree, tree=True, slot=1, count=1, destination=2),
                    DrainEntry(start=direct, slot=0, count=1, destination=4),
                    DrainEntry(start=read_direct + to_slot, slot=2, count=1, destination=3),
                    DrainEntry(start=table, slot=0, count=1, destination=5, use_table=True,
                               segment_bits=1),
                    DrainEntry(start=read_table + to_slot, slot=3, count=1, destination=6),
                    DrainEntry(start=last, slot=2, count=1, destination=7),
                ],
                last + LAST,
            )
        },
        weight=[[1]] * lanes,
        vector=[[10]] * lanes,
        table=[(77, 0), (77, 0)],
    )  # fmt: skip
    (result,) = check(image, [Pass()])
    found = {word: result.vector[0][word] for word in (1, 2, 3, 6, 7)}
    new = {1: 10, 2: 40, 3: 10, 6: 77, 7: 10}
    old = {1: 0, 2: 0, 3: 0, 6: 0, 7: 0}
    assert found == (new if late else old)


def test_timing_that_the_hardware_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="this engine has"):
        Engine(small(2, 1), Timing(mac_to_slot=4))
