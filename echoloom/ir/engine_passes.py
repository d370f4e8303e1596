"""The passes of an engine: what its register COMMAND takes, and the sections that each plays."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from echoloom.ir.sections import ECHO, FORWARD, LEARNING, RESUMED, STEPS, Section


class EnginePass(enum.IntEnum):
    """Values of Register.COMMAND; only an engine that learns has those from ADD on."""

    FORWARD = 1
    ECHO = 2
    RESUME = 3  # a forward pass that goes on from the last one: no prologue, and its sums go on
    ADD = 4  # an echo whose sums go on from the last one's, in all of its sections
    SCAN = 5
    UPDATE = 6


PLAYS: Mapping[EnginePass, tuple[Section, ...]] = {
    EnginePass.FORWARD: FORWARD,
    EnginePass.ECHO: ECHO,
    EnginePass.RESUME: RESUMED,
    EnginePass.ADD: ECHO,
    EnginePass.SCAN: (Section.SCAN,),
    EnginePass.UPDATE: (Section.UPDATE,),
}
BY_ROWS = (EnginePass.SCAN, EnginePass.UPDATE)  # they take rows of a tensor's words, no frames
REPEATED = (*STEPS, *LEARNING)  # sections of as many iterations as LENGTH says


def passes_of(learns: bool) -> tuple[EnginePass, ...]:
    """The passes of an engine that `learns` or does not."""
    return tuple(EnginePass) if learns else tuple(EnginePass)[:3]


def adds(kind: EnginePass, section: Section) -> bool:
    """Whether the sums of a section go on in a pass of this kind, from its first iteration on."""
    if kind is EnginePass.RESUME:
        return section in STEPS
    return kind is EnginePass.ADD or section in LEARNING
