"""Hand-made programs of SCAN and UPDATE: the rules on rows of weights."""

from __future__ import annotations

from dataclasses import replace

from engine_bench import image_of, numbers, small

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.contract import (
    DrainEntry,
    Image,
    MacEntry,
    Narrow,
    Timing,
    XMode,
)
from echoloom.ir.ops import DynamicShift
from echoloom.ir.reports import Report
from echoloom.ir.sections import Section
from echoloom.ir.update_rules import INCREMENT, MULTIPLIER, NOISE_BITS

TIMING = Timing()
READY, LANDED = TIMING.mac_to_slot, TIMING.drain_direct
NARROW, MOST = 18, (1 << 17) - 1
QUIET, CLAMP = Report.QUIET, Report.CLAMP
# Words of vector memory, the same in every lane; the bases come first.
NOISE, ONE, STEP, SIGN, UNIT, FACTOR, INCREMENTS = range(7)


def product(start: int, x: int, slot: int = 0, **fields: int | Narrow) -> MacEntry:
    """A word times a weight, or times another word."""
    return MacEntry(start, slot=slot, x_base=x, x_mode=XMode.BROADCAST, **fields)  # type: ignore[arg-type]


def sign_rule(lanes: int, drains: int, step: int) -> Image:
    """w <- saturate(w + step * sign(g)). The sums are read and their signs made in one iteration,
    the weights in the next."""
    taken = -(-lanes // drains)
    macs = [
        product(0, ONE, push=False, stage=1),
        product(1, STEP, slot=1, clear=False, narrow=Narrow.Y, y_base=SIGN, stage=1),
        MacEntry(2, load_gradient=True),
    ]
    first, second = 1 + READY, 2 + READY + taken
    chunks = [
        DrainEntry(first, 1, lanes, 0, width=NARROW, to_weight=True, report=CLAMP, stage=1),
        DrainEntry(second, 0, lanes, SIGN, width=2, report=QUIET),
    ]
    length = second + taken + LANDED
    image = image_of(
        small(lanes, drains, weight_depth=16, learns=True),
        {Section.UPDATE: (macs, chunks, length)},
        weight=numbers((lanes, 8), MOST), vector=[[0, 1, step]] * lanes,
    )  # fmt: skip
    entry = image.sections[Section.UPDATE]
    following = replace(entry, overlap=1, last=second)
    return replace(image, sections=(*image.sections[: Section.UPDATE], following))


def scaled_rule(lanes: int, drains: int, step: int) -> Image:
    """SCAN measures; w <- saturate(half_even((w * 2**26 + step * v + x) / 2**26)), v the sum
    shifted by the peak, x the next word of the lane's generator."""
    taken = -(-lanes // drains)
    second = 2 + READY + taken
    at = second + taken + LANDED
    macs = [
        MacEntry(0, load_gradient=True),
        product(1, ONE, slot=1, push=False, narrow=Narrow.Y, y_base=INCREMENTS),
        MacEntry(2, slot=1, clear=False, narrow=Narrow.Y, y_base=FACTOR, x_base=NOISE),
        product(at, UNIT, push=False),
        MacEntry(at + 1, push=False, clear=False, narrow=Narrow.Y, y_base=STEP, x_base=SIGN),
        MacEntry(at + 2, clear=False, narrow=Narrow.Y, y_base=ONE, x_base=NOISE),
    ]
    chunks = [
        DrainEntry(READY, 0, lanes, SIGN, dynamic=DynamicShift.PEAK, report=QUIET),
        DrainEntry(second, 1, lanes, NOISE, width=NOISE_BITS, overflow=Overflow.WRAP, report=QUIET),
        DrainEntry(at + 2 + READY, 0, lanes, 0, shift=NOISE_BITS, width=NARROW, to_weight=True,
                   report=CLAMP),
    ]  # fmt: skip
    scan = [DrainEntry(READY, 0, lanes, 7, report=Report.PEAK)]
    vector = [0, 1, step, 0, 1 << NOISE_BITS, MULTIPLIER, INCREMENT]
    return image_of(
        small(lanes, drains, weight_depth=16, learns=True),
        {
            Section.SCAN: ([MacEntry(0, load_gradient=True)], scan, READY + taken),
            Section.UPDATE: (macs, chunks, at + 2 + READY + taken + LANDED),
        },
        weight=numbers((lanes, 8), MOST), vector=[vector] * lanes,
    )  # fmt: skip
