"""The sections of a program: which part of a run each body of code belongs to."""

from __future__ import annotations

import enum


class Section(enum.IntEnum):
    """Program sections in the order they run; an engine has a pair of streams for each.

    A sweep over a sequence runs its prologue once, its step once for every time step, and its
    epilogue once.
    """

    FORWARD_PROLOGUE = 0
    FORWARD_STEP = 1
    FORWARD_EPILOGUE = 2
    ECHO_PROLOGUE = 3
    ECHO_STEP = 4
    ECHO_EPILOGUE = 5


FORWARD, ECHO = tuple(Section)[:3], tuple(Section)[3:]
RESUMED = FORWARD[1:]  # a forward sweep that goes on where another one ended
STEPS = (Section.FORWARD_STEP, Section.ECHO_STEP)  # these run once for every time step
