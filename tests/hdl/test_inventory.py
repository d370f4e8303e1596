"""The inventory of memories is what the circuit has."""

from __future__ import annotations

from collections import Counter

import pytest
from amaranth.hdl import Elaboratable, Fragment, Shape
from amaranth.hdl._mem import MemoryInstance
from engine_bench import small

from echoloom.hdl.commands import LinkSizes
from echoloom.hdl.engine import Engine
from echoloom.hdl.inventory import inventory
from echoloom.hdl.link import Link
from echoloom.ir.contract import EngineConfig


def in_the_circuit(*parts: Elaboratable) -> Counter[tuple[int, int]]:
    """(width, depth) of every memory, as often as it is read."""
    found = Counter[tuple[int, int]]()
    waiting = [Fragment.get(part, None) for part in parts]
    while waiting:
        fragment = waiting.pop()
        waiting += [part for part, _, _ in fragment.subfragments]
        if isinstance(fragment, MemoryInstance):
            data = fragment._data
            found[Shape.cast(data.shape).width, data.depth] += len(fragment._read_ports)
    return found


@pytest.mark.parametrize(
    "config",
    [
        small(1, 1),
        small(5, 2, gradient=40, base_depth=3, frames=1),
        small(3, 1, learns=True),
        EngineConfig(16, 4, weight_depth=2048, vector_depth=512, base_depth=144, gradient=45),
    ],
)
def test_the_inventory_is_what_the_circuit_has(config: EngineConfig) -> None:
    counted = Counter[tuple[int, int]]()
    sizes = LinkSizes(window=1024, samples=4096, listed=512)
    for bank in inventory(config, sizes):
        counted[bank.width, bank.depth] += bank.copies * bank.readers
    assert counted == in_the_circuit(Engine(config), Link(config, 0, sizes))
