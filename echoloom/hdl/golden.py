"""The engine's golden twin: the same programs, the same integers, the same cycles.

It runs entries at the times they name and lets results land when `Timing` says, so it agrees
with the RTL also on programs that read a word while its update is in flight. Waiting lets what is
in flight land.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from echoloom.hdl.pass_results import NEUTRAL, NEUTRAL_ROWS, PassResult, Write
from echoloom.ir.arithmetic import Overflow, Rounding, narrow, piecewise_linear, round_shift
from echoloom.ir.contract import (
    Add,
    Destination,
    DrainEntry,
    Image,
    MacEntry,
    Narrow,
    Register,
    Timing,
    Wide,
    XMode,
)
from echoloom.ir.engine_passes import PLAYS, REPEATED, EnginePass, adds, passes_of
from echoloom.ir.fields import never
from echoloom.ir.flags import Flag
from echoloom.ir.ops import DynamicShift
from echoloom.ir.reports import Report, peak_shift
from echoloom.ir.sections import LEARNING, Section


class _Landing(NamedTuple):
    """A word on its way to a memory."""

    memory: list[int]
    address: int
    value: int
    lane: int | None


class GoldenEngine:
    """An engine with its memories; `vector[lane][address]` and so on are plain integers.

    `peak`: the OR over z ^ (its sign) of what was measured since the last SCAN pass began;
    `clamped`: Register.CLAMPED.
    """

    def __init__(self, image: Image, rounding: Rounding = Rounding.HALF_EVEN) -> None:
        config = image.config
        self._image = image
        self._rounding = rounding
        self._never = never(config)
        self.weight = _filled(image.weight, config.lanes, config.weight_depth)
        self.vector = _filled(image.vector, config.lanes, config.vector_depth)
        self.gradient = _filled((), config.lanes, config.gradient_depth)
        self._exponent = _filled(image.exponent, config.drains, config.exponent_depth)
        self._accumulator = [0] * config.lanes
        self._summed_at = -2  # cycle of the last element that went there
        self._tree = 0
        self._slots = _filled((), config.slots, config.lanes)
        self._rows = _filled((), config.slots, config.lanes)  # the tree's
        self.peak = 0
        self.clamped = 0

    def run(
        self,
        kind: EnginePass,
        *,
        frames: Sequence[Sequence[int]],
        registers: Mapping[Register, int] = NEUTRAL,
        waits: Mapping[Section, Collection[int]] = MappingProxyType({}),
    ) -> PassResult:
        """One pass; changes the memories. LENGTH is the number of frames, empty ones in SCAN and
        UPDATE.

        `waits` names iterations of sections before which the engine waits, which takes no cycle
        that CYCLES counts.

        Raises ValueError for a pass that only an engine that learns has, where this does not.
        """
        if kind not in passes_of(self._image.config.learns):
            raise ValueError(f"only an engine that learns has a pass {kind.name}")
        self._result = PassResult()
        self._registers = {**NEUTRAL, **NEUTRAL_ROWS, **registers}
        self._landing: dict[int, list[_Landing]] = {}
        self._kind = kind
        if kind is EnginePass.SCAN:
            self.peak = 0
        if kind is EnginePass.UPDATE:
            self.clamped = 0
        now = 0
        for section in PLAYS[kind]:
            entry = self._image.sections[section]
            steps = len(frames) if section in REPEATED else 1
            iterations = steps + entry.overlap if steps and entry.length else 0
            for iteration in range(iterations):
                if iteration in waits.get(section, ()):
                    self._land_all()
                self._where = (section, iteration)
                # By stage: the step that it works for.
                self._steps = [iteration - stage for stage in range(entry.overlap + 1)]
                self._frames = [
                    frames[step] if section in REPEATED and 0 <= step < steps else ()
                    for step in self._steps
                ]
                macs = deque(self._elements(entry.mac))
                chunks = deque(self._chunks(entry.drain))
                length = entry.last if iteration == iterations - 1 else entry.length
                for time in range(length + self._timing.overhead):
                    self._land(now)
                    if macs and macs[0][0] == time:
                        _, mac, o, i = macs.popleft()
                        if 0 <= self._steps[mac.stage] < steps:
                            self._multiply(now, mac, o, i)
                    if chunks and chunks[0][0] == time:
                        _, drain, c = chunks.popleft()
                        if 0 <= self._steps[drain.stage] < steps:
                            self._requantise(now, drain, c)
                    now += 1
        self._result.cycles = now
        self._land_all()
        self._result.clamped, self._result.peak = self.clamped, peak_shift(self.peak)
        return self._result

    def _land_all(self) -> None:
        """What is in flight lands: the engine waits."""
        for late in sorted(self._landing):
            self._land(late)

    @property
    def _timing(self) -> Timing:
        return self._image.timing

    def _elements(self, address: int) -> Iterator[tuple[int, MacEntry, int, int]]:
        """(cycle, entry, o, i) of every MAC element of a section."""
        while (entry := self._image.mac[address]).start != self._never:
            for o in range(entry.outer):
                for i in range(entry.inner):
                    yield entry.start + o * entry.inner + i, entry, o, i
            address += 1

    def _chunks(self, address: int) -> Iterator[tuple[int, DrainEntry, int]]:
        """(cycle, entry, c) of every drain chunk of a section."""
        while (entry := self._image.drain[address]).start != self._never:
            for c in range(-(-entry.count // self._image.config.drains)):
                yield entry.start + c, entry, c
            address += 1

    def _store(
        self, when: int, memory: list[int], address: int, value: int, lane: int | None = None
    ) -> None:
        """`memory[address]` changes for readers from cycle `when` on; a bank names its lane."""
        self._landing.setdefault(when, []).append(_Landing(memory, address, value, lane))

    def _land(self, now: int) -> None:
        for word in self._landing.pop(now, ()):
            word.memory[word.address] = word.value
            if word.lane is not None:
                self._result.writes.append(Write(*self._where, word.lane, word.address, word.value))

    def _wrap(self, value: int, bits: int) -> int:
        """A sum in so many bits; raises the flag where it does not fit."""
        wrapped = _low_bits(value, bits)
        if wrapped != value:
            self._result.flags |= Flag.ACCUMULATOR
        return wrapped

    def _x(self, entry: MacEntry, i: int) -> list[int]:
        """The X operand of every lane."""
        lanes = self._image.config.lanes
        match entry.x_mode:
            case XMode.LOCAL:
                return [bank[entry.x_base + i * entry.x_step] for bank in self.vector]
            case XMode.BROADCAST:
                word, bank = divmod(entry.x_bank + i * entry.x_step, lanes)
                return [self.vector[bank][entry.x_base + word]] * lanes
            case XMode.INPUT:
                return [self._frames[entry.stage][entry.x_base + i * entry.x_step]] * lanes

    def _row(self, register: Register, stage: int) -> int:
        """By how much addresses are further on, of an entry of this stage."""
        if self._where[0] not in LEARNING:
            return 0
        return self._registers[register] + self._steps[stage]

    def _multiply(self, now: int, entry: MacEntry, o: int, i: int) -> None:
        timing, config = self._timing, self._image.config
        lanes = range(config.lanes)
        self._result.busy += entry.lanes
        x = self._x(entry, i)
        y = [bank[entry.y_base + i * entry.y_step] for bank in self.vector]
        w_row, g_row = (
            self._row(register, entry.stage)
            for register in (Register.WEIGHT_ROW, Register.GRADIENT_ROW)
        )
        w_address = entry.w_base + w_row + o * entry.w_outer + i * entry.w_inner
        weight = [bank[w_address % config.weight_depth] for bank in self.weight]
        narrow_operand = {Narrow.WEIGHT: weight, Narrow.X: x, Narrow.Y: y}[entry.narrow]
        wide_operand = {Wide.X: x, Wide.Y: y}[entry.wide]
        products = [
            _low_bits(a, config.narrow) * b
            for a, b in zip(narrow_operand, wide_operand, strict=True)
        ]
        first, last = o == i == 0, (o, i) == (entry.outer - 1, entry.inner - 1)
        section, step = self._where[0], self._steps[entry.stage]
        match entry.destination:
            case Destination.ACCUMULATOR:
                if first and not entry.clear and now != self._summed_at + 1:
                    raise ValueError(
                        f"a MAC entry in cycle {now} goes on with a sum that does not end in the "
                        "cycle before"
                    )
                self._summed_at = now
                for lane in lanes:
                    if first and entry.clear and entry.load_gradient:
                        total = self.gradient[lane][entry.g_base + g_row]
                    elif first and entry.clear:
                        total = products[lane]
                    else:
                        total = self._accumulator[lane] + products[lane]
                    self._accumulator[lane] = self._wrap(total, config.accumulator)
                    if last and entry.push:
                        self._store(now + timing.mac_to_slot, self._slots[entry.slot], lane,
                                    self._accumulator[lane])  # fmt: skip
            case Destination.TREE:
                total = sum(products) + (self._tree if i else 0)
                self._tree = self._wrap(total, config.accumulator)
                if i == entry.inner - 1 and entry.push:
                    when = now + timing.tree_to_slot + config.tree_latency
                    self._store(when, self._rows[entry.slot], o, self._tree)
            case Destination.GRADIENT:
                address = entry.g_base + g_row + i
                overwrites = step == 0 and not adds(self._kind, section)
                for lane in lanes:
                    old = 0 if overwrites else self.gradient[lane][address]
                    self._store(now + timing.gradient, self.gradient[lane], address,
                                self._wrap(old + products[lane], config.gradient_bits))  # fmt: skip
            case Destination.EMIT:
                every = self._registers[Register.OUTPUT_STEP]
                since = self._registers[Register.OUTPUT_PHASE] + step + 1
                if section is not Section.FORWARD_STEP or since % every == 0:
                    self._result.outputs.append(x[entry.x_bank if entry.x_mode == 0 else 0])

    def _requantise(self, now: int, entry: DrainEntry, c: int) -> None:
        config, timing = self._image.config, self._timing
        dynamic = {
            DynamicShift.NONE: 0,
            DynamicShift.LENGTH: self._registers[Register.SHIFT_LENGTH],
            DynamicShift.PEAK: peak_shift(self.peak),
        }[entry.dynamic]
        for drain in range(config.drains):
            lane = c * config.drains + drain
            if lane >= entry.count:
                continue
            exponent = self._exponent[drain][entry.exponents + c] if entry.use_exponents else 0
            shift = min(entry.shift + dynamic + exponent, 63)
            sums = self._rows if entry.tree else self._slots
            total = int(round_shift(sums[entry.slot][lane], shift, self._rounding))
            base = self.vector[lane][entry.base]
            exact = {Add.NONE: total, Add.PLUS: base + total, Add.MINUS: base - total}[entry.add]
            z, over = narrow(exact, entry.width, entry.overflow)
            self._report(entry, exact, bool(over))
            value, when = int(z), now + timing.drain_direct
            if entry.to_weight:
                address = entry.destination + self._row(Register.WEIGHT_ROW, entry.stage)
                value = _low_bits(value, config.narrow)
                self._store(when, self.weight[lane], address % config.weight_depth, value)
                continue
            if entry.use_table:
                value, when = self._look_up(entry, value), now + timing.drain_table
            self._store(when, self.vector[lane], entry.destination, value, lane)

    def _report(self, entry: DrainEntry, exact: int, over: bool) -> None:
        """What comes of a result `exact` that is `over` its range, beside its word."""
        match entry.report:
            case Report.SWEEP if over:
                wraps = entry.overflow is Overflow.WRAP
                self._result.flags |= Flag.STATE if wraps else Flag.SATURATED
            case Report.PEAK:
                self.peak |= exact ^ (exact >> 63)
            case Report.CLAMP if over:
                self._result.flags |= Flag.WEIGHT
                self.clamped += 1
            case _:
                pass

    def _look_up(self, entry: DrainEntry, z: int) -> int:
        table = np.asarray(
            self._image.table[entry.table : entry.table + (1 << entry.segment_bits)], np.int64
        )
        y, over = piecewise_linear(
            z,
            table[:, 0],
            table[:, 1],
            segment_bits=entry.segment_bits,
            fraction_bits=entry.fraction_bits,
            slope_shift=entry.slope_shift,
            word=self._image.config.word,
            rounding=self._rounding,
        )
        if over:
            self._result.flags |= Flag.SATURATED
        return int(y)


def _filled(rows: Sequence[Sequence[int]], count: int, depth: int) -> list[list[int]]:
    """`count` rows of `depth` words, zero where nothing is given."""
    given = [list(row) for row in rows] + [[] for _ in range(count - len(rows))]
    return [row + [0] * (depth - len(row)) for row in given]


def _low_bits(value: int, bits: int) -> int:
    """The signed number in the low bits: what a narrow operand keeps of a word."""
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
