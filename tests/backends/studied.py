"""A small model as something to profile."""

from __future__ import annotations

from typing import Any

from tiny_programs import samples, small_model

from echoloom.backends.compile.request import Arguments
from echoloom.backends.profile.subject import Subject, subject


def studied(precision: Any = None) -> Subject:
    """A classifier of one block on two lanes, judged on the samples that it is calibrated on."""
    arguments = Arguments(
        small_model(), samples(), None, "ecp5-85k", 2, None, 4, None, None, precision=precision
    )
    return subject(arguments, samples(), None)
