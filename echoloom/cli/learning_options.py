"""The rule by which a program is to learn, from a command's options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from echoloom.ir.learning import Rule, ScaledUpdate, SignUpdate

RULES = ("sign", "momentum", "scaled")
POWER = re.compile(r"2(?:\^|\*\*)(-?\d{1,3})")


@dataclass(frozen=True)
class RuleOptions:
    """What was given of a rule: None for what was not."""

    learning: str | None
    step: str | None
    batch: int | None
    updates: int | None
    halve_at: Sequence[int] | None
    only: Sequence[str] | None

    def rule(self) -> Rule | None:
        """The rule, None where none is named. ValueError for another name, a step that is no
        number, and for options that ask for a rule where there is none."""
        given: dict[str, Any] = {
            "--step": self.step, "--batch": self.batch, "--updates": self.updates,
            "--halve-at": self.halve_at or None, "--only": self.only or None,
        }  # fmt: skip
        asked = [option for option, value in given.items() if value is not None]
        if self.learning is None:
            if asked:
                raise ValueError(
                    f"{asked[0]} is an option of learning: name a rule with --learning "
                    f"{', '.join(RULES)}"
                )
            return None
        if self.learning not in RULES:
            raise ValueError(f"--learning is {self.learning!r}, but it must be {', '.join(RULES)}")
        settings = {
            "step": None if self.step is None else number(self.step),
            "batch": self.batch, "updates": self.updates,
            "halve_at": tuple(self.halve_at) if self.halve_at else None,
            "learn": tuple(self.only) if self.only else None,
        }  # fmt: skip
        known = {name: value for name, value in settings.items() if value is not None}
        if self.learning == "scaled":
            return ScaledUpdate(**known)
        return SignUpdate(**known, momentum=self.learning == "momentum")


def number(text: str) -> float:
    """A step, as a number or as a power such as 2^-8. ValueError for anything else."""
    if power := POWER.fullmatch(text.strip()):
        return 2.0 ** int(power[1])
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"--step is {text!r}, but it must be a number or a power of two, 2^-8"
        ) from None
