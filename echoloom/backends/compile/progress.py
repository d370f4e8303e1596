"""How a compilation that takes long says how far it is."""

from __future__ import annotations

from collections.abc import Callable

# Is told what is being done, how much of it is done, and of how much: 0 where nobody knows.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Tells nobody."""
