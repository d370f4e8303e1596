"""`echoloom report`: a saved report or program as a table, or engines' figures by size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from echoloom.backends.chips.resources import chip_of
from echoloom.backends.compile.archive import MAGIC
from echoloom.backends.compile.program import CompiledProgram, load
from echoloom.backends.report.page import Part
from echoloom.backends.report.program_page import schedule_part
from echoloom.cli.build import build_table
from echoloom.cli.html import LENGTH, Html, html_of, program_parts, write_page
from echoloom.cli.memories import blocks_table, memories, memories_table
from echoloom.cli.options import Json, Unit, load_unit
from echoloom.cli.outcome import Reporter, command
from echoloom.cli.sizes import on_engine, sizes_named, untrained
from echoloom.cli.tables import cycles, cycles_table, summary, summary_tables
from echoloom.cli.verify import verify_table
from echoloom.frontend.data.files import check_destination, read_json
from echoloom.ir.contract import EngineConfig


def report(
    file: Annotated[Path | None, typer.Argument(help="A report.json, or a saved program.")] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Instead of a file: demo, paper, or INPUTS,HIDDEN,STATE,BLOCKS,OUTPUTS of an "
            "untrained complex linear classifier."
        ),
    ] = None,
    lanes: Annotated[
        list[int] | None,
        typer.Option(
            help="Multipliers; may be repeated. With a program: of other engines for it, too."
        ),
    ] = None,
    drains: Annotated[
        int | None, typer.Option(help="With --lanes: drains; lanes / 4 if not given.")
    ] = None,
    slots: Annotated[int, typer.Option(help="With --lanes: slots.")] = EngineConfig.slots,
    length: Annotated[int, typer.Option(help="Steps T of the cycles shown.")] = LENGTH,
    html: Html = None,
    unit: Unit = None,
    as_json: Json = False,
) -> None:
    """Show a saved report or program, or engines for a model by its size: cycles, utilisation, and
    what of the chip every memory takes.

    Examples: echoloom report build/motions/report.json;
    echoloom report --size paper --lanes 16 --lanes 64
    """
    with command("report", as_json) as say:
        if (file is None) == (size is None):
            raise ValueError("give a file or --size, one of the two.")
        if length < 1:
            raise ValueError(f"--length is {length}, but it must be >= 1.")
        if html is not None:
            check_destination(html)
        parts: list[Part] = []
        if size is not None:
            parts = _report_size(say, size, lanes or [16], drains, slots, length)
        elif file is not None:
            data = file.read_bytes()
            if data.startswith(MAGIC):
                program = load(file, load_unit(unit))
                parts = _report_program(say, file, program, lanes or [], drains, slots, length)
            else:
                parts = _report_report(say, file, data)
        if html is not None:
            write_page(html, "Report", str(file or size), parts)
            say.show(f"wrote {html}")


def _report_program(
    say: Reporter,
    file: Path,
    program: CompiledProgram,
    lanes: list[int],
    drains: int | None,
    slots: int,
    length: int,
) -> list[Part]:
    values = summary(program, length)
    own = memories(program.artifact.mapped.config, chip_of(program.target.name))
    say.result |= {"kind": "program", "program": str(file), **values, "memory": own}
    say.show(summary_tables(values))
    say.show(memories_table(own))
    parts = program_parts(program, length)
    return (
        [*parts, *_report_engines(say, program, lanes, drains, slots, length)] if lanes else parts
    )


def _report_report(say: Reporter, file: Path, data: bytes) -> list[Part]:
    try:
        values = read_json(data)
        table = _TABLES[values["kind"]](values)
        page = html_of(table)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{file}: this is neither a saved program nor a report of `echoloom verify` or "
            "`echoloom build`."
        ) from error
    say.result |= values
    say.show(table)
    return [Part(values["kind"].capitalize(), page)]


_TABLES: dict[str, Any] = {"verify": verify_table, "build": build_table}


def _report_size(
    say: Reporter, size: str, lanes: list[int], drains: int | None, slots: int, length: int
) -> list[Part]:
    sizes = sizes_named(size)
    with say.working("compiling"):
        program = untrained(sizes, lanes[0], drains, slots)
    say.result |= {
        "kind": "size",
        "size": dict(zip(("inputs", "hidden", "state", "blocks", "outputs"), sizes, strict=True)),
    }
    engines = _report_engines(say, program, lanes, drains, slots, length)
    return [*engines, schedule_part(program.artifact.mapped)]


def _report_engines(
    say: Reporter,
    program: CompiledProgram,
    lanes: list[int],
    drains: int | None,
    slots: int,
    length: int,
) -> list[Part]:
    """Cycles and block RAMs of the program's integers on engines of these lanes."""
    with say.working("placing"):
        engines = [(count, on_engine(program, count, drains, slots)) for count in lanes]
    chip = chip_of(program.target.name)
    sweeps = [(count, cycles(mapped, length)) for count, mapped in engines]
    taken = [(count, memories(mapped.config, chip)) for count, mapped in engines]
    say.result["engines"] = [
        {"lanes": count, "cycles": own, "memory": memory}
        for (count, own), (_, memory) in zip(sweeps, taken, strict=True)
    ]
    tables = Group(
        cycles_table(sweeps),
        memories_table(taken[0][1]) if len(taken) == 1 else blocks_table(taken),
    )
    say.show(tables)
    return [Part("Engines", html_of(tables))]
