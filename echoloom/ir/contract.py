"""The engine's contract: sizes, instruction formats, timing and memory images.

The scheduler writes these values and the hardware reads them; neither knows the other.
`docs/engine.md` explains the machine; this file is the single definition of its formats.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.entry_layouts import MAC_LAYOUT, MOST_LANES, MOST_WORDS, NEVER
from echoloom.ir.ops import DynamicShift
from echoloom.ir.reports import Report
from echoloom.ir.widths import Widths


class Narrow(enum.IntEnum):
    """Source of the multiplier's narrow operand."""

    WEIGHT = 0
    X = 1
    Y = 2


class Wide(enum.IntEnum):
    """Source of the multiplier's wide operand."""

    X = 0
    Y = 1


class XMode(enum.IntEnum):
    """What the X port reads."""

    LOCAL = 0  # every lane reads its own bank at x_base + i * x_step
    BROADCAST = 1  # all lanes get vector element x_bank + i * x_step, counted from word x_base
    INPUT = 2  # all lanes get input-frame element x_base + i * x_step


class Destination(enum.IntEnum):
    """Where a product goes."""

    ACCUMULATOR = 0  # each lane's accumulator
    TREE = 1  # the sum over lanes goes into the tree's single accumulator
    GRADIENT = 2  # gradient[g_base + i] += product, in each lane
    EMIT = 3  # no product: the X value goes to the output stream


class Add(enum.IntEnum):
    """How the drain combines the rounded result r with the base word."""

    NONE = 0  # r
    PLUS = 1  # base + r
    MINUS = 2  # base - r


class Register(enum.IntEnum):
    """Word addresses in Space.REGISTER. An engine that does not learn lacks those from WEIGHT_ROW
    on, and its PEAK is 0."""

    COMMAND = 0  # write an EnginePass: it starts
    STATUS = 1  # bit 0 busy, bit 1 done (cleared by COMMAND)
    FLAGS = 2  # sticky Flag bits of the last pass
    LENGTH = 3  # T, number of steps
    OUTPUT_STEP = 4  # every n-th EMIT instruction group reaches the output stream (1: all)
    FRAME = 5  # elements in one input frame
    SHIFT_LENGTH = 6
    PEAK = 7  # read only: the shift that leaves PEAK_BITS bits of what the last SCAN measured
    CYCLES = 8  # clock cycles of the last pass, waits for input and output excluded
    STALLS = 9  # clock cycles the last pass waited
    BUSY = 10  # sum over cycles of useful lanes (MacEntry.lanes)
    OUTPUT_PHASE = 11  # steps since the last kept one, before a forward pass; below OUTPUT_STEP
    WEIGHT_ROW = 12  # of weight memory: where a SCAN or UPDATE pass begins, beside its entries' own
    GRADIENT_ROW = 13  # likewise of gradient memory
    CLAMPED = 14  # results of report CLAMP out of their range, since an UPDATE pass began


class Space(enum.IntEnum):
    """Host-visible memories. Every access names a space, a lane (or column) and an address."""

    REGISTER = 0
    WEIGHT = 1  # lane, address -> narrow signed word
    VECTOR = 2  # lane, address -> wide signed word
    GRADIENT = 3  # lane, address -> gradient-wide signed word
    TABLE = 4  # address -> {slope: narrow bits above, base: word bits below}
    EXPONENT = 5  # lane = drain index, address -> unsigned extra shift
    MAC = 6  # lane = column of the entry, address
    DRAIN = 7  # likewise
    SECTION = 8  # likewise, address = Section


@dataclass(frozen=True)
class MacEntry:
    """One multiply instruction: `outer` x `inner` elements, one a cycle, from cycle `start`.

    For element (o, i): weight address w_base + o*w_outer + i*w_inner; X as XMode says;
    Y reads y_base + i*y_step in every lane; gradient address g_base + i.
    ACCUMULATOR: `clear` starts from zero at the first element (or from the gradient word at
    g_base, product ignored, when load_gradient); `push` copies every lane's sum after the
    last element into result slot `slot`. TREE: sum over inner and over lanes, restarted for
    every o, becomes row o of the tree's own slot `slot`.

    In SCAN and UPDATE an entry that works for step k adds WEIGHT_ROW + k to its weight addresses
    and GRADIENT_ROW + k to its gradient address.
    """

    start: int
    inner: int = 1
    outer: int = 1
    destination: Destination = Destination.ACCUMULATOR
    clear: bool = True
    push: bool = True
    slot: int = 0
    narrow: Narrow = Narrow.WEIGHT
    wide: Wide = Wide.X
    load_gradient: bool = False
    w_base: int = 0
    w_inner: int = 0
    w_outer: int = 0
    x_mode: XMode = XMode.LOCAL
    x_base: int = 0
    x_bank: int = 0
    x_step: int = 0
    y_base: int = 0
    y_step: int = 0
    g_base: int = 0
    lanes: int = 0  # useful products a cycle, counted by Register.BUSY
    stage: int = 0


