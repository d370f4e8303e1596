"""Whether every number of a program's int64 graph fits int64, found before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from echoloom.backends.onnx.shifts import MOST
from echoloom.ir.formats import Type
from echoloom.ir.ops import DynamicShift, Op, Requant
from echoloom.ir.program import Instr, Program
from echoloom.ir.tables import TableContents, table_key

OUT_OF_RANGE = 8  # beside ir.flags.Flag: a sample, target or label that cannot be
WIDEST = 63  # bits of a word whose rounding or wrap-around still stays within int64
SUM = 62  # of an accumulator, which may leave its range by one term before it is wrapped


class TooWide(ValueError):
    """A signal that int64 arithmetic cannot carry; the message names it."""


def check_widths(program: Program, tables: Mapping[str, TableContents]) -> None:
    """TooWide names the first signal of `program` that int64 nodes cannot compute."""
    for sentence in _faults(program, tables):
        raise TooWide(f"{sentence}; compile with narrower words to export this program")


def _faults(program: Program, tables: Mapping[str, TableContents]) -> Iterator[str]:
    for d in program.globals():
        yield from _word(f"{d.name}", d.type, WIDEST)
    for a in program.accumulators:
        yield from _word(f"accumulator {a.name}", a.type, SUM)
    for body in program.bodies:
        where, types = body.section.name.lower(), program.types(body)
        for d in body.frame:
            yield from _word(f"{where}: {d.name}", d.type, WIDEST)
        for i in body.instrs:
            signal = f"{where}: {i.name}"
            yield from _word(signal, i.type, WIDEST)
            if i.op is Op.TABLE:
                yield from _table(signal, i, types, tables)
            if isinstance(i.attr, Requant):
                yield from _requant(signal, i, i.attr, types)


def _word(signal: str, type_: Type, most: int) -> Iterator[str]:
    if type_.q.width > most:
        yield f"{signal} has {type_.q.width} bits, but int64 nodes carry at most {most}"


def _table(
    signal: str, i: Instr, types: Mapping[str, Type], tables: Mapping[str, TableContents]
) -> Iterator[str]:
    source = types[i.args[0]].q
    contents = tables[table_key(i, source)]
    steep = max(abs(s) for s in contents.slope)
    # Beyond its ends a table goes on as a straight line: the distance can be the whole word.
    bits = steep.bit_length() + source.width + 1
    if bits > WIDEST:
        yield f"{signal}: its table's rise takes {bits} bits, but int64 nodes carry {WIDEST}"


def _requant(signal: str, i: Instr, attr: Requant, types: Mapping[str, Type]) -> Iterator[str]:
    shift = np.asarray(types[i.args[0]].q.frac) - i.type.q.scalar_frac
    least, most = int(shift.min()), int(shift.max())
    if least < 0 or (most > MOST and attr.register is DynamicShift.NONE):
        yield f"{signal} is shifted by {least if least < 0 else most}, but only 0 to {MOST} will do"
