"""Programs, images, cycles, outputs and gradients are what earlier releases gave, to the bit."""

from __future__ import annotations

import json

import pytest
from unchanged_models import CASES, KEPT, RECORD, SAVED, digests, unit_of

import echoloom as el

pytestmark = pytest.mark.core


@pytest.mark.parametrize("name", CASES)
def test_every_integer_and_cycle_is_what_it_was(name):
    assert digests(CASES[name]()) == json.loads(RECORD.read_text())[name]


@pytest.mark.parametrize("name", KEPT)
def test_saved_programs_are_read_as_they_were_written(name):
    _, x, label = CASES[name]()
    unit = None if KEPT[name] is None else unit_of(KEPT[name])
    program = el.load(SAVED / f"{name.replace(' ', '_')}.elp", unit)
    assert digests((program, x, label)) == json.loads(RECORD.read_text())[name]


def test_the_record_covers_every_case():
    assert json.loads(RECORD.read_text()).keys() == CASES.keys()
