"""`echoloom prove`: an echo that retraces every step, and schedules that may be played."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from echoloom.backends.compile.program import load
from echoloom.backends.prove.blocks import BLOCK_LIMIT_S, Block, blocks_proven
from echoloom.backends.prove.parities import Lemma
from echoloom.backends.prove.prove import Proven
from echoloom.backends.prove.prove import prove as prove_program
from echoloom.backends.prove.reversibility import LIMIT_S
from echoloom.cli.options import Json, Saved, Unit, load_unit
from echoloom.cli.outcome import command
from echoloom.ir.parity import Parity


def prove(
    program: Saved,
    blocks: Annotated[
        bool,
        typer.Option(
            "--blocks",
            help="Also prove the engine's arithmetic blocks, from their netlists: a minute or two.",
        ),
    ] = False,
    limit: Annotated[
        float, typer.Option(min=0.01, help="Seconds that the solver has for one claim.")
    ] = LIMIT_S,
    unit: Unit = None,
    as_json: Json = False,
) -> None:
    """Prove that the echo's step takes the forward step back: for every state, every input and all
    coefficients at the program's word lengths, by an SMT solver. And check that every word that
    its schedules read is the word that is meant, by a player of the engine's contract.

    Ends with code 4, and a counterexample in words, where a step does not come back.

    Example: echoloom prove motions.elp
    """
    with command("prove", as_json) as say:
        compiled = load(program, load_unit(unit))
        with say.working("proving"):
            found = prove_program(compiled, limit)
            engine = compiled.image.config
            proven = [*blocks_proven(engine, max(limit, BLOCK_LIMIT_S))] if blocks else []
        say.result |= {**_values(program, found), "blocks": [asdict(own) for own in proven]}
        say.show(_table(found, proven))
        say.show(
            f"proven in {found.seconds:.1f} s: forward, momenta turned round, and the echo's free "
            "copy is back where it was, whatever the words are, unless Flag.STATE is raised by a "
            "momentum; and no schedule reads a word too early, too late or as it is written"
        )


def _table(found: Proven, blocks: Sequence[Block]) -> Table:
    table = Table("proven", "for", "s")
    for claim in found.steps.claims:
        table.add_row(f"{claim} is taken back", f"{claim.elements} words", f"{claim.seconds:.2f}")
    for lemma in found.steps.lemmas:
        if lemma.parity is not Parity.UNKNOWN:
            table.add_row(f"{_said(lemma)}: {lemma.what}", "all words", f"{lemma.seconds:.2f}")
    for own in found.schedules:
        name = own.section.name.lower()
        played = f"{own.times} times" if own.times > 1 else "once"
        table.add_row(
            f"the schedule of {name} is legal", f"{own.entries} entries, {played}",
            f"{own.seconds:.2f}",
        )  # fmt: skip
    for block in blocks:
        table.add_row(f"{block.name}: {block.claim}", "all inputs", f"{block.seconds:.2f}")
    return table


def _said(lemma: Lemma) -> str:
    return {Parity.ODD: "odd", Parity.EVEN: "even"}.get(lemma.parity, "neither")


def _values(program: Path, found: Proven) -> dict[str, Any]:
    return {
        "program": str(program),
        "claims": [asdict(claim) for claim in found.steps.claims],
        "lemmas": [{**asdict(own), "parity": _said(own)} for own in found.steps.lemmas],
        "schedules": [
            {**asdict(own), "section": own.section.name.lower()} for own in found.schedules
        ],
        "seconds": found.seconds,
    }
