"""The section table: what is written is there, and a reset forgets it without touching a memory."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from engine_bench import small

from echoloom.hdl.layouts import section_entry
from echoloom.hdl.section_table import SectionTable
from echoloom.ir.contract import Space
from echoloom.ir.entry_layouts import COLUMN_BITS
from echoloom.ir.sections import SWEPT

LAYOUT = section_entry(small(5, 2))
COLUMNS = -(-LAYOUT.size // COLUMN_BITS)
ENTRY = LAYOUT.const({"mac": 3, "drain": 2, "length": 9, "last": 5, "overlap": 1}).as_value().value
NOTHING = LAYOUT.const({"mac": 3, "drain": 2, "length": 0, "last": 5}).as_value().value


class Host:
    def __init__(self, ctx: Any, table: SectionTable, reset: Signal) -> None:
        self.ctx, self.table, self._reset = ctx, table, reset

    async def write(self, section: int, entry: int, columns: range = range(COLUMNS)) -> None:
        access = self.table.access
        for column in columns:
            for name, value in {
                "write": 1, "space": Space.SECTION, "lane": column, "address": section,
                "data": entry >> column * COLUMN_BITS & (1 << COLUMN_BITS) - 1,
            }.items():  # fmt: skip
                self.ctx.set(access[name], value)
            await self.ctx.tick()
        self.ctx.set(access.write, 0)
        await self.ctx.tick().repeat(2)

    async def read(self, section: int) -> int:
        """All columns, as a host sees them."""
        self.ctx.set(self.table.index, section)
        await self.ctx.tick().repeat(2)
        found = 0
        for column in range(COLUMNS):
            self.ctx.set(self.table.access.lane, column)
            found |= self.ctx.get(self.table.column) << column * COLUMN_BITS
        return found

    async def forget(self) -> None:
        self.ctx.set(self._reset, 1)
        await self.ctx.tick()
        self.ctx.set(self._reset, 0)
        await self.ctx.tick()

    @property
    def empty(self) -> list[int]:
        return [number for number in range(len(SWEPT)) if self.ctx.get(self.table.empty[number])]


def play(scenario: Callable[[Host], Coroutine[Any, Any, None]]) -> None:
    table, reset = SectionTable(LAYOUT), Signal()

    async def bench(ctx: Any) -> None:
        await scenario(Host(ctx, table, reset))

    simulator = Simulator(ResetInserter(reset)(table))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_section_is_empty_until_all_of_it_is_written_since_a_reset() -> None:
    everything = list(range(len(SWEPT)))

    async def scenario(host: Host) -> None:
        assert host.empty == everything and await host.read(2) == 0
        await host.write(2, ENTRY)
        await host.write(5, NOTHING)  # of no length
        assert host.empty == [0, 1, 3, 4, 5]
        assert [await host.read(section) for section in (1, 2, 5)] == [0, ENTRY, NOTHING]

        await host.forget()
        assert host.empty == everything and await host.read(2) == 0
        await host.write(2, ENTRY, range(1))
        assert host.empty == everything
        assert await host.read(2) == ENTRY & (1 << COLUMN_BITS) - 1
        await host.write(2, ENTRY, range(1, COLUMNS))
        assert host.empty == [0, 1, 3, 4, 5] and await host.read(2) == ENTRY

    play(scenario)


def test_addresses_beyond_the_table_are_nobodys() -> None:
    async def scenario(host: Host) -> None:
        await host.write(2, ENTRY)
        for address in (len(SWEPT), len(SWEPT) + 1, 8 + 2, 256 + 2):
            await host.write(address, NOTHING)
        assert await host.read(2) == ENTRY and host.empty == [0, 1, 3, 4, 5]

    play(scenario)
