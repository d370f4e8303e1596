"""The precision of a program: word lengths, spare bits, nudge sizes and formats, as a TOML file.

    nudges = [-3, -4]                # sizes 2**-3 and 2**-4, by block; measured where left out

    [widths]                         # of the engine; what is left out is as in `Widths`
    word = 26
    narrow = 18

    [margins]                        # spare bits where a class shall have others than widths.margin
    back = 3

    [formats.forward_step]           # of words by section, [formats.program] for states and weights
    "b0.drive.t1" = "Q(4,22)"

A format that is written here is a word's in place of the one that calibration would choose, and of
all words that share it. It has the width that such a word has on the engine: a class that needs
fewer bits has more of them to spare. A word still has no more fraction bits than what it is cut
from.
"""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

import msgspec

from echoloom.ir.arithmetic import Rounding
from echoloom.ir.formats import Q
from echoloom.ir.parser import format_of
from echoloom.ir.sections import SWEPT, Section
from echoloom.ir.toml import read_toml
from echoloom.ir.widths import Widths, accumulator_for
from echoloom.ir.word import Word

PROGRAM = "program"  # the section of what belongs to no section
SMALLEST_NUDGE, LARGEST_NUDGE = -200, 200  # exponents


class Signals(enum.Enum):
    """Words with spare bits of their own: q and p of all copies, other words of the forward sweep,
    and those of the echo that the forward sweep has not."""

    STATE = "state"
    ACTIVATION = "activation"
    BACK = "back"


class WrongPrecision(ValueError):
    """A precision that makes no sense, or none for this program."""


@dataclass(frozen=True)
class Precision:
    """What a program's numbers are made of. `margins`: spare bits in place of `widths.margin`;
    `nudges`: exponents of the nudge sizes 2**e by block, measured if None; `formats`: of words in
    place of what calibration gives them, Q with the width that such a word has.
    """

    widths: Widths = field(default_factory=Widths)
    margins: Mapping[Signals, int] = field(default_factory=dict)
    nudges: tuple[int, ...] | None = None
    formats: Mapping[Word, Q] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("margins", "formats"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[object, ...]:
        parts = self.widths, dict(self.margins), self.nudges, dict(self.formats)
        return type(self), parts

    def __str__(self) -> str:
        """The file; `read_precision` of it is this precision."""
        return "\n".join(_lines(self)) + "\n"

    def margin(self, signals: Signals) -> int:
        """Spare bits of words of this class."""
        return self.margins.get(signals, self.widths.margin)

    def spared(self, more: int) -> Precision:
        """With so many more bits to spare everywhere but in explicit formats."""
        widths = replace(self.widths, margin=self.widths.margin + more)
        return replace(self, widths=widths, margins={s: m + more for s, m in self.margins.items()})


def _lines(precision: Precision) -> Iterator[str]:
    if precision.nudges is not None:
        yield f"nudges = {list(precision.nudges)}\n"
    yield "[widths]"
    for f in fields(Widths):
        value = getattr(precision.widths, f.name)
        if value is not None:
            yield f"{f.name} = {json.dumps(getattr(value, 'value', value))}"
    if precision.margins:
        yield "\n[margins]"
        yield from (f"{signals.value} = {bits}" for signals, bits in precision.margins.items())
    for section in (None, *SWEPT):
        own = {w.name: q for w, q in precision.formats.items() if w.section is section}
        if own:
            yield f"\n[formats.{_section_name(section)}]"
            yield from (f'{json.dumps(name)} = "{q}"' for name, q in own.items())


def _section_name(section: Section | None) -> str:
    return PROGRAM if section is None else section.name.lower()


class _Widths(msgspec.Struct, forbid_unknown_fields=True):
    """[widths]"""

    word: int = Widths.word
    narrow: int = Widths.narrow
    accumulator: int | None = None  # what suits the words
    margin: int = Widths.margin
    weight_margin: int = Widths.weight_margin
    segment_bits: int = Widths.segment_bits
    rounding: Rounding = Widths.rounding
    gradient: int | None = None

    def widths(self) -> Widths:
        own = {name: getattr(self, name) for name in self.__struct_fields__}
        if self.accumulator is None:
            own["accumulator"] = accumulator_for(self.word, self.narrow)
        return Widths(**own)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """A whole file."""

    widths: _Widths = msgspec.field(default_factory=_Widths)
    margins: dict[Signals, int] = {}
    nudges: tuple[int, ...] | None = None
    formats: dict[str, dict[str, str]] = {}


def precision_of(text: str, what: str) -> Precision:
    """What a file says that errors call `what`. WrongPrecision, in one sentence, for anything that
    makes no sense on its own."""
    try:
        found = read_toml(text, _File)
    except msgspec.DecodeError as error:
        raise WrongPrecision(f"{what}: {str(error).rstrip('.')}.") from error
    for exponent in found.nudges or ():
        if not SMALLEST_NUDGE <= exponent <= LARGEST_NUDGE:
            raise WrongPrecision(
                f"{what}: a nudge is 2**{exponent}, but the exponents in `nudges` are "
                f"{SMALLEST_NUDGE} to {LARGEST_NUDGE}."
            )
    sections = {_section_name(section): section for section in (None, *SWEPT)}
    formats: dict[Word, Q] = {}
    for section, own in found.formats.items():
        if section not in sections:
            raise WrongPrecision(
                f"{what}: there is no section {section!r} to have [formats.{section}]; sections "
                f"are {', '.join(sections)}."
            )
        for name, written in own.items():
            q = _format(written)
            if q is None:
                raise WrongPrecision(
                    f"{what}: the format of {name!r} is {written!r}, but formats are written "
                    "Q(4,24), Q(18:17,16) with an exponent for every element, or Q(4,14;2,0) with "
                    "some of a matrix's columns beside it."
                )
            formats[Word(sections[section], name)] = q
    return Precision(found.widths.widths(), found.margins, found.nudges, formats)


def _format(written: str) -> Q | None:
    try:
        found = format_of(written)
    except ValueError:  # of no bits
        return None
    return found if isinstance(found, Q) else None


def read_precision(path: str | os.PathLike[str]) -> Precision:
    """The precision that a file describes. Raises WrongPrecision and OSError."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        return precision_of(data.decode(), os.fspath(path))
    except UnicodeDecodeError as error:
        raise WrongPrecision(f"{os.fspath(path)}: this is not a text file.") from error
