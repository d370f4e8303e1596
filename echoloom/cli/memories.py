"""What engines take of a chip, as values for JSON and as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from echoloom.backends.chips.resources import resources
from echoloom.ir.blocks import Chip
from echoloom.ir.contract import EngineConfig


def memories(config: EngineConfig, chip: Chip) -> dict[str, Any]:
    """Every memory with its cells, what is used of the chip, and what binds first."""
    found = resources(config, chip)
    return {
        "chip": chip.name,
        "memories": [
            {
                "memory": stored.bank.name,
                "width": stored.bank.width,
                "depth": stored.bank.depth,
                "copies": stored.bank.copies,
                "kind": stored.kind,
                "cells": stored.cells.count * stored.bank.copies,
                "blocks": stored.blocks,
                "share": stored.blocks / chip.blocks,
            }
            for stored in found.memories
        ],
        "resources": {
            kind: {"used": usage.used, "available": usage.available, "share": usage.share}
            for kind, usage in found.usage.items()
        },
        "blocks": found.blocks_by_memory(),
        "binds": found.binding,
        "largest": found.largest,
        "fits": found.fits,
    }


def memories_table(values: Mapping[str, Any]) -> Table:
    """Of one engine."""
    table = Table("memory", "words", "bits", "copies", "cells", f"of {values['chip']}'s block RAM")
    for row in values["memories"]:
        share = f"{row['blocks']} ({row['share']:.1%})" if row["blocks"] else ""
        table.add_row(
            row["memory"], f"{row['depth']:,}", str(row["width"]), str(row["copies"]),
            f"{row['cells']:,} {row['kind']}", share,
        )  # fmt: skip
    table.add_section()
    for kind, usage in values["resources"].items():
        used = f"{usage['used']} of {usage['available']} ({usage['share']:.1%})"
        binds = f"binds; most: {values['largest']}" if kind == values["binds"] else ""
        table.add_row(kind, "", "", "", binds, used)
    return table


def blocks_table(engines: Sequence[tuple[int, Mapping[str, Any]]]) -> Table:
    """Block RAMs of several engines: (lanes, what `memories` gave)."""
    table = Table("block RAMs at lanes", *(str(lanes) for lanes, _ in engines))
    for name in engines[0][1]["blocks"]:
        table.add_row(name, *(str(values["blocks"][name]) for _, values in engines))
    table.add_section()
    for kind, usage in engines[0][1]["resources"].items():
        used = [f"{v['resources'][kind]['used']}" for _, v in engines]
        table.add_row(f"{kind} of {usage['available']}", *used)
    table.add_row("binds", *(v["binds"] for _, v in engines))
    table.add_row("fits", *("yes" if v["fits"] else "no" for _, v in engines))
    return table