@dataclass(frozen=True)
class DrainEntry:
    """Requantise lanes 0..count-1 of a result slot and write them to vector word `destination`;
    with `tree` rows 0..count-1 of a slot of the tree's, row o then goes to lane o.

    r = half_even(acc / 2**s), s = shift + dynamic register + exponent (when used);
    z = r, base + r or base - r; z is wrapped or saturated to `width` bits (symmetric range);
    with use_table: segment = clamp(z >> fraction_bits) to `segment_bits` bits signed,
    f = z - (segment << fraction_bits),
    y = saturate(base[segment] + half_even(slope[segment] * f / 2**slope_shift)) to the word.
    Exponent memory: drain d reads address exponents + c for its c-th result.
    Table memory: address table + segment + 2**(segment_bits - 1).
    With `to_weight` the result, of `narrow` bits or less, becomes weight word `destination` of its
    lane instead (in SCAN and UPDATE, for step k: destination + WEIGHT_ROW + k); not through a
    table. `report` says what z out of its range raises.
    """

    start: int
    slot: int
    count: int
    destination: int
    tree: bool = False
    base: int = 0
    add: Add = Add.NONE
    shift: int = 0
    dynamic: DynamicShift = DynamicShift.NONE
    use_exponents: bool = False
    exponents: int = 0
    width: int = Widths.word
    overflow: Overflow = Overflow.SATURATE
    use_table: bool = False
    table: int = 0
    segment_bits: int = 9
    fraction_bits: int = 0
    slope_shift: int = 0
    stage: int = 0
    to_weight: bool = False
    report: Report = Report.SWEEP


SHORTEST = 4  # cycles of a section: the next one's entries are fetched before it ends


@dataclass(frozen=True)
class SectionEntry:
    """First MAC and drain entry of a section, and its length in cycles (0: section skipped).

    A step section is played `overlap` times more than there are time steps: in iteration i an
    entry of stage s works for step i - s, and is passed over where there is no such step.
    Stages go up to `overlap`. The section's last iteration takes `last` cycles.
    """

    mac: int
    drain: int
    length: int
    last: int
    overlap: int = 0

    def __post_init__(self) -> None:
        if 0 < min(self.length, self.last) < SHORTEST:
            raise ValueError(f"a section takes 0 cycles, or {SHORTEST} or more, got {self}")

    def cycles(self, iterations: int, overhead: int) -> int:
        """Clock cycles of the section, waits excluded; `iterations`: time steps, else 1."""
        if not self.length or not iterations:
            return 0
        full = iterations + self.overlap - 1
        return full * (self.length + overhead) + self.last + overhead


# Sizes that the host bus addresses.
ADDRESSED = (
    "weight_depth", "vector_depth", "gradient_depth", "table_depth", "exponent_depth", "mac_depth",
    "drain_depth",
)  # fmt: skip


