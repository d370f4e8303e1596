"""Amaranth attaches ports and value methods at run time; to a type checker all of it is Any."""

from typing import Any

def __getattr__(name: str) -> Any: ...
