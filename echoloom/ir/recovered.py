"""What a program's text says of its structure by names alone, read once, when it is parsed.

Passes keep structure in fields; a text has names. Those that passes make begin with their place,
and what users call their fields stands behind it, so that no such name can say anything here.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from echoloom.ir.places import Coordinate, Copy, Letter, Place
from echoloom.ir.program import Coefficient, Declaration, State, Task

_BLOCK = re.compile(r"b([0-9]{1,9})\..+")
_COORDINATE = re.compile(r"b([0-9]{1,9})\.(free|plus|minus)\.([qp])")
_WORD = re.compile(r"b[0-9]{1,9}\.(free|plus|minus)\.(second\.)?(.+)")
_FIXED = re.compile(r"number\.[0-9]+(\.addend)?")
_HALF = re.compile(r"(.+)\.addend")


def place(name: str) -> Place | None:
    """Of an instruction. Words of a step's last drift are called as those of the first."""
    block, word = _BLOCK.fullmatch(name), _WORD.fullmatch(name)
    if block is None or word is None:
        return None if block is None else Place(int(block[1]))
    return Place(int(block[1]), Copy(word[1]), f"first.{word[3]}" if word[2] else word[3])


def state(d: Declaration) -> State:
    found = _COORDINATE.fullmatch(d.name)
    if found is None:
        return State(d.name, d.type)
    return State(d.name, d.type, Coordinate(int(found[1]), Copy(found[2]), Letter(found[3])))


def coefficient(d: Declaration, names: Collection[str]) -> Coefficient:
    """`names` are all coefficients'. A field's path never goes on behind that of another, so what
    does is a half of it."""
    block, half = _BLOCK.fullmatch(d.name), _HALF.fullmatch(d.name)
    return Coefficient(
        d.name, d.type,
        block=None if block is None else int(block[1]),
        fixed=_FIXED.fullmatch(d.name) is not None,
        half_of=half[1] if half is not None and half[1] in names else "",
    )  # fmt: skip


def task(runtime: Collection[Declaration]) -> Task:
    """A classification's error is told once, before the echo; a regression's with every frame."""
    told_once = any(d.name == "error" for d in runtime)
    return Task.CLASSIFICATION if told_once else Task.REGRESSION