@dataclass(frozen=True)
class EngineConfig:
    """Sizes of one engine, fixed at synthesis; a program needs a config at least as large.

    `drains` results are requantised per cycle, `slots` row groups wait between accumulators
    and requantisers, and as many between the tree and them. Depths count words per lane.
    `gradient` is the width of a gradient word, where that is less than the accumulator's;
    `base_depth` counts the first words of vector memory that a drain can add to, where those are
    not all. `learns`: it has the sections SCAN and UPDATE and what only these need.

    Raises ValueError for sizes that the host bus cannot address, and for parts that are larger than
    what they are a part of.
    """

    lanes: int
    drains: int
    slots: int = 4
    word: int = Widths.word
    narrow: int = Widths.narrow
    accumulator: int = Widths.accumulator
    weight_depth: int = 1024
    vector_depth: int = 512
    gradient_depth: int = 1024
    table_depth: int = 2048
    exponent_depth: int = 64
    mac_depth: int = 1024
    drain_depth: int = 1024
    frame_depth: int = 128  # elements of one input frame
    frames: int = 2  # of all time steps in flight, and one that arrives
    output_depth: int = 64
    section_cycles: int = NEVER  # of the longest iteration of a section
    run: int = (1 << MAC_LAYOUT["inner"]) - 1  # elements that an instruction walks in one row
    gradient: int | None = None
    base_depth: int | None = None
    learns: bool = False

    def __repr__(self) -> str:
        """As of any dataclass, but that the last field, `learns`, is there only where it does: what
        names an engine by this text goes on to mean the engines that do not."""
        said = fields(self)[: None if self.learns else -1]
        return f"EngineConfig({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in said)})"

    def __post_init__(self) -> None:
        if not 1 <= self.lanes <= MOST_LANES or not 1 <= self.drains <= self.lanes:
            raise ValueError(
                f"an engine needs 1 <= lanes <= {MOST_LANES} and 1 <= drains <= lanes, "
                f"got lanes={self.lanes}, drains={self.drains}"
            )
        for name in ADDRESSED:
            if getattr(self, name) > MOST_WORDS:
                raise ValueError(
                    f"an engine addresses {MOST_WORDS} words of a memory, "
                    f"got {name}={getattr(self, name)}"
                )
        for part, whole in (("gradient", "accumulator"), ("base_depth", "vector_depth")):
            value = getattr(self, part)
            if value is not None and not 1 <= value <= getattr(self, whole):
                raise ValueError(
                    f"an engine needs 1 <= {part} <= {whole}, got {part}={value}, "
                    f"{whole}={getattr(self, whole)}"
                )

    @classmethod
    def of(cls, widths: Widths, lanes: int, drains: int, slots: int) -> EngineConfig:
        """An engine for words of these widths; `place` finds the depths that a program needs."""
        return cls(lanes, drains, slots, widths.word, widths.narrow, widths.accumulator)

    @property
    def widths(self) -> Widths:
        """The lengths of its words."""
        return Widths(self.word, self.narrow, self.accumulator)

    @property
    def gradient_bits(self) -> int:
        """Bits of a gradient word."""
        return self.accumulator if self.gradient is None else self.gradient

    @property
    def bases(self) -> int:
        """Words of every lane that a drain can add to."""
        return self.vector_depth if self.base_depth is None else self.base_depth

    @property
    def tree_latency(self) -> int:
        """Registers in the adder tree: one after every level."""
        return (self.lanes - 1).bit_length()


@dataclass(frozen=True)
class Timing:
    """Static latencies in cycles; the RTL is built from these and the scheduler promises by them.

    A MAC element issued in cycle t, a drain chunk issued in cycle t:
    mac_to_slot:   a drain may read the slot in cycle t + mac_to_slot (t of the last element)
    tree_to_slot:  likewise for TREE, plus EngineConfig.tree_latency
    gradient:      the same gradient word may be read again in cycle t + gradient
    drain_direct:  the written word may be read (X, Y or base) in cycle t + drain_direct
    drain_table:   likewise for results that pass the table
    overhead:      cycles between the last cycle of a section and cycle 0 of the next
    """

    mac_to_slot: int = 11
    tree_to_slot: int = 11
    gradient: int = 5
    drain_direct: int = 11
    drain_table: int = 25
    overhead: int = 2


@dataclass(frozen=True)
class Image:
    """Everything a host loads into an engine before the first pass.

    Memories are dense: weight[lane][address] and so on; what is missing at the end is zero.
    """

    config: EngineConfig
    weight: tuple[tuple[int, ...], ...]
    vector: tuple[tuple[int, ...], ...]
    table: tuple[tuple[int, int], ...]  # (base, slope)
    exponent: tuple[tuple[int, ...], ...]  # [drain][address]
    mac: tuple[MacEntry, ...]
    drain: tuple[DrainEntry, ...]
    sections: tuple[SectionEntry, ...]  # indexed by Section
    frame: int
    timing: Timing = field(default_factory=Timing)
