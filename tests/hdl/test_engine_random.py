"""Random programs, with random waits, against the golden twin: everything a host can see.

The programs keep the scheduler's promises about ports, but read words while their update is
in flight: that pins every latency.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from engine_bench import FRAME, Pass, check, image_of

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.contract import (
    Add,
    Destination,
    DrainEntry,
    EngineConfig,
    Image,
    MacEntry,
    Narrow,
    Register,
    Space,
    Timing,
    Wide,
    XMode,
)
from echoloom.ir.engine_passes import BY_ROWS, PLAYS, REPEATED, EnginePass
from echoloom.ir.entry_layouts import STAGES
from echoloom.ir.ops import DynamicShift
from echoloom.ir.reports import Report
from echoloom.ir.sections import ECHO, STEPS, Section, sections_of

WORDS = 8  # of every memory that programs use
BASES = 4  # of vector memory's that a drain adds to
LANDED = Timing().drain_table + Timing().tree_to_slot + 3  # cycles until all has landed
KINDS = [
    EnginePass.FORWARD, EnginePass.ECHO, EnginePass.FORWARD, EnginePass.RESUME, EnginePass.RESUME,
]  # fmt: skip
SIZES = [(1, 1), (2, 1), (3, 2), (5, 1), (5, 2), (5, 4), (5, 5)]


def random_mac(rng: random.Random, lanes: int, start: int, *, stepping: bool) -> MacEntry:
    destination = rng.choice(list(Destination))
    modes = [XMode.LOCAL, XMode.BROADCAST] + [XMode.INPUT] * stepping
    if destination is Destination.EMIT:
        modes = modes[1:]
    x_mode = rng.choice(modes)
    inner, outer = rng.randint(1, 3), min(rng.randint(1, 2), lanes)
    if destination is Destination.EMIT:
        inner = outer = 1
    return MacEntry(
        start=start,
        inner=inner,
        outer=outer,
        destination=destination,
        clear=rng.random() < 0.7,
        push=rng.random() < 0.8,
        slot=rng.randrange(3),
        narrow=rng.choice(list(Narrow)),
        wide=rng.choice(list(Wide)),
        load_gradient=rng.random() < 0.3,
        w_base=rng.randrange(WORDS),
        w_inner=rng.randrange(3),
        w_outer=rng.randrange(4),
        x_mode=x_mode,
        x_base=rng.randrange(2 if x_mode is XMode.INPUT else WORDS - 3),
        x_bank=rng.randrange(lanes),
        x_step=rng.randrange(2),
        y_base=rng.randrange(WORDS - 3),
        y_step=rng.randrange(2),
        g_base=rng.randrange(WORDS - 3),
        lanes=rng.randint(0, lanes),
    )


def ended(entry: MacEntry) -> int:
    return entry.start + entry.inner * entry.outer


def random_drain(
    rng: random.Random, lanes: int, start: int, *, tables: bool, learns: Section | None
) -> DrainEntry:
    entry = _random_drain(rng, lanes, start, tables=tables)
    if learns is None:
        return entry
    # What measures and what uses that are never the same pass.
    measures = learns in (*ECHO, Section.SCAN)
    reports = [report for report in Report if measures or report is not Report.PEAK]
    shifts = [shift for shift in DynamicShift if not measures or shift is not DynamicShift.PEAK]
    to_weight = not tables and rng.random() < 0.5
    return replace(
        entry, report=rng.choice(reports), dynamic=rng.choice(shifts), to_weight=to_weight,
        width=rng.choice([2, 5, 9]) if to_weight else entry.width,
    )  # fmt: skip


def _random_drain(rng: random.Random, lanes: int, start: int, *, tables: bool) -> DrainEntry:
    return DrainEntry(
        start=start,
        tree=rng.random() < 0.3,
        slot=rng.randrange(3),
        count=rng.randint(1, lanes),
        destination=rng.randrange(WORDS),
        base=rng.randrange(BASES),
        add=rng.choice(list(Add)),
        shift=rng.choice([0, 1, 2, 6, 9, 50]),
        dynamic=rng.choice([DynamicShift.NONE, DynamicShift.LENGTH]),
        use_exponents=rng.random() < 0.5,
        exponents=rng.randrange(2),
        width=rng.choice([9, 12, 14]),
        overflow=rng.choice(list(Overflow)),
        use_table=tables,
        table=rng.randrange(3),
        segment_bits=rng.choice([1, 3, 4]),
        fraction_bits=rng.choice([0, 4, 8]),
        slope_shift=rng.choice([0, 3, 5]),
    )


def random_section(
    rng: random.Random,
    lanes: int,
    drains: int,
    *,
    stepping: bool,
    waits: bool,
    learns: Section | None = None,
) -> tuple[list[MacEntry], list[DrainEntry], int]:
    macs: list[MacEntry] = []
    chunks: list[DrainEntry] = []
    time = rng.randrange(3)
    for _ in range(rng.randint(3, 6)):
        macs.append(random_mac(rng, lanes, time, stepping=stepping))
        before = macs[-2] if len(macs) > 1 else None
        summing = before is not None and before.destination is Destination.ACCUMULATOR
        if before is None or not summing or ended(before) != time:
            macs[-1] = replace(macs[-1], clear=True)
        time = ended(macs[-1]) + rng.choice([0, 0, 0, 1, 4])
    end = time
    time = rng.randrange(6)
    # Tables and direct results use one write port: a section has the one or the other.
    tables = rng.random() < 0.3
    for _ in range(rng.randint(2, 5)):
        entry = random_drain(rng, lanes, time, tables=tables, learns=learns)
        chunks.append(entry)
        time += -(-entry.count // drains) + rng.choice([0, 0, 1, 3])
    # Tight sections end with results in flight, which land in the next iteration. Where the engine
    # may wait they land while it waits: then a program must not ask for them so early.
    return (
        macs,
        chunks,
        max(end, time) + LANDED * (waits or stepping or tables or rng.random() < 0.3),
    )


def random_image(
    rng: random.Random, lanes: int, drains: int, *, waits: bool, learns: bool = False
) -> Image:
    config = EngineConfig(
        lanes=lanes, drains=drains, word=16, narrow=9, accumulator=26, weight_depth=32,
        vector_depth=WORDS, gradient_depth=2 * WORDS, table_depth=32, exponent_depth=8,
        mac_depth=64, drain_depth=64, frame_depth=5,
        output_depth=16, gradient=rng.choice([None, 24]), base_depth=rng.choice([None, BASES]),
        learns=learns,
    )  # fmt: skip
    chunks = -(-lanes // drains)
    sections = {}
    for section in sections_of(learns):
        if rng.random() < 0.2:
            continue
        stepping = section in STEPS
        sections[section] = random_section(
            rng, lanes, drains, stepping=stepping, waits=waits, learns=section if learns else None
        )
    big = 1 << 15
    image = image_of(
        config,
        sections,
        weight=[[rng.randrange(-256, 256) for _ in range(32)] for _ in range(lanes)],
        vector=[[rng.randrange(-big + 1, big) for _ in range(WORDS)] for _ in range(lanes)],
        table=[(rng.randrange(-big, big), rng.randrange(-256, 256)) for _ in range(20)],
        exponent=[[rng.randrange(4) for _ in range(chunks + 2)] for _ in range(drains)],
        frame=FRAME,
    )
    return overlapping(rng, image)


def overlapping(rng: random.Random, image: Image) -> Image:
    """Step sections with several steps in flight: every entry works for a random one of them."""
    sections, mac, drain = list(image.sections), list(image.mac), list(image.drain)
    ends = [*((s.mac, s.drain) for s in sections[1:]), (len(mac), len(drain))]
    for section in (s for s in sections_of(image.config.learns) if s in REPEATED):
        overlap = rng.choice([0, 1, 2, STAGES - 1])
        entry, (mac_end, drain_end) = sections[section], ends[section]
        for index in range(entry.mac, mac_end - 1):
            goes_on = mac[index].destination is Destination.ACCUMULATOR and not mac[index].clear
            stage = mac[index - 1].stage if goes_on else rng.randint(0, overlap)
            mac[index] = replace(mac[index], stage=stage)
        for index in range(entry.drain, drain_end - 1):
            drain[index] = replace(drain[index], stage=rng.randint(0, overlap))
        sections[section] = replace(entry, last=entry.last + rng.randrange(5), overlap=overlap)
    most = max(s.overlap for s in sections)
    config = replace(image.config, frames=most + rng.choice([1, 2, 3]))
    return replace(
        image, config=config, sections=tuple(sections), mac=tuple(mac), drain=tuple(drain)
    )


def random_pass(rng: random.Random, image: Image, kind: EnginePass = EnginePass.FORWARD) -> Pass:
    (step,) = (image.sections[s] for s in PLAYS[kind] if s in REPEATED)
    if kind in BY_ROWS:
        rows = {Register.WEIGHT_ROW: rng.randrange(9), Register.GRADIENT_ROW: rng.randrange(4)}
        return Pass(((),) * rng.randrange(5), kind, {**rows, Register.SHIFT_LENGTH: 1})
    # A pass without a step section would leave its frames to the next one.
    steps = rng.randrange(1, 4) if step.length else 0
    frames = tuple(tuple(rng.randrange(-999, 999) for _ in range(FRAME)) for _ in range(steps))
    every, config = rng.randint(1, 3), image.config
    most = {Space.VECTOR: 1 << config.word - 1, Space.GRADIENT: 1 << config.gradient_bits - 1}
    writes = tuple(
        (space, rng.randrange(config.lanes), rng.randrange(WORDS), rng.randrange(1 - end, end))
        for space, end in most.items()
        for _ in range(rng.randrange(4) if kind is EnginePass.RESUME else 0)
    )
    registers = {
        Register.OUTPUT_STEP: every,
        Register.OUTPUT_PHASE: rng.randrange(every),
        Register.SHIFT_LENGTH: rng.randrange(4),
    }
    return Pass(frames, kind, registers, writes)


@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("lanes", "drains"), SIZES)
def test_random_program(lanes: int, drains: int, seed: int, stalls: bool) -> None:
    rng = random.Random(f"{lanes} {drains} {seed}")
    image = random_image(rng, lanes, drains, waits=stalls)
    passes = [random_pass(rng, image, kind) for kind in KINDS]
    check(image, passes, seed=seed if stalls else None)
