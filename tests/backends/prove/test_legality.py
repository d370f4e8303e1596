"""Schedules as an image has them, held against their tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_reversibility import compiled

import echoloom as el
from echoloom.backends.prove.legality import schedules_played
from echoloom.ir.contract import Image
from echoloom.ir.sections import SWEPT, Section


def changed(image: Image, section: Section, **fields: int) -> Image:
    """With other fields in the second multiplication of a section."""
    at = image.sections[section].mac + 1
    mac = (*image.mac[:at], replace(image.mac[at], **fields), *image.mac[at + 1 :])
    return replace(image, mac=mac)


def test_every_section_of_a_program_is_played() -> None:
    program = compiled()
    found = list(schedules_played(program.artifact.mapped, program.image))
    assert [own.section for own in found] == list(SWEPT[:5])
    assert all(own.wrong == () for own in found)
    assert [own.times > 1 for own in found] == [False, True, False, False, True]


def test_an_entry_of_the_image_that_is_not_the_schedules_is_found() -> None:
    program = compiled()
    entry = program.image.mac[program.image.sections[Section.FORWARD_STEP].mac + 1]
    bad = changed(program.image, Section.FORWARD_STEP, x_base=entry.x_base + 1)
    wrong = {own.section: own.wrong for own in schedules_played(program.artifact.mapped, bad)}
    assert wrong[Section.FORWARD_STEP]
    assert not wrong[Section.ECHO_STEP]


def test_a_section_that_ends_too_early_is_found() -> None:
    program = compiled()
    sections = list(program.image.sections)
    own = sections[Section.ECHO_PROLOGUE]
    sections[Section.ECHO_PROLOGUE] = replace(own, length=own.length - 8, last=own.last - 8)
    bad = replace(program.image, sections=tuple(sections))
    wrong = {p.section: p.wrong for p in schedules_played(program.artifact.mapped, bad)}
    assert any(
        "its iteration until" in s or "still land" in s for s in wrong[Section.ECHO_PROLOGUE]
    )


def test_prove_raises_what_is_wrong() -> None:
    program = replace(compiled())
    vars(program)["image"] = changed(program.image, Section.FORWARD_STEP, x_base=1_000)
    with pytest.raises(el.NotLegal, match="the schedule of forward_step: "):
        el.prove(program)
