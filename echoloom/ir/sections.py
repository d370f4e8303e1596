"""The sections of a program: which part of a run each body of code belongs to."""

from __future__ import annotations

import enum


class Section(enum.IntEnum):
    """Program sections; an engine has a pair of streams for each.

    A sweep over a sequence runs its prologue once, its step once for every time step, and its
    epilogue once. The last two are a learning engine's, and not a sweep's: each runs once for
    every row of a tensor's words.
    """

    FORWARD_PROLOGUE = 0
    FORWARD_STEP = 1
    FORWARD_EPILOGUE = 2
    ECHO_PROLOGUE = 3
    ECHO_STEP = 4
    ECHO_EPILOGUE = 5
    SCAN = 6
    UPDATE = 7


SWEPT = tuple(Section)[:6]  # these are of sweeps: a program's text has a body for each
FORWARD, ECHO = SWEPT[:3], SWEPT[3:]
RESUMED = FORWARD[1:]  # a forward sweep that goes on where another one ended
STEPS = (Section.FORWARD_STEP, Section.ECHO_STEP)  # these run once for every time step
LEARNING = (Section.SCAN, Section.UPDATE)  # these once for every row of a tensor


def sections_of(learns: bool) -> tuple[Section, ...]:
    """The sections of an engine that `learns` or does not."""
    return (*SWEPT, *LEARNING) if learns else SWEPT
