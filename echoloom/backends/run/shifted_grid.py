"""An integer program in real numbers, with every rounding made on a grid that is shifted at random.

What formats cost cannot be read off the formats: half a unit in one word grows, or dies out, on its
way to the result. So the program runs again in float64 and rounds every word to units of its
format, counted from elsewhere. How far such results lie apart is what these formats do to them. A
grid is shifted alike on both sides of zero, so that an increment stays odd and an echo goes back
the way that it came, as in integers: with units of 1 and a shift of 0.2, 3.1 becomes 3.2 (of ...,
2.2, 3.2, 4.2) and -3.1 becomes -3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echoloom.backends.run.integers import Floats
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir import real
from echoloom.ir.arithmetic import Overflow
from echoloom.ir.formats import Q, largest
from echoloom.ir.functions import FUNCTIONS
from echoloom.ir.host import Host, RunResult, run
from echoloom.ir.interpret import Machine, Rule, Value
from echoloom.ir.ops import DynamicShift, Op, Requant, Table
from echoloom.ir.parity import Parity
from echoloom.ir.program import Instr
from echoloom.ir.staged import StagedMachine


def unit_of(q: Q, rank: int) -> Floats:
    """What one unit of a word means, in a shape that broadcasts against words of `rank` axes."""
    units: Floats = np.asarray(2.0**-q.grid, np.float64)
    if q.columns:
        return units
    return units.reshape(-1, *(1,) * (rank - 1)) if units.ndim else units


@dataclass
class Grids:
    """One shift in [-0.5, 0.5) for the grid of every element of every word.

    Copies of a word have one grid, as they have one format: what plus and minus round alike is not
    in their difference.
    """

    random: np.random.Generator
    shifts: dict[object, Floats] = field(default_factory=dict)

    def shift(self, word: object, shape: tuple[int, ...]) -> Floats:
        """The shifts of a word of this shape: a declared one's name or an instruction's kin."""
        if word not in self.shifts:
            self.shifts[word] = self.random.uniform(-0.5, 0.5, shape)
        return self.shifts[word]

    def rounded(self, word: object, value: Floats, shape: tuple[int, ...], q: Q) -> Floats:
        """`value` [..., *shape] on the grid of `word`."""
        shift, unit = self.shift(word, shape), unit_of(q, len(shape))
        return np.sign(value) * (np.rint(np.abs(value) / unit - shift) + shift) * unit


class ShiftedMachine(StagedMachine):
    """A Machine of an integer program in real numbers; without `grids` nothing is rounded.

    `coefficients` are the exact ones, by the program's names.
    """

    def __init__(
        self, program: IntegerProgram, coefficients: Mapping[str, Floats], grids: Grids | None
    ):
        self.grids = grids
        values = {d.name: coefficients[d.name] for d in program.program.coefficients}
        self.declared = {
            d.name: d.type
            for d in (
                *program.program.globals(), *(d for b in program.program.bodies for d in b.frame)
            )
        }  # fmt: skip
        values = {name: self.word(name, value) for name, value in values.items()}
        super().__init__(
            program.program, real.REAL_RULES if grids is None else SHIFTED_RULES, values
        )

    def word(self, name: str, value: Floats) -> Floats:
        """A coefficient, or what the host sends, as its word holds it."""
        value = np.asarray(value, np.float64)
        if self.grids is None:
            return value
        type_ = self.declared[name]
        rounded = self.grids.rounded(name, value, type_.shape or (1,), type_.q)
        words = value / unit_of(type_.q, len(type_.shape) or 1)
        return np.where(words == np.rint(words), value, rounded)


def real_run(
    program: IntegerProgram,
    coefficients: Mapping[str, Floats],
    x: Floats,
    labels: Any = None,
    grids: Grids | None = None,
    nudge: float = 1.0,
) -> RunResult:
    """In real numbers: x [n, T, inputs], with labels [n] (or targets [n, T', outputs]) the echo.

    The error, and with it every nudge, is taken times `nudge`, a power of two; the exponent makes
    up for it.
    """
    machine = ShiftedMachine(program, coefficients, grids)
    host = Host(program.program, program.output_step, machine.word)
    with np.errstate(all="ignore"):  # a word that leaves a function's range gives nan
        return run(host, machine.sweep, x, labels, nudge=nudge)


def _held(m: Machine, i: Instr, value: Floats) -> Floats:
    """A word that has no room for a value holds its largest."""
    end = largest(i.type.q.width) * unit_of(i.type.q, len(i.type.shape) or 1)
    return np.clip(value, -end, end)


def _requant(m: Machine, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Requant) and isinstance(m, ShiftedMachine) and m.grids is not None
    value = real.REAL_RULES[Op.REQUANT](m, i, args)
    if i.attr.register is not DynamicShift.NONE or max(m.type(i.args[0]).q.fracs) > min(
        i.type.q.fracs
    ):
        value = m.grids.rounded(i.kin, value, i.type.shape or (1,), i.type.q)
    return value if i.attr.overflow is Overflow.WRAP else _held(m, i, value)


def _table(m: Machine, i: Instr, args: list[Value]) -> Value:
    assert isinstance(i.attr, Table) and isinstance(m, ShiftedMachine) and m.grids is not None
    shape = i.type.shape or (1,)
    exact = real.REAL_RULES[Op.TABLE](m, i, args) + _off_the_curve(m, i, args[0])
    return _held(m, i, m.grids.rounded(i.kin, exact, shape, i.type.q))


def _off_the_curve(m: ShiftedMachine, i: Instr, x: Floats) -> Floats:
    """Straight lines leave a curve and come back in every segment, here at any phase; by a unit
    more because their ends are rounded.

    A chord over a segment of width s is off by (f(a) + f(b)) / 2 - f(middle) at most, and half as
    much once it is moved (`ir.tables`).
    """
    assert isinstance(i.attr, Table) and m.grids is not None
    function = FUNCTIONS[i.attr.function]
    width = 2.0 ** (i.attr.range_bits + 1 - i.attr.segment_bits)
    left, middle, right = (
        function.evaluate_beside(at, width) for at in (x - width / 2, x, x + width / 2)
    )
    most = np.abs(left + right - 2.0 * middle) / 4.0 + unit_of(i.type.q, 1)
    place = x / width if function.parity is Parity.UNKNOWN else np.abs(x) / width
    wave = most * np.sin(2 * np.pi * (place + m.grids.shift(i.kin, i.type.shape or (1,))))
    return wave * np.sign(x) if function.parity is Parity.ODD else wave


SHIFTED_RULES: Mapping[Op, Rule] = {**real.REAL_RULES, Op.REQUANT: _requant, Op.TABLE: _table}
