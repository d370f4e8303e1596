"""Compiled programs that the backends' tests share."""

from __future__ import annotations

import pytest
from tiny_programs import samples, small_model

import echoloom as el


@pytest.fixture(scope="session")
def classifier() -> el.CompiledProgram:
    """A classifier of one block on two lanes."""
    return el.compile(small_model(), samples(), [0, 2], lanes=2)
