"""What `el.compile` takes for its precision: a Precision, the name of a profile, or a file."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.resources import files
from typing import Any

from echoloom.backends.compile.arguments import checked_widths
from echoloom.frontend.data.arrays import whole_number
from echoloom.ir.precision import Precision, WrongPrecision, precision_of, read_precision

SUFFIX = ".toml"


AUTO = "auto"


def is_auto(asked: Any) -> bool:
    """Whether the cheapest precision that is good enough is to be searched for."""
    return isinstance(asked, str) and asked == AUTO


def profiles() -> dict[str, str]:
    """The profiles that come along, TOML by name."""
    folder = files("echoloom.backends.compile") / "profiles"
    return {
        file.name.removesuffix(SUFFIX): file.read_text()
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(SUFFIX)
    }


def precision_named(asked: Any) -> Precision:
    """The precision that is meant: itself, a profile's by name, or a file's. WrongPrecision (a
    ValueError) for anything else, OSError for a file that cannot be read."""
    if isinstance(asked, Precision):
        return asked
    if not isinstance(asked, str | os.PathLike):
        raise WrongPrecision(
            f"precision is {asked!r}, but it must be a Precision, 'auto', the name of a profile, "
            "the path of a TOML file, or None."
        )
    known = profiles()
    if isinstance(asked, str) and asked in known:
        return precision_of(known[asked], f"profile {asked}")
    if isinstance(asked, str) and not asked.endswith(SUFFIX) and not os.path.exists(asked):
        raise WrongPrecision(
            f"precision is {asked!r}, but it must be 'auto', a profile ({', '.join(known)}) or the "
            "path of a TOML file."
        )
    return read_precision(asked)


def checked_precision(precision: Precision) -> Precision:
    """With checked word lengths and spare bits. ValueError for others than an engine can have."""
    widths = checked_widths(precision.widths)
    margins = {s: whole_number(f"compile: margin of {s.value} words", bits, least=0)
               for s, bits in precision.margins.items()}  # fmt: skip
    for signals, bits in margins.items():
        if bits > widths.word - 2:
            raise ValueError(
                f"the margin of {signals.value} words is {bits}, but a word of {widths.word} bits "
                f"can spare 0 to {widths.word - 2} of them"
            )
    return replace(precision, widths=widths, margins=margins)
