"""Product counts and utilisation, against the paper's size and against the schedule."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import echoloom as el
from echoloom.frontend.models.stack import folded_stack
from echoloom.ir.ops import Op
from echoloom.ir.passes.assemble import IDENTITY, assemble
from echoloom.ir.passes.estimate import (
    products,
    sequence_utilisation,
    step_cycles,
    utilisation,
)
from echoloom.ir.passes.simplify import simplify
from echoloom.ir.sections import ECHO, FORWARD, STEPS, SWEPT, Section

T, INPUTS, HIDDEN, STATE, BLOCKS, OUTPUTS = 12, 3, 4, 2, 2, 3


@pytest.fixture(scope="module", params=["classification", "regression"])
def program(request) -> el.CompiledProgram:
    key = jax.random.key(0)
    model = el.HSSM(INPUTS, OUTPUTS, HIDDEN, STATE, BLOCKS, task=request.param, key=key)
    samples = np.random.default_rng(0).standard_normal((2, T, INPUTS))
    return el.compile(model, samples, lanes=2)


def test_the_papers_size():
    model = el.HSSM(61, 2, hidden=64, state=16, blocks=2, key=jax.random.key(0))
    program = simplify(assemble(folded_stack(model).graphs, (1.0, 1.0)))
    encoder, drive_and_readout, gates = 61 * 64, 2 * 32 * 64, 2 * 64 * 64
    elementwise = 3 * 64 + 4 * 32  # norm, D and gate; drift, spring, kick and drift
    forward = encoder + 2 * (drive_and_readout + gates + elementwise)
    assert forward == 29_120
    assert products(program, program.body(Section.FORWARD_STEP)) == forward
    assert products(program, program.body(Section.ECHO_STEP)) == 84_096


def test_schedule_plays_these_products_and_no_others(program):
    """The fabric's useful lanes, which it counts itself, but for what it is known to repeat."""
    for section in SWEPT:
        body = program.ir.body(section)
        played = sum(
            entry.lanes * entry.inner * entry.outer
            for entry in program.artifact.mapped.schedules[section].mac
        )
        repeated = moved = 0
        if section is Section.ECHO_STEP:
            repeated = BLOCKS * 2 * STATE  # the nudge, for the plus and the minus copy
            moved = sum(
                OUTPUTS**2 for i in body.instrs if i.op is Op.MATVEC and i.args[0] == IDENTITY
            )
        assert played == products(program.ir, body) + repeated + moved


def test_utilisation_is_products_over_lane_cycles(program):
    mapped = program.artifact.mapped
    for section, value in utilisation(mapped).items():
        cycles = step_cycles(mapped, section)
        assert value == products(program.ir, program.ir.body(section)) / (2 * cycles)
        assert 0.0 < value < 1.0
        forward = section is Section.FORWARD_STEP
        assert mapped.cycles(forward, T + 5) - mapped.cycles(forward, T) == 5 * cycles
    assert set(utilisation(mapped)) == set(STEPS)


def test_a_sequence_has_its_other_sections_and_fills_and_empties_the_engine(program):
    mapped = program.artifact.mapped
    for forward, step in zip((True, False), STEPS, strict=True):
        sections = FORWARD if forward else ECHO
        for length in (1, 1000):
            useful = sum(
                products(program.ir, program.ir.body(s)) * (length if s in STEPS else 1)
                for s in sections
            )
            used = sequence_utilisation(mapped, forward, length)
            assert used * 2 * mapped.cycles(forward, length) == pytest.approx(useful)
        assert 0.99 < used / utilisation(mapped)[step] < 1.0
