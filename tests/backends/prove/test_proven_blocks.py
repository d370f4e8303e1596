"""Arithmetic blocks of an engine, proven from their netlists; and blocks that are not right."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest

from echoloom.backends.prove import blocks, lane
from echoloom.backends.prove.blocks import NotTheArithmetic, blocks_proven
from echoloom.hdl.carry_select import CarrySelectSum
from echoloom.hdl.lane import ADD, Lane
from echoloom.hdl.lookup import Lookup
from echoloom.hdl.requantise import Requantise
from echoloom.ir.arithmetic import Rounding
from echoloom.ir.contract import EngineConfig

LIMIT_S = 300.0


def engine(word: int, narrow: int, accumulator: int) -> EngineConfig:
    return EngineConfig(2, 1, 4, word, narrow, accumulator)


def only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(blocks, "BLOCKS", {name: blocks.BLOCKS[name]})


@pytest.mark.parametrize("name", blocks.BLOCKS)
def test_a_block_of_a_small_engine_is_proven(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, name)
    assert list(blocks_proven(engine(7, 5, 14), LIMIT_S))


def test_a_multiplier_of_two_parts_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "multiplier")
    (proven,) = blocks_proven(engine(20, 4, 26), LIMIT_S)
    assert "low * narrow" in proven.claim


def test_blocks_of_the_default_engine_are_proven() -> None:
    proven = {own.name for own in blocks_proven(engine(28, 18, 54), 2 * LIMIT_S)}
    assert proven == set(blocks.BLOCKS)


@pytest.mark.parametrize("block", [Requantise, Lookup])
def test_another_rounding_is_refuted(
    block: type[Requantise | Lookup], monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "requantise" if block is Requantise else "table unit")
    other = partial(block, rounding=Rounding.HALF_UP)
    other.latency = block.latency  # type: ignore[attr-defined]
    monkeypatch.setattr(blocks, block.__name__, other)
    with pytest.raises(NotTheArithmetic, match=r"it is not so that (result|y) ="):
        list(blocks_proven(engine(7, 5, 14), LIMIT_S))


def test_another_latency_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "requantise")
    monkeypatch.setattr(Requantise, "latency", Requantise.latency + 1)
    with pytest.raises(NotTheArithmetic, match="it is not so that result ="):
        list(blocks_proven(engine(7, 5, 14), LIMIT_S))


def test_a_sum_without_its_carry_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(CarrySelectSum):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            m.d.comb += self.total[0].eq(self.a[0] ^ self.b[0])
            return m

    only(monkeypatch, "sum")
    monkeypatch.setattr(blocks, "CarrySelectSum", Wrong)
    with pytest.raises(NotTheArithmetic, match="sum: it is not so that total = a"):
        list(blocks_proven(engine(7, 5, 14), LIMIT_S))


def test_a_lane_that_forgets_the_sum_before_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Lane):
        def _add(self, m):
            own = self._own[ADD]
            self._own[ADD] = SimpleNamespace(from_accumulator=own.from_accumulator & ~own.push)
            try:
                return super()._add(m)
            finally:
                self._own[ADD] = own

    only(monkeypatch, "lane")
    monkeypatch.setattr(lane, "Lane", Wrong)
    with pytest.raises(NotTheArithmetic, match="lane: it is not so that sum = 0, gradient word"):
        list(blocks_proven(engine(7, 5, 14), LIMIT_S))


def test_a_lane_whose_flag_overlooks_signs_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echoloom.hdl.lane.wraps", lambda total, width: total[width:].any())
    only(monkeypatch, "lane")
    with pytest.raises(NotTheArithmetic, match="lane: it is not so that `overflow` says"):
        list(blocks_proven(engine(7, 5, 14), LIMIT_S))
