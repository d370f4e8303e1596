"""Tasks in the engine's formats: the words that they share get addresses, then entries are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from echoloom.ir.contract import Add, DrainEntry, EngineConfig, MacEntry
from echoloom.ir.passes.layout import groups, in_group
from echoloom.ir.passes.tasks import Drain, Exponents, Factor, Multiply, Task, Weights
from echoloom.ir.tables import TableContents

Lines = tuple[tuple[int, ...], tuple[int, ...]]  # base, slope of a table


@dataclass(frozen=True)
class Shared:
    """Addresses of words that several tasks use, in the order in which tasks first need them."""

    config: EngineConfig
    factors: Mapping[int, int]  # a number -> the weight word that holds it in every lane
    tables: Mapping[Lines, int]
    table_words: int
    exponents: Mapping[str, int]  # coefficient
    exponent_words: tuple[tuple[int, ...], ...]  # [drain][address]

    def rows(self) -> Iterator[tuple[object, ...]]:
        """Memory, first word, what is there, and how many words of every lane it takes."""
        yield from (("weight", at, f"constant {value}", 1) for value, at in self.factors.items())
        yield from (("table", at, "lines", len(base)) for (base, _), at in self.tables.items())
        yield from (("exponent", at, name, "") for name, at in self.exponents.items())

    def mac(self, multiply: Multiply, start: int, slot: int) -> MacEntry:
        """The instruction that plays a multiplication from cycle `start`."""
        weights, into, x = multiply.weights, multiply.into, multiply.x
        if isinstance(weights, Factor):
            weights = Weights(self.factors[weights.value])
        return MacEntry(
            start, multiply.inner, multiply.outer, into.destination, into.clear, into.push, slot,
            multiply.narrow, multiply.wide, into.load, weights.base, weights.inner, weights.outer,
            x_mode=x.mode, x_base=x.base, x_step=x.step, y_base=multiply.y, y_step=multiply.y_step,
            g_base=into.gradient, lanes=multiply.lanes,
        )  # fmt: skip

    def drain(self, drain: Drain, start: int, slot: int) -> DrainEntry:
        """The instruction that drains slot `slot` from cycle `start`."""
        base, exponents, table = drain.base, drain.exponents, drain.table
        lookup = {} if table is None else {
            "use_table": True, "table": self.tables[table.base, table.slope],
            "segment_bits": table.segment_bits, "fraction_bits": table.fraction_bits,
            "slope_shift": table.slope_shift,
        }  # fmt: skip
        return DrainEntry(
            start, slot, drain.count, drain.destination, drain.tree,
            base=0 if base is None else base.address, add=Add.NONE if base is None else base.add,
            shift=drain.shift, dynamic=drain.dynamic,
            use_exponents=exponents is not None,
            exponents=0 if exponents is None else self._exponents(exponents),
            width=drain.width, overflow=drain.overflow, to_weight=drain.to_weight,
            report=drain.report, **lookup,
        )  # fmt: skip

    def _exponents(self, wanted: Exponents) -> int:
        """Address of a row group's extra shifts in every drain's exponent memory."""
        size, lanes, drains = len(wanted.fracs), self.config.lanes, self.config.drains
        before = sum(groups(in_group(size, g, lanes), drains) for g in range(wanted.group))
        return self.exponents[wanted.coefficient] + before


def share(tasks: Iterable[Task], config: EngineConfig, weights: int) -> Shared:
    """Addresses for what `tasks` share; its weight words come after the coefficients' `weights`."""
    factors: dict[int, int] = {}
    tables: dict[Lines, int] = {}
    exponents: dict[str, int] = {}
    table_words = 0
    shifts: list[list[int]] = [[] for _ in range(config.drains)]
    for task in tasks:
        for multiply in task.multiplies:
            if isinstance(multiply.weights, Factor):
                factors.setdefault(multiply.weights.value, weights + len(factors))
        if task.drain is None:
            continue
        if (table := task.drain.table) is not None and _lines(table) not in tables:
            tables[_lines(table)] = table_words
            table_words += len(table.base)
        if (wanted := task.drain.exponents) is not None and wanted.coefficient not in exponents:
            exponents[wanted.coefficient] = len(shifts[0])
            for own, extra in zip(shifts, _extra(wanted.fracs, config), strict=True):
                own += extra
    return Shared(config, factors, tables, table_words, exponents, tuple(map(tuple, shifts)))


def _lines(table: TableContents) -> Lines:
    return table.base, table.slope


def _extra(fracs: tuple[int, ...], config: EngineConfig) -> list[list[int]]:
    """For each drain the shifts, beyond the least, of the elements that it gets, in their order."""
    lanes, drains, lowest = config.lanes, config.drains, min(fracs)
    shifts: list[list[int]] = [[] for _ in range(drains)]
    for group in range(groups(len(fracs), lanes)):
        count = in_group(len(fracs), group, lanes)
        for lane in range(groups(count, drains) * drains):
            used = lane < count
            shifts[lane % drains].append(fracs[group * lanes + lane] - lowest if used else 0)
    return shifts
