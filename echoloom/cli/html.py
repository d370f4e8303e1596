"""What commands show on a terminal, as parts of a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from echoloom.backends.chips.resources import chip_of
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.report.page import Part, page, paragraph, table
from echoloom.backends.report.program_page import schedule_part, text_part
from echoloom.cli.memories import memories, memories_table
from echoloom.cli.tables import summary, summary_tables
from echoloom.frontend.data.files import write_whole

LENGTH = 100  # steps of the cycles shown, where nothing says how many
Html = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Also write it as a page of HTML that needs nothing else."
    ),
]


def html_of(item: RenderableType) -> str:
    """Tables, groups of them and lines as HTML."""
    if isinstance(item, Group):
        return "".join(map(html_of, item.renderables))
    if isinstance(item, Table):
        return _table(item)
    return "".join(paragraph(line) for line in str(item).splitlines())


def _table(item: Table) -> str:
    columns = [[str(cell) for cell in column.cells] for column in item.columns]
    head = [str(column.header) for column in item.columns]
    ended = [number + 1 for number, row in enumerate(item.rows) if row.end_section]
    body = table(head, zip(*columns, strict=True), ended)
    caption = item.caption.plain if isinstance(item.caption, Text) else str(item.caption or "")
    return body + "".join(paragraph(line, "note") for line in caption.splitlines())


def program_parts(program: CompiledProgram, length: int) -> list[Part]:
    """A program's summary at `length` steps, its memories and its schedule."""
    mapped = program.artifact.mapped
    taken = memories(mapped.config, chip_of(program.target.name))
    return [
        Part("Program", html_of(summary_tables(summary(program, length)))),
        Part("Memory and multipliers", html_of(memories_table(taken))),
        schedule_part(mapped),
        text_part(program.ir, program.precision),
    ]


def write_page(path: Path, title: str, lead: str, parts: Sequence[Part]) -> None:
    """The page, whole or not at all. OSError as `write_whole`."""
    write_whole(path, page(title, lead, parts))
