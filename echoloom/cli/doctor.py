"""`echoloom doctor`: which outside tools are there, and what fits which board."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from echoloom.backends.bitstream import tools
from echoloom.cli.board_sizes import boards, boards_table, engines
from echoloom.cli.options import Json
from echoloom.cli.outcome import command


def doctor(
    of_boards: Annotated[
        bool, typer.Option("--boards", help="Instead: which sizes of programs fit which board.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look for every tool, and say how to get what is missing.

    Ends with code 6 when a required tool is missing.
    """
    with command("doctor", as_json) as say:
        if of_boards:
            with say.working("compiling models of every size"):
                rows = boards(engines())
            say.result["boards"] = rows
            say.show(boards_table(rows))
            say.show("by memories and multipliers; LUTs are counted by a build")
            for row in rows:
                if row["host"]:
                    say.show(f"serial line of {row['board']}: {row['host']}")
            return
        findings = tools.doctor()
        table = Table("tool", "for", "version")
        table.add_column("found at, or how to get it", overflow="fold")
        for finding in findings:
            version = finding.tool.version if finding.tool else "-"
            place = str(finding.tool.path) if finding.tool else finding.remedy
            name = finding.name if finding.required else f"{finding.name} (optional)"
            table.add_row(name, finding.purpose, version, place)
        say.show(table)
        say.result["tools"] = [
            {**asdict(finding), "tool": _tool(finding.tool)} for finding in findings
        ]
        missing = [finding.name for finding in findings if finding.required and not finding.tool]
        if missing:
            raise tools.ToolMissing(
                f"{len(missing)} required tool{'s are' if len(missing) > 1 else ' is'} missing: "
                f"{', '.join(missing)}; the table says how to get "
                f"{'them' if len(missing) > 1 else 'it'}"
            )


def _tool(tool: tools.Tool | None) -> dict[str, str] | None:
    return tool and {"name": tool.name, "path": str(tool.path), "version": tool.version}
