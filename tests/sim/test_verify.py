"""el.verify at every level, and what it says when a level is sabotaged."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped
from small_models import target_of, tiny

import echoloom as el
from echoloom.backends.run import jax_words, run_jax, run_numpy
from echoloom.hdl.engine import Engine
from echoloom.ir.arithmetic import Rounding
from echoloom.ir.contract import Add, EngineConfig, Image, Timing
from echoloom.ir.flags import Flag
from echoloom.ir.program import Program
from echoloom.ir.sections import Section

CPP = "verilator-cpp"


def verify(program: el.CompiledProgram, x: np.ndarray, **options: Any) -> el.VerifyReport:
    labels = [target_of(program.model, len(x[0])), None, target_of(program.model, len(x[0]), 1)]
    return el.verify(program, x, labels, **{"simulator": CPP, **options})


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("stall_seed", [pytest.param(None, marks=pytest.mark.core), 7])
def test_all_levels_agree_with_and_without_stalls(task: str, stall_seed: int | None) -> None:
    program, x = tiny(task)
    report = verify(program, x, stall_seed=stall_seed)
    assert {name: level.mismatches for name, level in report.levels.items()} == {"jax": 0, "rtl": 0}
    assert report.levels["rtl"].forward == 3 and report.levels["rtl"].echo == 2
    assert report.levels["rtl"].compared > report.levels["jax"].compared > 300
    assert report.lsb_off == 0
    assert report.overflowed == 0
    for cycles in report.cycles.values():
        assert cycles.predicted == cycles.rtl > 0


def test_overflow_is_flagged_alike_at_every_level() -> None:
    program, x = tiny()
    wild = 6.0 * np.sign(x)
    assert program.run(wild[0], 1).overflow
    report = el.verify(program, wild, [1, None, 0], simulator=CPP)
    assert report.overflowed >= 1
    assert report.saturated == 3
    with pytest.raises(el.Overflowed, match="its numbers mean nothing"):
        program.predict(wild[0])


def test_under_cocotb_with_stalls() -> None:
    program, x = tiny()
    report = verify(program, x, simulator="verilator", levels=("rtl",), stall_seed=3)
    assert report.levels["rtl"].mismatches == 0


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_under_icarus() -> None:
    program, x = tiny()
    report = verify(program, x, simulator="icarus", levels=("rtl",))
    assert report.levels["rtl"].mismatches == 0


def test_nothing_to_compare_is_an_error() -> None:
    program, x = tiny()
    with pytest.raises(ValueError, match="at least one sequence"):
        el.verify(program, [])
    with pytest.raises(ValueError, match="needs a level to hold against numpy"):
        el.verify(program, x, levels=("numpy",))
    with pytest.raises(ValueError, match="unknown level 'onyx'"):
        el.verify(program, x, levels=("onyx",))


# Sabotage of the RTL


def drain_index(program: el.CompiledProgram, section: Section, value: str) -> int:
    mapped = program.artifact.mapped
    before = sum(len(mapped.schedules[s].drain) + 1 for s in Section if s < section)
    labels = [name for name, _ in mapped.schedules[section].labels]
    return before + labels.index(value)


def with_drain(image: Image, index: int, **changes: Any) -> Image:
    drain = list(image.drain)
    drain[index] = replace(drain[index], **changes)
    return replace(image, drain=tuple(drain))


def expect(program: el.CompiledProgram, x: np.ndarray, **options: Any) -> str:
    with pytest.raises(el.Mismatch) as caught:
        verify(program, x, **options)
    difference = caught.value.difference
    assert difference.bit is not None and difference.expected != difference.actual
    assert str(difference) == str(caught.value)
    return str(caught.value)


def test_one_weight_bit_is_found() -> None:
    program, x = tiny()
    place = program.artifact.mapped.allocation.weight.places["b1.unit.drive"]
    weight = [list(bank) for bank in program.image.weight]
    weight[1][place.address + 2] ^= 4
    image = replace(program.image, weight=tuple(map(tuple, weight)))
    message = expect(program, x, levels=("rtl",), image=image)
    # Row 1 of B is in lane 1; the first word made from it is B u.
    assert message.startswith("rtl: first difference at step 0, block b1, signal free.force.t")
    assert "(forward_step)[1], bit" in message


def test_a_dropped_nudge_is_found() -> None:
    program, x = tiny()
    index = drain_index(program, Section.ECHO_STEP, "b1.plus.nudged")
    image = with_drain(program.image, index, shift=63)
    message = expect(program, x, levels=("rtl",), image=image)
    assert "step 0, block b1, signal plus.nudged (echo_step)[0]" in message


def test_a_swapped_operand_is_found() -> None:
    """A difference of two words is a base word less what the multipliers moved, not the reverse."""
    program, x = tiny()
    image = program.image
    mac, drain = list(image.mac), list(image.drain)
    of_mac, of_drain = _moved_and_taken(program)
    moved, taken = mac[of_mac], drain[of_drain]
    mac[of_mac] = replace(moved, x_base=taken.base)
    drain[of_drain] = replace(taken, base=moved.x_base)
    swapped = replace(image, mac=tuple(mac), drain=tuple(drain))
    message = expect(program, x, levels=("rtl",), image=swapped)
    assert "(echo_step)" in message and "bit" in message


def _moved_and_taken(program: el.CompiledProgram) -> tuple[int, int]:
    """A word that the multipliers move as it is, and the drain entry that takes it from another."""
    image = program.image
    one = program.artifact.mapped.shared.factors[1]
    section = image.sections[Section.ECHO_STEP]
    for index, entry in enumerate(image.drain[section.drain :], start=section.drain):
        if entry.add is not Add.MINUS:
            continue
        pushes = [
            i for i, e in enumerate(image.mac[section.mac :], start=section.mac)
            if e.push and e.slot == entry.slot and e.start < entry.start and not entry.tree
        ]  # fmt: skip
        last = image.mac[pushes[-1]] if pushes else None
        if last is not None and last.w_base == one and last.x_base < image.config.bases:
            return pushes[-1], index
    raise AssertionError("the program has no such difference")


def test_a_lost_gradient_step_is_found() -> None:
    program, x = tiny()
    place = program.artifact.mapped.allocation.gradient.places["b0.readout"]
    mac = list(program.image.mac)
    start = program.image.sections[Section.ECHO_STEP].mac
    index = next(
        i for i in range(start, len(mac))
        if mac[i].destination == 2 and mac[i].g_base == place.address
    )  # fmt: skip
    mac[index] = replace(mac[index], y_base=mac[index].y_base + 1)
    message = expect(program, x, levels=("rtl",), image=replace(program.image, mac=tuple(mac)))
    assert "step 0, block b0, signal readout (echo_step)[" in message


@pytest.mark.parametrize("simulator", [CPP, "amaranth"])
def test_wrong_rounding_is_found(simulator: str) -> None:
    program, x = tiny()

    def half_up(config: EngineConfig, timing: Timing) -> Engine:
        return Engine(config, timing, Rounding.HALF_UP)

    message = expect(program, x, levels=("rtl",), wrapper=half_up, simulator=simulator)
    assert message.startswith("rtl: first difference at step ")


class StallBug(wiring.Component):
    """An engine whose sample word loses its lowest bit when it had to wait for the word."""

    def __init__(self, config: EngineConfig, timing: Timing) -> None:
        self.engine = Engine(config, timing)
        super().__init__(self.engine.signature)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.engine = engine = self.engine
        connect(m, flipped(self.request), engine.request)
        connect(m, engine.response, flipped(self.response))
        connect(m, engine.outputs, flipped(self.outputs))
        m.d.comb += [
            self.trace.section.eq(engine.trace.section),
            self.trace.iteration.eq(engine.trace.iteration),
        ]
        for name in ("mac", "drain"):
            connect(m, getattr(engine.trace, name), flipped(getattr(self.trace, name)))
        for outside, inside in zip(self.trace.drains, engine.trace.drains, strict=True):
            connect(m, inside, flipped(outside))
        waited = Signal()
        m.d.sync += waited.eq(~self.samples.valid)
        m.d.comb += [
            engine.samples.valid.eq(self.samples.valid),
            engine.samples.payload.eq(self.samples.payload ^ (waited & self.samples.payload[0])),
            self.samples.ready.eq(engine.samples.ready),
        ]
        return m


def test_a_stall_bug_is_found() -> None:
    program, x = tiny()
    message = expect(program, x, levels=("rtl",), wrapper=StallBug, stall_seed=5)
    assert "rtl: first difference at " in message


def test_a_wrong_cycle_count_is_found() -> None:
    program, x = tiny()
    mapped = program.artifact.mapped
    schedule = mapped.schedules[Section.FORWARD_STEP]
    longer = {**mapped.schedules, Section.FORWARD_STEP: replace(schedule, length=999)}
    artifact = replace(program.artifact, mapped=replace(mapped, schedules=longer))
    with pytest.raises(el.Mismatch, match="cycles of the forward pass"):
        verify(replace(program, artifact=artifact), x, levels=("rtl",), image=program.image)


# Sabotage of the JAX level


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing that was compiled before is used again."""
    monkeypatch.setattr(run_jax, "compile_sweep", run_jax.compile_sweep.__wrapped__)
    return monkeypatch


