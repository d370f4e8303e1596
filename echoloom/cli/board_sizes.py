"""Which programs fit which boards, for `echoloom doctor --boards`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from echoloom.backends.bitstream.targets.boards import BOARDS, find_board
from echoloom.backends.chips.resources import lacking, resources
from echoloom.cli.sizes import SIZES, on_engine, untrained
from echoloom.ir.blocks import CHIPS
from echoloom.ir.contract import EngineConfig

# Programs by their model's size and lanes, from small to large.
ENGINES = (("demo", 4), ("demo", 8), ("paper", 4), ("paper", 16))


def engines() -> dict[str, EngineConfig]:
    """Engines of ENGINES, by a name for each; seconds."""
    found = {}
    for size in dict.fromkeys(size for size, _ in ENGINES):
        lanes = [count for own, count in ENGINES if own == size]
        program = untrained(SIZES[size], lanes[0], None, EngineConfig.slots)
        for count in lanes:
            mapped = on_engine(program, count, None, EngineConfig.slots)
            found[f"{size}, {count} lanes"] = mapped.config
    return found


def boards(configs: Mapping[str, EngineConfig]) -> list[dict[str, Any]]:
    """A row for each board: what it has, and of every engine what binds and whether it fits."""
    rows = []
    for name in BOARDS:
        board = find_board(name)
        chip = CHIPS[board.chip]
        programs = {}
        for engine, config in configs.items():
            found = resources(config, chip)
            programs[engine] = {
                "fits": not lacking(config, chip),
                "lacks": lacking(config, chip),
                "binds": found.binding,
                "usage": {kind: asdict(usage) for kind, usage in found.usage.items()},
            }
        rows.append(
            {
                "board": name, "chip": chip.name, "luts": chip.luts, "block RAM": chip.blocks,
                "multipliers": chip.multipliers, "clock_mhz": board.clock_mhz, "host": board.host,
                "programs": programs,
            }
        )  # fmt: skip
    return rows


def boards_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """For people: "fits", with the share of what binds, or what is lacking."""
    table = Table()
    for column in ("board", "chip"):
        table.add_column(column, no_wrap=True)
    for program in rows[0]["programs"]:
        table.add_column(program)
    for row in rows:
        cells = []
        for program in row["programs"].values():
            binds = program["usage"][program["binds"]]
            share = f"{binds['used']} of {binds['available']} {program['binds']}"
            cells.append(f"fits: {share}" if program["fits"] else "no: " + _least(program))
        table.add_row(row["board"], row["chip"], *cells)
    return table


def _least(program: Mapping[str, Any]) -> str:
    """What is lacking, without what takes most of it."""
    return ", ".join(words.partition(",")[0] for words in program["lacks"])
