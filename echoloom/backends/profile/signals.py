"""The formats of a program, each with the words that share it and what they are."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from echoloom.backends.compile.stages import Formatted
from echoloom.ir.formats import Q
from echoloom.ir.ops import Op
from echoloom.ir.passes.format_classes import Basis, FormatClass, Word
from echoloom.ir.program import Program
from echoloom.ir.sections import ECHO

NARROW = ".narrow"


class Kind(enum.Enum):
    """What the words of a format are."""

    STATE = "state"
    ACTIVATION = "activation"
    BACK = "back-signal"
    TABLE = "table"
    COEFFICIENT = "coefficient"
    COPY = "narrow copy"  # of a wide word, for a product with another one


@dataclass(frozen=True)
class Signal:
    """A format and the stored words that have it: of a coefficient itself alone.

    `asked`: the range and the spare bits that it comes from, of a narrow copy its word's; None of
    a coefficient.
    """

    kind: Kind
    q: Q
    words: tuple[Word, ...]
    asked: FormatClass | None = None

    @property
    def basis(self) -> Basis:
        """What the format rests on."""
        return Basis.WEIGHTS if self.asked is None else self.asked.basis

    @property
    def first(self) -> Word:
        """The word that names the format."""
        return next(iter(self.words))

    @property
    def name(self) -> str:
        return self.first.name

    def __str__(self) -> str:
        more = f" and {len(self.words) - 1} more" if len(self.words) > 1 else ""
        return f"{said(self.first)}{more}"


def said(word: Word) -> str:
    """A word with its section, as a program's text calls it."""
    return word.name if word.section is None else f"{word.section.name.lower()} {word.name}"


def short(q: Q) -> str:
    """A format; of one with an exponent for each element the width and the exponents' range."""
    if not q.per_element:
        return str(q)
    return f"Q({q.width}:{min(q.fracs)}...{max(q.fracs)})"


def signals(words: Formatted) -> tuple[Signal, ...]:
    """Every format that some stored word has, then every coefficient that is multiplied and every
    narrow copy of a wide word.

    A product that nothing but a sum reads is not stored; it has all its bits.
    """
    return (*_stored(words), *_factors(words), *_copies(words))


def _stored(words: Formatted) -> Iterator[Signal]:
    program, formats = words.program, words.formats
    members: dict[Word, list[Word]] = {}
    for word in formats.names:
        if _type(program, word) is not None:
            members.setdefault(formats.names[word], []).append(word)
    for name, own in members.items():
        kind = _kind(program, tuple(own), formats.classes[name].state)
        q = _type(program, own[0])
        yield Signal(kind, q or formats.q(name), tuple(own), formats.classes[name])


def _type(program: Program, word: Word) -> Q | None:
    """The format of a word that is stored, of a table's that is a factor its own short one; None of
    other values."""
    if word.section is None:
        return next((d.type.q for d in program.globals() if d.name == word.name), None)
    body = program.body(word.section)
    stored = (i for i in body.instrs if i.op in (Op.REQUANT, Op.TABLE))
    return next((d.type.q for d in (*body.frame, *stored) if d.name == word.name), None)


def _kind(program: Program, words: tuple[Word, ...], state: bool) -> Kind:
    if state:
        return Kind.STATE
    ops = {
        i.op
        for w in words
        if w.section is not None
        for i in program.body(w.section).instrs
        if i.name == w.name
    }
    if Op.TABLE in ops:
        return Kind.TABLE
    sections = {w.section for w in words if w.section is not None}
    return Kind.BACK if sections and sections <= set(ECHO) else Kind.ACTIVATION


def _factors(words: Formatted) -> Iterator[Signal]:
    for d in words.program.coefficients:
        if Word(None, d.name) not in words.formats and not d.fixed:
            yield Signal(Kind.COEFFICIENT, d.type.q, (Word(None, d.name),))


def _copies(words: Formatted) -> Iterator[Signal]:
    """Copies of one word in several sections have one format."""
    found: dict[str, list[tuple[Word, Q]]] = {}  # by what they are cut from
    for body in words.program.bodies:
        types = words.program.types(body)
        for i in body.instrs:
            if i.op is not Op.REQUANT or i.name != copy_of(i.args[0]):
                continue
            if i.type.q.width < types[i.args[0]].q.width:
                found.setdefault(i.args[0], []).append((Word(body.section, i.name), i.type.q))
    for name, own in found.items():
        section = own[0][0].section
        whole = Word(None, name)
        word = whole if whole in words.formats else Word(section, whole.name)
        asked = words.formats.of(word) if word in words.formats else None
        yield Signal(Kind.COPY, own[0][1], tuple(word for word, _ in own), asked)


def copy_of(name: str) -> str:
    """What emission calls the narrow copy of a word."""
    return name + NARROW
