"""The names of values over a whole program."""

from __future__ import annotations

from typing import NamedTuple

from echoloom.ir.sections import Section


class Word(NamedTuple):
    """A value of one section, or of the whole program (None): a state or a coefficient."""

    section: Section | None
    name: str

    def __str__(self) -> str:
        return self.name if self.section is None else f"{self.section.name.lower()} {self.name}"
