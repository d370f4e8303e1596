"""What every benchmark prints: a table, the versions of what was measured, and JSON if asked."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

progress = Console(stderr=True)
Row = Mapping[str, Any]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    return parser


def show(title: str, rows: Sequence[Row], packages: Sequence[str], file: Path | None) -> None:
    """Print rows (all with the same keys, values already rounded) and write them to `file`."""
    tools = {"python": platform.python_version()} | {name: version(name) for name in packages}
    table = Table(title=title, box=box.MARKDOWN)
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()))
    console = Console(width=200)
    console.print(table)
    console.print(", ".join(f"{name} {number}" for name, number in tools.items()))
    if file is not None:
        values = {"title": title, "rows": list(rows), "tools": tools}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values, indent=2) + "\n")
