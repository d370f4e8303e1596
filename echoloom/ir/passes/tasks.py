"""Units of work that the scheduler orders: multiplications, then perhaps one drain.

They say what an engine's entries say but for what is not known yet: when they start, through which
slot they go, and where the words are that tasks share (`entries.Shared`).
"""

from __future__ import annotations

from dataclasses import dataclass

from echoloom.ir.arithmetic import Overflow
from echoloom.ir.contract import Add, Destination, Narrow, Wide, XMode
from echoloom.ir.ops import DynamicShift
from echoloom.ir.reports import Report
from echoloom.ir.tables import TableContents


@dataclass(frozen=True)
class Read:
    """A vector-memory word that a task needs: row group `group` of `value`.

    For multiply operands `first` and `last` are the cycles, from the multiplication's start, in
    which it is read; base words are read in the drain. What is `awaited` has to be there by then,
    and no operand reads it.
    """

    value: str
    group: int
    first: int = 0
    last: int = 0
    awaited: bool = False


@dataclass(frozen=True)
class Weights:
    """Weight words from `base`: `inner` further with each element, `outer` with each row."""

    base: int = 0
    inner: int = 0
    outer: int = 0


@dataclass(frozen=True)
class Factor:
    """A weight word that holds `value` in every lane."""

    value: int


@dataclass(frozen=True)
class X:
    """What the X port reads: from `base`, as `mode` counts, `step` further with each element."""

    mode: XMode = XMode.LOCAL
    base: int = 0
    step: int = 0


@dataclass(frozen=True)
class Into:
    """Where a multiplication's products go; `gradient` is an address, read when `load` is set."""

    destination: Destination = Destination.ACCUMULATOR
    clear: bool = True
    push: bool = True
    gradient: int = 0
    load: bool = False


@dataclass(frozen=True)
class Multiply:
    """`outer` x `inner` elements, one a cycle, as in `MacEntry`, and the words that they read."""

    reads: tuple[Read, ...] = ()
    into: Into = Into()
    inner: int = 1
    outer: int = 1
    narrow: Narrow = Narrow.WEIGHT
    wide: Wide = Wide.X
    weights: Weights | Factor = Weights()
    x: X = X()
    y: int = 0  # address of the first word at the Y port
    y_step: int = 0
    lanes: int = 0

    @property
    def cycles(self) -> int:
        return self.inner * self.outer


@dataclass(frozen=True)
class Base:
    """The word at `address` that a rounded result is added to, or taken from."""

    add: Add
    address: int
    read: Read


@dataclass(frozen=True)
class Exponents:
    """Extra shifts of row group `group` of a product with this coefficient."""

    coefficient: str
    fracs: tuple[int, ...]
    group: int


@dataclass(frozen=True)
class Drain:
    """Makes `count` lanes of a sum words at vector address `destination` (`to_weight`: of weight
    memory), as in `DrainEntry`."""

    count: int
    destination: int
    width: int
    tree: bool
    shift: int = 0
    overflow: Overflow = Overflow.SATURATE
    dynamic: DynamicShift = DynamicShift.NONE
    base: Base | None = None
    exponents: Exponents | None = None
    table: TableContents | None = None
    to_weight: bool = False
    report: Report = Report.SWEEP


@dataclass(frozen=True)
class Task:
    """Multiplications that run back to back; a `drain` writes row group `group` of `value`.

    `replaces` names the state whose old words the drain overwrites.
    """

    label: str
    multiplies: tuple[Multiply, ...]
    drain: Drain | None = None
    value: str = ""
    group: int = 0
    replaces: str = ""

    @property
    def cycles(self) -> int:
        return sum(m.cycles for m in self.multiplies)

    @property
    def base(self) -> Read | None:
        """The word that the drain reads."""
        return self.drain.base.read if self.drain is not None and self.drain.base else None

    @property
    def reads(self) -> tuple[Read, ...]:
        """The words that the multiplications read."""
        return tuple(r for m in self.multiplies for r in m.reads)
