"""Registers in a row, and memories as the engine wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib.memory import Memory

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


def memory(shape: Any, depth: int, init: Sequence[int] = ()) -> Memory:
    """A block RAM that starts with the words of `init`, and zeros.

    No program reads a word in the cycle that writes it, so the tools need not build logic that
    makes such a read return the old word.
    """
    assert Shape.cast(shape).width > 0
    return Memory(shape=shape, depth=depth, init=init, attrs={"no_rw_check": 1})
