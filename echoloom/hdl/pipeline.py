"""Registers in a row, and memories as the engine wants them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib.memory import Memory


def delay(m: Module, value: Any, cycles: int, *, name: str, control: bool = False) -> list[Any]:
    """[value, value one cycle later, ..., value `cycles` later].

    Data registers have no reset; those of `control` do, so that nothing is in flight after one.
    """
    stages = [value]
    for cycle in range(1, cycles + 1):
        stage = Signal.like(value, name=f"{name}_{cycle}", reset_less=not control)
        m.d.sync += stage.eq(stages[-1])
        stages.append(stage)
    return stages


def memory(shape: Any, depth: int) -> Memory:
    """A block RAM that starts at zero.

    No program reads a word in the cycle that writes it, so the tools need not build logic that
    makes such a read return the old word.
    """
    assert Shape.cast(shape).width > 0
    return Memory(shape=shape, depth=depth, init=[], attrs={"no_rw_check": 1})
