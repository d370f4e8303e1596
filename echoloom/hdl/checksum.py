"""A checksum of a memory's words: whether they are still those that were written."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.layouts import HOST_BITS


def checksum(words: Iterable[int]) -> int:
    """The sum of words, each taken modulo 2**64, of which every one before it is rotated left by a
    bit: the golden twin of `Checksum`.

    Any change of one word changes it. Of changes in more words one in 2**64 passes.
    """
    return reduce(_added, words, 0)


def _added(total: int, word: int) -> int:
    rotated = total << 1 | total >> HOST_BITS - 1
    return (rotated + word) % (1 << HOST_BITS)


class Checksum(wiring.Component):
    """Ports: `word` counts where `valid`; `clear` begins anew; `total`, a cycle later."""

    word: Signal
    valid: Signal
    clear: Signal
    total: Signal

    def __init__(self) -> None:
        super().__init__(
            {"word": In(HOST_BITS), "valid": In(1), "clear": In(1), "total": Out(HOST_BITS)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rotated = Cat(self.total[-1], self.total[:-1])
        with m.If(self.clear):
            m.d.sync += self.total.eq(0)
        with m.Elif(self.valid):
            m.d.sync += self.total.eq(rotated + self.word)
        return m
