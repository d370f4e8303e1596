"""Names, attributes and numbers as a program's text writes them; `program` puts the lines together.

One thing a line. `%` marks a value that an instruction of the same body computes; every other name
was there before.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from echoloom.ir.ops import Attribute, DynamicShift

NAME = re.compile(r"[A-Za-z0-9_./'-]+")
UNSAID = DynamicShift.NONE  # an attribute that has this default and value is left out


def written(name: str) -> str:
    """The name; ValueError when no text can hold it."""
    if NAME.fullmatch(name) is None:
        raise ValueError(f"the name {name!r} cannot be written: use letters, digits and _ . / ' -")
    return name


def attributes(attr: Attribute) -> dict[str, Any]:
    """The fields of an instruction's attribute that its line names."""
    values = ((f, getattr(attr, f.name)) for f in fields(attr))
    return {f.name: value for f, value in values if not (value is f.default is UNSAID)}


def braces(values: Mapping[str, Any]) -> str:
    """Attributes by name, between braces."""
    return "{" + ", ".join(f"{name}={_value(value)}" for name, value in values.items()) + "}"


def settings(entry: Any) -> str:
    """The fields of a frozen entry that are not what they are by default, in one line."""
    given = (
        (f.name, getattr(entry, f.name))
        for f in fields(entry)
        if getattr(entry, f.name) != f.default
    )
    return " ".join(f"{name}={_value(value)}" for name, value in given)


def columns(rows: Iterable[Iterable[object]]) -> str:
    """Rows as the lines of a table, with cells of equal width above each other."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _value(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, float):
        return repr(float(value))  # the shortest text that gives the same float back
    return written(str(value))
