"""`el.verify` with the simulator "golden": an image on the engine's twin, without RTL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_models import target_of, tiny

import echoloom as el
from echoloom.hdl.engine import Engine
from echoloom.ir.sections import Section
from echoloom.sim.verify import GOLDEN


def verify(program: el.CompiledProgram, x: np.ndarray, **options: Any) -> el.VerifyReport:
    labels = [target_of(program.model, len(x[0])), None, target_of(program.model, len(x[0]), 1)]
    settings = {"simulator": "golden", "levels": ("rtl",), **options}
    return el.verify(program, x, labels, **settings)


@pytest.mark.core
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_forward_and_echo_are_numpys_and_cycles_are_counted(task: Any) -> None:
    program, x = tiny(task)
    report = verify(program, x)
    level = report.levels["rtl"]
    assert (level.forward, level.echo, level.mismatches) == (3, 2, 0)
    assert level.compared > 300
    assert (report.simulator, report.notes, report.lsb_off) == ("golden", (GOLDEN,), 0)
    assert report.cycles.keys() == {"forward", "echo"}
    for name, cycles in report.cycles.items():
        counted = program.artifact.mapped.cycles(name == "forward", 6)
        assert counted == cycles.predicted == cycles.rtl
        assert 0.0 < cycles.utilisation < 1.0


def test_overflow_is_flagged_as_numpy_does() -> None:
    program, x = tiny()
    report = verify(program, 6.0 * np.sign(x))
    assert report.overflowed >= 1 and report.saturated == 3


@pytest.mark.core
def test_a_broken_image_is_located() -> None:
    program, x = tiny()
    place = program.artifact.mapped.allocation.weight.places["b1.unit.drive"]
    weight = [list(bank) for bank in program.image.weight]
    weight[1][place.address + 2] ^= 4
    image = replace(program.image, weight=tuple(map(tuple, weight)))
    with pytest.raises(el.Mismatch) as caught:
        verify(program, x, image=image)
    found = caught.value.difference
    assert (found.level, found.step, found.block, found.element) == ("rtl", 0, "b1", (1,))
    assert found.signal.startswith("free.force.t") and found.signal.endswith("(forward_step)")


def test_a_wrong_program_is_located() -> None:
    """A drain of the echo that rounds elsewhere, and a word that the engine does not have."""
    program, x = tiny()
    mapped = program.artifact.mapped
    before = sum(len(mapped.schedules[s].drain) + 1 for s in Section if s < Section.ECHO_STEP)
    labels = [name for name, _ in mapped.schedules[Section.ECHO_STEP].labels]
    drain = list(program.image.drain)
    index = before + labels.index("b0.minus.kick.p")
    drain[index] = replace(drain[index], shift=drain[index].shift + 1)
    with pytest.raises(el.Mismatch, match=r"step 0, block b0, signal minus\.kick\.p \(echo_step\)"):
        verify(program, x, image=replace(program.image, drain=tuple(drain)))
    last = mapped.config.exponent_depth - 1  # the second chunk's is beyond it
    drain[index] = replace(drain[index], use_exponents=True, exponents=last)
    with pytest.raises(RuntimeError, match="pass 1 names a word that the engine's memories do not"):
        verify(program, x, image=replace(program.image, drain=tuple(drain)))


def test_there_is_no_circuit_to_hold_back_or_to_replace() -> None:
    program, x = tiny()
    options: list[dict[str, Any]] = [{"stall_seed": 3}, {"wrapper": Engine}]
    for own in options:
        with pytest.raises(ValueError, match="the simulator golden runs no circuit"):
            verify(program, x, **own)
