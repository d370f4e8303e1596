"""The component that is simulated: the engine with its trace gathered into one wide port."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Shape, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from echoloom.ir.engine import Section
from echoloom.sim.requests import TraceWrite

PORTS = ("request", "response", "samples", "outputs")
HEAD = ("section", "iteration")
WRITE = ("valid", "lane", "address", "value")


class Bench(wiring.Component):
    """An engine, or anything with its ports, ready for the players.

    `trace_bits` holds the trace port's signals, HEAD and then WRITE for every drain, least
    significant first; `trace_valid` is high while any drain writes.
    """

    trace_valid: Any
    trace_bits: Any

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self._head = [getattr(engine.trace, name) for name in HEAD]
        self._drains = [[getattr(drain, name) for name in WRITE] for drain in engine.trace.drains]
        members = {name: engine.signature.members[name] for name in PORTS}
        width = len(Cat(self._head, self._drains))
        super().__init__({**members, "trace_valid": Out(1), "trace_bits": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = self.engine
        for name in PORTS:
            inner, outer = getattr(self.engine, name), getattr(self, name)
            outer = wiring.flipped(outer)
            if self.signature.members[name].flow == In:
                inner, outer = outer, inner
            wiring.connect(m, inner, outer)
        m.d.comb += [
            self.trace_valid.eq(Cat(drain[0] for drain in self._drains).any()),
            self.trace_bits.eq(Cat(self._head, self._drains)),
        ]
        return m

    @property
    def trace_columns(self) -> int:
        """64-bit columns of one recorded row of `trace_bits`."""
        return -(-len(self.trace_bits) // 64)

    def trace_writes(self, rows: np.ndarray) -> tuple[TraceWrite, ...]:
        """The writes in recorded rows (uint64 [n, trace_columns]), drains in order in a row."""
        if not len(rows):
            return ()
        position = 0

        def take(signal: Any) -> np.ndarray:
            nonlocal position
            shape = Shape.cast(Value.cast(signal).shape())
            field = _field(rows, position, shape)
            position += shape.width
            return field

        section, iteration = (take(signal) for signal in self._head)
        drains = [[take(signal) for signal in drain] for drain in self._drains]
        return tuple(
            TraceWrite(Section(int(section[n])), int(iteration[n]), *(int(f[n]) for f in write))
            for n in range(len(rows))
            for valid, *write in drains
            if valid[n]
        )


def _field(rows: np.ndarray, position: int, shape: Shape) -> np.ndarray:
    """The field of up to 64 bits at bit `position` of every row, as int64."""
    column, shift = divmod(position, 64)
    bits = rows[:, column] >> np.uint64(shift)
    if shift + shape.width > 64:
        bits = bits | rows[:, column + 1] << np.uint64(64 - shift)
    return sign_extend(bits, shape.width) if shape.signed else _low(bits, shape.width)


def _low(bits: np.ndarray, width: int) -> np.ndarray:
    return (bits & np.uint64((1 << width) - 1)).astype(np.int64)


def sign_extend(bits: np.ndarray, width: int) -> np.ndarray:
    """Two's complement words of `width` bits, given as uint64, as int64."""
    unused = np.uint64(64 - width)
    return (bits << unused).view(np.int64) >> np.int64(unused)
