"""The component that is simulated: the engine with its trace gathered into one wide port."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.layouts import drain_entry, mac_entry, trace
from echoloom.hdl.pass_results import Write
from echoloom.ir.contract import EngineConfig
from echoloom.ir.sections import Section

PORTS = ("request", "response", "samples", "outputs")
HEAD = ("section", "iteration")
ISSUES = ("mac", "drain")  # instruction streams
WRITE = ("valid", "lane", "address", "value")


def trace_layout(config: EngineConfig) -> data.StructLayout:
    """The engine's trace port as one word, so that players need not know how many drains."""
    members = trace(config).members
    write = members["drains"].signature.members
    drain = data.StructLayout({name: write[name].shape for name in WRITE})
    head = {name: members[name].shape for name in HEAD}
    return data.StructLayout({**head, "drains": data.ArrayLayout(drain, config.drains)})


class Bench(wiring.Component):
    """An engine, or anything with its ports, ready for the players.

    `trace_valid` is high while any drain writes to vector memory, `trace_bits` says what; the
    section and the iteration in it are always the engine's. `mac_begin` is high in the cycle in
    which `mac_entry` is taken; the same of the drains.
    """

    trace_valid: Any
    trace_bits: Any
    mac_begin: Any
    mac_entry: Any
    drain_begin: Any
    drain_entry: Any

    def __init__(self, engine: Any, config: EngineConfig) -> None:
        self.engine = engine
        members = {name: engine.signature.members[name] for name in PORTS}
        super().__init__(
            {
                **members,
                "trace_valid": Out(1),
                "trace_bits": Out(trace_layout(config)),
                "mac_begin": Out(1),
                "mac_entry": Out(mac_entry(config)),
                "drain_begin": Out(1),
                "drain_entry": Out(drain_entry(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self.engine
        for name in PORTS:
            inner, outer = getattr(engine, name), wiring.flipped(getattr(self, name))
            taken = self.signature.members[name].flow == In
            wiring.connect(m, *((outer, inner) if taken else (inner, outer)))
        for name in HEAD:
            m.d.comb += self.trace_bits[name].eq(getattr(engine.trace, name))
        for index, drain in enumerate(engine.trace.drains):
            for name in WRITE:
                m.d.comb += self.trace_bits.drains[index][name].eq(getattr(drain, name))
        for name in ISSUES:
            port = getattr(engine.trace, name)
            m.d.comb += [
                getattr(self, f"{name}_begin").eq(port.begin),
                getattr(self, f"{name}_entry").eq(port.entry),
            ]
        m.d.comb += self.trace_valid.eq(Cat(drain.valid for drain in engine.trace.drains).any())
        return m


def trace_columns(config: EngineConfig) -> int:
    """64-bit columns of one recorded `trace_bits`."""
    return -(-trace_layout(config).size // 64)


def trace_writes(config: EngineConfig, rows: np.ndarray) -> tuple[Write, ...]:
    """The writes in recorded rows (uint64 [n, trace_columns]); drains in order in a row."""
    if not len(rows):
        return ()
    layout = trace_layout(config)
    section, iteration = (_take(rows, layout, name) for name in HEAD)
    drains = layout["drains"]
    drain: Any = data.ArrayLayout.cast(drains.shape).elem_shape
    writes = [
        [_take(rows, drain, name, drains.offset + index * drain.size) for name in WRITE]
        for index in range(config.drains)
    ]
    return tuple(
        Write(Section(int(section[n])), int(iteration[n]), *(int(f[n]) for f in fields))
        for n in range(len(rows))
        for valid, *fields in writes
        if valid[n]
    )


def _take(rows: np.ndarray, layout: data.StructLayout, name: str, offset: int = 0) -> np.ndarray:
    """One field of every row, of up to 64 bits, as int64."""
    field = layout[name]
    shape = Shape.cast(field.shape)
    column, shift = divmod(offset + field.offset, 64)
    bits = rows[:, column] >> np.uint64(shift)
    if shift + shape.width > 64:
        bits = bits | rows[:, column + 1] << np.uint64(64 - shift)
    if shape.signed:
        return sign_extend(bits, shape.width)
    return (bits & np.uint64((1 << shape.width) - 1)).astype(np.int64)


def sign_extend(bits: np.ndarray, width: int) -> np.ndarray:
    """Two's complement words of `width` bits, given as uint64, as int64."""
    unused = np.uint64(64 - width)
    return (bits << unused).view(np.int64) >> np.int64(unused)