def test_wrong_rounding_in_jax_is_found(anew: pytest.MonkeyPatch) -> None:
    program, x = tiny()
    right = jax_words._shifted
    anew.setattr(jax_words, "_shifted", lambda x, by, mode: right(x, by, Rounding.FLOOR))
    message = expect(program, x, levels=("jax",))
    assert message.startswith("jax: first difference at step 0, block encode, signal t1.rounded")


def test_a_lost_flag_in_jax_is_found(anew: pytest.MonkeyPatch) -> None:
    """Words are the same, so the flags' own signal is what is named."""
    program, x = tiny()
    right = jax_words.Step.flag

    def forgetful(step: jax_words.Step, flag: Flag, where: Any) -> None:
        if flag is not Flag.STATE:
            right(step, flag, where)

    anew.setattr(jax_words.Step, "flag", forgetful)
    message = expect(program, 6.0 * np.sign(x), levels=("jax",))
    assert message.startswith("jax: first difference at signal forward flags, bit 0: expected ")


def test_an_echo_from_a_wrong_state_in_jax_is_found(anew: pytest.MonkeyPatch) -> None:
    """The echo forgets to start its plus copy where the forward sweep ended."""
    program, x = tiny()
    right = run_jax.structure

    def forgetful(program: Program) -> Program:
        body = program.body(Section.ECHO_PROLOGUE)
        kept = tuple(u for u in body.updates if u[0] != "b0.plus.q")
        assert kept != body.updates
        other = replace(body, updates=kept)
        bodies = tuple(other if b is body else b for b in program.bodies)
        return right(replace(program, bodies=bodies))

    anew.setattr(run_jax, "structure", forgetful)
    message = expect(program, x, levels=("jax",))
    assert message.startswith("jax: first difference at step 0, block b0, signal plus.first.q")
    assert "(echo_step)" in message


def test_a_swapped_operand_in_jax_is_found(anew: pytest.MonkeyPatch) -> None:
    program, x = tiny()
    right = run_jax.structure

    def swapped(program: Program) -> Program:
        body = program.body(Section.ECHO_STEP)
        instrs = tuple(
            replace(i, args=i.args[::-1]) if i.name == "b0.minus.nudged.exact" else i
            for i in body.instrs
        )
        assert instrs != body.instrs
        other = replace(body, instrs=instrs)
        bodies = tuple(other if b is body else b for b in program.bodies)
        return right(replace(program, bodies=bodies))

    anew.setattr(run_jax, "structure", swapped)
    message = expect(program, x, levels=("jax",))
    assert "step 0, block b0, signal minus.nudged" in message


def test_wrong_rounding_in_numpy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    program, x = tiny()
    right = run_numpy.round_shift
    monkeypatch.setattr(run_numpy, "round_shift", lambda x, s, mode: right(x, s, Rounding.HALF_UP))
    assert "jax: first difference at step" in expect(program, x, levels=("jax",))
