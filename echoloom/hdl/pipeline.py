"""Registers in a row, and memories as the engine wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

# A reset of an engine lasts at least so long. Registers in a row have none, which would be one net
# to all of the chip: they run empty meanwhile, because what feeds them is at rest.
RESET_CYCLES = 64


def delay(m: Module, value: Any, cycles: int, *, name: str) -> list[Any]:
    """[value, value one cycle later, ..., value `cycles` later]."""
    stages = [value]
    for cycle in range(1, cycles + 1):
        stage = Signal.like(value, name=f"{name}_{cycle}", reset_less=True)
        m.d.sync += stage.eq(stages[-1])
        stages.append(stage)
    return stages


class Copy(wiring.Component):
    """A register of `shape` in a module of its own. Synthesis makes one of the equal registers of a
    lane's or drain's module; this one stays, close to what it drives.

    Latency: 1 cycle.
    """

    value: Signal
    copy: Signal

    def __init__(self, shape: Any) -> None:
        super().__init__({"value": In(shape), "copy": Out(shape)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.comb += self.copy.eq(delay(m, self.value, 1, name="register")[-1])
        return m


def copies(m: Module, value: Any, count: int, *, name: str) -> list[Any]:
    """`value` a cycle later, in so many registers."""
    made = []
    for number in range(count):
        m.submodules[f"{name}_{number}"] = own = Copy(value.shape())
        m.d.comb += own.value.eq(value)
        made.append(own.copy)
    return made


def memory(shape: Any, depth: int, init: Sequence[int] = ()) -> Memory:
    """A block RAM that starts with the words of `init`, and zeros.

    No program reads a word in the cycle that writes it, so the tools need not build logic that
    makes such a read return the old word.
    """
    assert Shape.cast(shape).width > 0
    return Memory(shape=shape, depth=depth, init=init, attrs={"no_rw_check": 1})
