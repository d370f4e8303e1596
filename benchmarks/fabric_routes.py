"""Routing for fabric.py: run, shown and kept."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import output
from fabric_cases import Case

from echoloom.backends.bitstream.aim import Aim
from echoloom.backends.bitstream.route import to_bitstream
from echoloom.backends.bitstream.targets import xilinx7
from echoloom.backends.bitstream.toolrun import BuildFailed
from echoloom.backends.bitstream.tools import ToolMissing
from echoloom.ir.passes.image import Mapped

RECORD = Path(__file__).with_name("fabric.json")
FOLDER = Path("build/fabric")
COUNTS_ONLY = "xilinx7"


def route(engines: Iterable[tuple[Case, Mapped, str]], options: argparse.Namespace) -> None:
    """Place and route each engine for its board, and keep what came of it."""
    words = [word for word in sys.argv if word != "--json" and word != str(options.json)]
    origin = {"command": " ".join(["python", *words]), "commit": commit()}
    for case, mapped, board in engines:
        output.progress.print(f"building {case} for {board}")
        made = one(case, mapped, board, options) | origin
        output.progress.print(made.get("failed") or made.get("critical_path", ""))
        keep(made, RECORD if options.record else FOLDER / "fabric.json")


def one(case: Case, mapped: Mapped, board: str, options: argparse.Namespace) -> dict[str, Any]:
    """A routed design, or why there is none."""
    seeds = tuple(range(options.seed, options.seed + options.seeds))
    folder = FOLDER / f"{board}-{str(case).replace(',', '-')}"
    head = {"board": board, **asdict(case)}
    try:
        if board == COUNTS_ONLY:
            counts = xilinx7.counts(mapped.config, mapped.timing, folder)
            return head | {"usage": {name: {"used": n} for name, n in counts.items()}}
        aim = Aim(target_mhz=options.target, seeds=seeds, jobs=options.jobs)
        report = asdict(to_bitstream(mapped.config, mapped.timing, board, folder, aim))
        return head | report | {"bitstream": None}
    except (BuildFailed, ToolMissing, ValueError) as failure:
        return head | {"failed": str(failure)}


def commit() -> str:
    """The commit of the sources, with a plus where they differ from it."""
    ask = ["git", "-C", str(RECORD.parent)]
    name = subprocess.run([*ask, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    dirty = subprocess.run([*ask, "status", "--porcelain", "-uno"], capture_output=True, text=True)
    return name.stdout.strip() + "+" * bool(dirty.stdout)


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("board", "model", "lanes", "drains", "slots"))


def keep(row: dict[str, Any], file: Path) -> None:
    """Put a row in the place of an older one of the same engine and board."""
    rows = [old for old in read(file) if key(old) != key(row)] + [row]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(sorted(rows, key=key), indent=1) + "\n")


def read(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text()) if file.exists() else []


def recorded(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """The rows of these engines, this folder's before those of the repository."""
    wanted = {(case.model, case.lanes, case.drains, case.slots) for case in cases}
    found = {key(row): row for file in (RECORD, FOLDER / "fabric.json") for row in read(file)}
    return [row for _, row in sorted(found.items()) if key(row)[1:] in wanted]


def line(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the table shows it."""
    case = Case(row["model"], row["lanes"], row["drains"], row["slots"])
    bar = case.clock(row["board"])
    usage = row.get("usage", {})
    return {
        "board": row["board"],
        "engine": str(case),
        **{name: usage.get(name, {}).get("used", "") for name in ("luts", "registers")},
        **{name: usage.get(name, {}).get("used", "") for name in ("dsps", "brams")},
        "seeds, MHz": " ".join(
            f"{seed['fmax_mhz']:.1f}" if seed["fmax_mhz"] else "-" for seed in row.get("seeds", [])
        ),
        "median": f"{row['median_fmax_mhz']:.1f}" if "seeds" in row else "",
        "best": f"{row['fmax_mhz']:.1f}" if "seeds" in row else "",
        "bar": bar or "",
        "built, MHz": f"{row['clock_mhz']:g}" if "seeds" in row else "",
        "s a seed": ", ".join(f"{seed['seconds']:.0f}" for seed in row.get("seeds", [])),
        "longest path, or what failed": row.get("failed")
        or row.get("critical_path", "counts only"),
        "commit": row["commit"],
    }
