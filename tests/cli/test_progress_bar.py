"""The bar of a command that takes long."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from echoloom.cli import outcome
from echoloom.cli.outcome import Reporter


@pytest.mark.parametrize(("wait", "shown"), [(0.0, True), (600.0, False)])
def test_the_part_is_named_once_it_takes_long(
    wait: float, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "WAIT", wait)
    say, written = Reporter("compile", False), io.StringIO()
    say.errors = Console(file=written, force_terminal=True, width=100)
    with say.following("compiling") as told:
        told("measuring ranges", 1, 2)
    assert "compiling" in written.getvalue()
    assert ("compiling: measuring ranges" in written.getvalue()) == shown


def test_no_terminal_no_bar() -> None:
    say, written = Reporter("compile", False), io.StringIO()
    say.errors = Console(file=written)
    with say.following("compiling") as told:
        told("measuring ranges", 1, 2)
    assert not written.getvalue().strip()
