"""SCAN and UPDATE on the golden engine, by hand-made programs: the rule of signs on rows."""

from __future__ import annotations

import numpy as np
import pytest
from engine_bench import image_of, numbers, small
from learning_images import NARROW, NOISE, scaled_rule, sign_rule

from echoloom.hdl.golden import GoldenEngine
from echoloom.ir.arithmetic import Overflow
from echoloom.ir.contract import (
    Destination,
    DrainEntry,
    MacEntry,
    Register,
    Timing,
)
from echoloom.ir.engine_passes import EnginePass
from echoloom.ir.flags import Flag
from echoloom.ir.ops import DynamicShift
from echoloom.ir.reports import PEAK_BITS, Report
from echoloom.ir.sections import Section
from echoloom.ir.update_rules import by_scale, by_sign, noise_rows, shift_of

TIMING = Timing()
READY = TIMING.mac_to_slot
ROWS, SIZES = 3, [(1, 1), (3, 2), (4, 4)]


@pytest.mark.parametrize(("lanes", "drains"), SIZES)
def test_signs_move_the_weights_of_the_rows_named(lanes: int, drains: int) -> None:
    image = sign_rule(lanes, drains, step=70_000)
    engine = GoldenEngine(image)
    engine.gradient = numbers((lanes, 16), 2, seed=1).tolist()
    expected, gradient = np.array(engine.weight), np.array(engine.gradient)
    found = by_sign(expected[:, 4 : 4 + ROWS], gradient[:, 7 : 7 + ROWS], 70_000, 0, NARROW)
    expected[:, 4 : 4 + ROWS] = found.words
    registers = {Register.WEIGHT_ROW: 4, Register.GRADIENT_ROW: 7}
    result = engine.run(EnginePass.UPDATE, frames=[()] * ROWS, registers=registers)
    assert np.array_equal(engine.weight, expected)
    assert result.clamped == found.clamped
    assert result.flags == (Flag.WEIGHT if found.clamped else Flag(0))
    assert result.cycles == image.sections[Section.UPDATE].cycles(ROWS, TIMING.overhead)
    again = engine.run(EnginePass.UPDATE, frames=[()], registers={Register.WEIGHT_ROW: 9})
    assert again.clamped == 0


@pytest.mark.parametrize(("lanes", "drains"), SIZES)
def test_scaled_sums_move_the_weights(lanes: int, drains: int) -> None:
    engine = GoldenEngine(scaled_rule(lanes, drains, step=-30_000))
    engine.gradient = numbers((lanes, 16), 1 << 44, seed=1).tolist()
    start = numbers((lanes,), 1 << 25, seed=2)
    for bank, word in zip(engine.vector, start.tolist(), strict=True):
        bank[NOISE] = word
    weight, gradient = np.array(engine.weight), np.array(engine.gradient)
    registers = {Register.WEIGHT_ROW: 1, Register.GRADIENT_ROW: 2}
    rows = [()] * ROWS
    scan = engine.run(EnginePass.SCAN, frames=rows, registers=registers)
    shift = shift_of(gradient[:, 2 : 2 + ROWS])
    assert scan.peak == shift > 0
    noise = noise_rows(start, ROWS).T
    expected = by_scale(weight[:, 1 : 1 + ROWS], gradient[:, 2 : 2 + ROWS], noise, -30_000, 0,
                        NARROW, 28, shift)  # fmt: skip
    update = engine.run(EnginePass.UPDATE, frames=rows, registers=registers)
    assert np.array_equal(np.array(engine.weight)[:, 1 : 1 + ROWS], expected.words)
    assert update.clamped == expected.clamped
    assert [bank[NOISE] for bank in engine.vector] == noise[:, -1].tolist()


def test_a_scan_measures_and_the_shift_leaves_as_many_bits() -> None:
    macs = [MacEntry(0, load_gradient=True, g_base=1)]
    image = image_of(
        small(2, 1, learns=True),
        {
            Section.SCAN: (macs, [DrainEntry(READY, 0, 2, 1, report=Report.PEAK)], 30),
            Section.UPDATE: (macs, [DrainEntry(READY, 0, 2, 2, dynamic=DynamicShift.PEAK)], 30),
        },
    )
    engine = GoldenEngine(image)
    engine.gradient[0][3], engine.gradient[1][4] = 1000, -(1 << 40)
    at = {Register.GRADIENT_ROW: 2}
    scan = engine.run(EnginePass.SCAN, frames=[()] * 2, registers=at)
    # -2**40 has 40 bits and its sign.
    assert (scan.flags, scan.peak) == (Flag(0), 40 - PEAK_BITS)
    update = engine.run(EnginePass.UPDATE, frames=[()] * 2, registers=at)
    assert engine.vector[1][2] == -(1 << PEAK_BITS)
    assert (update.flags, update.peak) == (Flag(0), 40 - PEAK_BITS)
    assert engine.run(EnginePass.SCAN, frames=[()], registers=at).peak == 0


def test_sums_of_an_update_go_on_and_an_echo_can_add_in_all_sections() -> None:
    add = [MacEntry(0, destination=Destination.GRADIENT)]
    sections = {
        section: (add, [], 20)
        for section in (Section.ECHO_PROLOGUE, Section.ECHO_STEP, Section.UPDATE)
    }
    image = image_of(small(1, 1, learns=True), sections, weight=[[2]], vector=[[5]], frame=0)
    engine = GoldenEngine(image)
    seen = []
    for kind in (EnginePass.ECHO, EnginePass.ADD, EnginePass.UPDATE, EnginePass.ECHO):
        engine.run(kind, frames=[()])
        seen.append(engine.gradient[0][0])
    assert seen == [10, 30, 40, 10]


def test_a_wrapped_result_is_quiet() -> None:
    drains = [DrainEntry(READY, 0, 1, 1, width=4, overflow=Overflow.WRAP, report=Report.QUIET)]
    image = image_of(
        small(1, 1, learns=True), {Section.UPDATE: ([MacEntry(0)], drains, 30)},
        weight=[[3]], vector=[[5]],
    )  # fmt: skip
    engine = GoldenEngine(image)
    assert engine.run(EnginePass.UPDATE, frames=[()]).flags == Flag(0)
    assert engine.vector[0][1] == -1


def test_only_an_engine_that_learns_has_the_passes() -> None:
    engine = GoldenEngine(image_of(small(1, 1), {}))
    with pytest.raises(ValueError, match="only an engine that learns has a pass SCAN"):
        engine.run(EnginePass.SCAN, frames=[()])
