"""The precision of a program, from a command's options."""

from __future__ import annotations

from dataclasses import dataclass, replace

from echoloom.backends.compile.precision_argument import AUTO, is_auto, precision_named
from echoloom.backends.compile.request import Arguments
from echoloom.backends.compile.targets import TARGETS
from echoloom.ir.precision import Precision
from echoloom.ir.widths import MOST, Widths


@dataclass(frozen=True)
class PrecisionOptions:
    """What was given of a precision: None for what was not."""

    precision: str | None
    word: int | None
    narrow: int | None
    margin: int | None
    gradient_bits: int | None
    cosine: float | None
    norm: float | None

    def check(self) -> None:
        """ValueError for options that do not go together."""
        auto = is_auto(self.precision)
        bounds = {"--cosine": self.cosine, "--norm": self.norm}
        found = {
            "--word": self.word, "--narrow": self.narrow, "--gradient-bits": self.gradient_bits,
        }  # fmt: skip
        for option, value in (found if auto else bounds).items():
            if value is not None and auto:
                raise ValueError(f"--precision {AUTO} finds the word lengths: leave out {option}.")
            if value is not None:
                raise ValueError(f"{option} is a bound of --precision {AUTO}: give that too.")

    @property
    def bounds(self) -> tuple[float, float]:
        """The least cosine, and how far norms may be off."""
        return (
            Arguments.cosine if self.cosine is None else self.cosine,
            Arguments.norm if self.norm is None else self.norm,
        )

    def of(self, target: str) -> tuple[Widths | None, Precision | str | None]:
        """Widths and precision as `el.compile` takes them. ValueError as `check`, WrongPrecision
        and OSError for a file."""
        self.check()
        if target not in TARGETS:  # compile says so
            return None, None
        if self.precision is None or is_auto(self.precision):
            return self.changed(TARGETS[target].widths), self.precision
        asked = precision_named(self.precision)
        return None, replace(asked, widths=self.changed(asked.widths))

    def changed(self, widths: Widths) -> Widths:
        """`widths` with what was given; a sum of products grows with them, never shrinks."""
        word, narrow = self.word or widths.word, self.narrow or widths.narrow
        longer = max(0, word - widths.word) + max(0, narrow - widths.narrow)
        return replace(
            widths,
            word=word,
            narrow=narrow,
            accumulator=min(widths.accumulator + longer, MOST),
            margin=widths.margin if self.margin is None else self.margin,
            gradient=widths.gradient if self.gradient_bits is None else self.gradient_bits,
        )
