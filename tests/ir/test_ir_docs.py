"""The examples in the documents run, and print what they say."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["ir.md", "fixed_point.md"])
def test_examples(name: str) -> None:
    outcome = doctest.testfile(str(DOCS / name), module_relative=False, encoding="utf-8")
    assert outcome.failed == 0, "see the output above"
    assert outcome.attempted > 10
