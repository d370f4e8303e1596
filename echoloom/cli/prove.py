"""`echoloom prove`: that a program's echo retraces every step, for all words there are."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from echoloom.backends.compile.program import load
from echoloom.backends.prove.parities import Lemma
from echoloom.backends.prove.prove import prove as prove_program
from echoloom.backends.prove.reversibility import LIMIT_S, Proof
from echoloom.cli.options import Json, Saved, Unit, load_unit
from echoloom.cli.outcome import command
from echoloom.ir.parity import Parity


def prove(
    program: Saved,
    limit: Annotated[
        float, typer.Option(min=0.01, help="Seconds that the solver has for one claim.")
    ] = LIMIT_S,
    unit: Unit = None,
    as_json: Json = False,
) -> None:
    """Prove that the echo's step takes the forward step back: for every state, every input and all
    coefficients at the program's word lengths, by an SMT solver.

    Ends with code 4, and a counterexample in words, where it does not.

    Example: echoloom prove motions.elp
    """
    with command("prove", as_json) as say:
        compiled = load(program, load_unit(unit))
        with say.working("proving"):
            found = prove_program(compiled, limit)
        say.result |= _values(program, found)
        say.show(_table(found))
        say.show(
            f"proven in {found.seconds:.1f} s: forward, momenta turned round, and the echo's free "
            "copy is back where it was, whatever the words are, unless Flag.STATE is raised by a "
            "momentum"
        )


def _table(found: Proof) -> Table:
    table = Table("proven", "for", "s")
    for claim in found.claims:
        table.add_row(f"{claim} is taken back", f"{claim.elements} words", f"{claim.seconds:.2f}")
    for lemma in found.lemmas:
        if lemma.parity is not Parity.UNKNOWN:
            table.add_row(f"{_said(lemma)}: {lemma.what}", "all words", f"{lemma.seconds:.2f}")
    return table


def _said(lemma: Lemma) -> str:
    return {Parity.ODD: "odd", Parity.EVEN: "even"}.get(lemma.parity, "neither")


def _values(program: Path, found: Proof) -> dict[str, Any]:
    return {
        "program": str(program),
        "claims": [asdict(claim) for claim in found.claims],
        "lemmas": [{**asdict(own), "parity": _said(own)} for own in found.lemmas],
        "seconds": found.seconds,
    }
