"""The engine's golden twin: the same programs, the same integers, the same cycles.

It runs entries at the times they name and lets results land when `Timing` says, so it agrees
with the RTL also on programs that read a word while its update is in flight. Waiting lets what is
in flight land.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from echoloom.hdl.golden_sequencer import GoldenSequencer, Landing
from echoloom.ir.arithmetic import Overflow, Rounding, narrow, piecewise_linear, round_shift
from echoloom.ir.contract import (
    Add,
    Destination,
    DrainEntry,
    Image,
    MacEntry,
    Narrow,
    Register,
    Wide,
    XMode,
)
from echoloom.ir.engine_passes import adds
from echoloom.ir.flags import Flag
from echoloom.ir.ops import DynamicShift
from echoloom.ir.reports import Report, peak_shift
from echoloom.ir.sections import LEARNING, Section

# The same words come again and again, and NumPy takes its time with a single one.
_rounded = lru_cache(maxsize=1 << 16)(round_shift)
_narrowed = lru_cache(maxsize=1 << 16)(narrow)


class GoldenEngine(GoldenSequencer):
    """An engine with its memories; `vector[lane][address]` and so on are plain integers.

    `y_words` and `bases`: where Y operands and bases are read; the same lists as `vector`, unless
    somebody gives it others, as a circuit has. `slots` and `rows`: sums that wait for a drain;
    `accumulator` and `tree`: those that grow.
    """

    def __init__(self, image: Image, rounding: Rounding = Rounding.HALF_EVEN) -> None:
        super().__init__(image)
        config = image.config
        self._rounding = rounding
        self.weight = _filled(image.weight, config.lanes, config.weight_depth)
        self.vector = _filled(image.vector, config.lanes, config.vector_depth)
        self.y_words = self.bases = self.vector
        self.gradient = _filled((), config.lanes, config.gradient_depth)
        self.exponent = _filled(image.exponent, config.drains, config.exponent_depth)
        self.accumulator = [0] * config.lanes
        self._summed_at = -2  # cycle of the last element that went there
        self.tree = 0
        self.slots = _filled((), config.slots, config.lanes)
        self.rows = _filled((), config.slots, config.lanes)  # the tree's

    def _store(
        self, when: int, memory: list[int], address: int, value: int, lane: int | None = None
    ) -> None:
        """`memory[address]` changes for readers from cycle `when` on; a bank names its lane."""
        memories = [memory] if lane is None else [memory, self.y_words[lane], self.bases[lane]]
        self.landing.setdefault(when, []).append(Landing(tuple(memories), address, value, lane))

    def _wrap(self, value: int, bits: int) -> int:
        """A sum in so many bits; raises the flag where it does not fit."""
        wrapped = _low_bits(value, bits)
        if wrapped != value:
            self.result.flags |= Flag.ACCUMULATOR
        return wrapped

    def _x(self, entry: MacEntry, i: int) -> list[int]:
        """The X operand of every lane."""
        lanes = self.image.config.lanes
        match entry.x_mode:
            case XMode.LOCAL:
                return [bank[entry.x_base + i * entry.x_step] for bank in self.vector]
            case XMode.BROADCAST:
                word, bank = divmod(entry.x_bank + i * entry.x_step, lanes)
                return [self.vector[bank][entry.x_base + word]] * lanes
            case XMode.INPUT:
                frame = self.frames[self.steps[entry.stage]]
                return [frame[entry.x_base + i * entry.x_step]] * lanes

    def _row(self, register: Register, stage: int) -> int:
        """By how much addresses are further on, of an entry of this stage."""
        if self._where[0] not in LEARNING:
            return 0
        return self.registers[register] + self.steps[stage]

    def _multiply(self, now: int, entry: MacEntry, o: int, i: int) -> None:
        timing, config = self._timing, self.image.config
        lanes = range(config.lanes)
        self.result.busy += entry.lanes
        x = self._x(entry, i)
        y = [bank[entry.y_base + i * entry.y_step] for bank in self.y_words]
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
        section, step = self._where[0], self.steps[entry.stage]
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
                        total = self.accumulator[lane] + products[lane]
                    self.accumulator[lane] = self._wrap(total, config.accumulator)
                    if last and entry.push:
                        self._store(now + timing.mac_to_slot, self.slots[entry.slot], lane,
                                    self.accumulator[lane])  # fmt: skip
            case Destination.TREE:
                total = sum(products) + (self.tree if i else 0)
                self.tree = self._wrap(total, config.accumulator)
                if i == entry.inner - 1 and entry.push:
                    when = now + timing.tree_to_slot + config.tree_latency
                    self._store(when, self.rows[entry.slot], o, self.tree)
            case Destination.GRADIENT:
                address = entry.g_base + g_row + i
                overwrites = step == 0 and not adds(self._kind, section)
                for lane in lanes:
                    old = 0 if overwrites else self.gradient[lane][address]
                    self._store(now + timing.gradient, self.gradient[lane], address,
                                self._wrap(old + products[lane], config.gradient_bits))  # fmt: skip
            case Destination.EMIT:
                every = self.registers[Register.OUTPUT_STEP]
                since = self.registers[Register.OUTPUT_PHASE] + step + 1
                if section is not Section.FORWARD_STEP or since % every == 0:
                    self.result.outputs.append(x[entry.x_bank if entry.x_mode == 0 else 0])

    def _requantise(self, now: int, entry: DrainEntry, c: int) -> None:
        config, timing = self.image.config, self._timing
        dynamic = {
            DynamicShift.NONE: 0,
            DynamicShift.LENGTH: self.registers[Register.SHIFT_LENGTH],
            DynamicShift.PEAK: peak_shift(self.peak),
        }[entry.dynamic]
        for drain in range(config.drains):
            lane = c * config.drains + drain
            if lane >= entry.count:
                continue
            exponent = self.exponent[drain][entry.exponents + c] if entry.use_exponents else 0
            shift = min(entry.shift + dynamic + exponent, 63)
            sums = self.rows if entry.tree else self.slots
            total = int(_rounded(sums[entry.slot][lane], shift, self._rounding))
            base = self.bases[lane][entry.base]
            exact = {Add.NONE: total, Add.PLUS: base + total, Add.MINUS: base - total}[entry.add]
            z, over = _narrowed(exact, entry.width, entry.overflow)
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
                self.result.flags |= Flag.STATE if wraps else Flag.SATURATED
            case Report.PEAK:
                self.peak |= exact ^ (exact >> 63)
            case Report.CLAMP if over:
                self.result.flags |= Flag.WEIGHT
                self.clamped += 1
            case _:
                pass

    def _look_up(self, entry: DrainEntry, z: int) -> int:
        table = np.asarray(
            self.image.table[entry.table : entry.table + (1 << entry.segment_bits)], np.int64
        )
        y, over = piecewise_linear(
            z,
            table[:, 0],
            table[:, 1],
            segment_bits=entry.segment_bits,
            fraction_bits=entry.fraction_bits,
            slope_shift=entry.slope_shift,
            word=self.image.config.word,
            rounding=self._rounding,
        )
        if over:
            self.result.flags |= Flag.SATURATED
        return int(y)


def _filled(rows: Sequence[Sequence[int]], count: int, depth: int) -> list[list[int]]:
    """`count` rows of `depth` words, zero where nothing is given."""
    given = [list(row) for row in rows] + [[] for _ in range(count - len(rows))]
    return [row + [0] * (depth - len(row)) for row in given]


def _low_bits(value: int, bits: int) -> int:
    """The signed number in the low bits: what a narrow operand keeps of a word."""
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
