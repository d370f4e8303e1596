"""The word that left its range first is named: its signal, step, value and range."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning_programs import made

import echoloom as el
from echoloom.backends.compile.learned import lesson_of, replayed
from echoloom.backends.run.learning_excess import first_of_training
from echoloom.backends.run.levels import Artifact, numpy_run
from echoloom.backends.run.run_numpy import NumpyMachine
from echoloom.backends.run.watched import excesses
from echoloom.ir.flags import Flag
from echoloom.ir.host import FAILURES, run
from echoloom.ir.program import Accumulator
from echoloom.ir.sections import Section
from echoloom.ir.widths import Widths

STEPS = 40
GENTLE, LOUD = 0.26, 0.49  # below 1/2 both: inputs have the same format
SWING = LOUD * np.sign(np.sin(0.6 * np.arange(STEPS)))[:, None]


class Witness(NumpyMachine):
    """One step at a time; when and for which value the first flag of each kind was raised."""

    def __init__(self, artifact) -> None:
        super().__init__(
            artifact.program, artifact.coefficients, artifact.tables, observer=self.see
        )
        self.seen: dict[Flag, tuple[str, int, str]] = {}
        self.raised: list[Flag] = []

    def raise_flag(self, flag: Flag, where) -> None:
        super().raise_flag(flag, where)
        if where.any():
            self.raised.append(flag)

    def see(self, section: Section, iteration: int, name: str, value) -> None:
        for flag in self.raised:  # sums are flagged after the last instruction of a step
            if flag is not Flag.ACCUMULATOR:
                self.seen.setdefault(flag, (section.name.lower(), iteration, name))
        self.raised = [f for f in self.raised if f is Flag.ACCUMULATOR]


@lru_cache
def program_of(unit: str, margin: int = 0) -> tuple[el.CompiledProgram, np.ndarray]:
    """A program whose formats hold gentle samples, and with no margin just so."""
    model = el.HSSM(2, 3, 3, 2, 1, unit=unit, complex=False, step=0.5, key=jax.random.key(3))
    x = np.random.default_rng(5).uniform(-1.0, 1.0, (4, STEPS, 2))
    model = el.with_statistics(model, jnp.asarray(x))
    widths = Widths(margin=margin)
    return el.compile(model, GENTLE * x, np.arange(4) % 3, lanes=2, widths=widths), x


def short_sums(program: el.CompiledProgram, width: int) -> Artifact:
    """The program with sums over time of so few bits."""

    def narrower(a: Accumulator) -> Accumulator:
        q = replace(a.type.q, width=width)
        return replace(a, type=replace(a.type, format=q)) if a.target else a

    ir = replace(program.ir, accumulators=tuple(map(narrower, program.ir.accumulators)))
    return replace(program.artifact, program=ir)


@pytest.mark.parametrize("unit", ["linear", "nonlinear"])
def test_it_is_the_word_that_a_run_step_by_step_flags_first(unit: str) -> None:
    program, _ = program_of(unit)
    kinds: set[bool] = set()
    for number, drive in enumerate((1.0, -1.0, SWING / LOUD)):
        samples = LOUD * drive * np.ones((STEPS, 2))
        witness = Witness(program.artifact)
        run(program.artifact.host, witness.sweep, samples, number)
        found = excesses(program.artifact, samples, number)
        for excess in found:
            kinds.add(excess.overflow)
            seen = witness.seen[Flag.STATE if excess.overflow else Flag.SATURATED]
            section, iteration, name = seen
            at = STEPS - iteration if section == "echo_step" else iteration + 1
            step = at if section.endswith("step") else None
            assert (excess.section, excess.step, excess.signal) == (section, step, name)
            assert abs(excess.value) > excess.limit
            assert excess.steps == STEPS and excess.sequence is None
        assert (found.overflow is not None) == (Flag.STATE in witness.seen)
        if found.overflow is None:
            assert (found.clamp is not None) == (Flag.SATURATED in witness.seen)
    assert kinds == {False, True}


def test_the_value_and_the_limit_are_those_of_the_word() -> None:
    """Of a state that wraps: what it would have been, and what its format holds."""
    program, _ = program_of("linear")
    samples = SWING * np.ones(2)
    with pytest.raises(el.Overflowed) as caught:
        program.predict(samples)
    kept = caught.value.kept
    assert kept is not None and kept.label is None
    np.testing.assert_array_equal(kept.x, samples)
    excess = kept.excess
    body = program.ir.body(Section[excess.section.upper()])
    q = program.ir.types(body)[excess.signal].q
    unit = 2.0**-q.scalar_frac
    assert excess.format == str(q)
    assert excess.limit == (2 ** (q.width - 1) - 1) * unit
    assert excess.value % unit == 0.0
    words: dict[tuple[str, int], np.ndarray] = {}
    machine = NumpyMachine(
        program.artifact.program, program.artifact.coefficients, program.artifact.tables,
        lambda section, iteration, name, value: words.__setitem__((name, iteration), value),
    )  # fmt: skip
    run(program.artifact.host, machine.sweep, samples)
    assert excess.step is not None
    wrapped = words[excess.signal, excess.step - 1][excess.element] * unit
    assert (excess.value - wrapped) % (2.0**q.width * unit) == 0.0 and wrapped != excess.value
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) and again.kept.excess == excess
    for part in (excess.signal, f"step {excess.step} of {STEPS} of the forward sweep", str(q)):
        assert part in str(caught.value)


def test_a_sum_over_time_is_named_with_its_step() -> None:
    program, x = program_of("linear", 2)
    sums = (short_sums(program, width) for width in range(46, 20, -1))
    artifact = next(a for a in sums if numpy_run(a, GENTLE * x[0], 1).echo_flags & FAILURES)
    found = excesses(artifact, GENTLE * x[0], 1).overflow
    assert found is not None and found.section == "echo_step" and found.step is not None
    assert next(a.target for a in program.ir.accumulators if a.name == found.signal)
    assert found.block == 0 or not found.signal.startswith("b0")
    # Echoes that are cut short: the first that overflows is as long as it says.
    late = STEPS - found.step + 1
    flags = [
        bool(numpy_run(artifact, GENTLE * x[0], 1, echo_steps=steps).echo_flags & FAILURES)
        for steps in (late - 1, late)
    ]
    assert flags == [False, True]


def test_a_sound_run_has_none() -> None:
    program, x = program_of("linear", 2)
    assert not list(excesses(program.artifact, GENTLE * x[0], 1))
    assert program.overflow(GENTLE * x[0], 1) is None


def test_a_stream_names_the_step_of_its_push_and_its_gradient() -> None:
    program, _ = program_of("linear")
    samples = SWING * np.ones(2)
    with pytest.raises(el.Overflowed) as whole:
        program.predict(samples)
    wanted = whole.value.kept
    assert wanted is not None and wanted.excess.step is not None
    stream = program.stream(window=STEPS)
    before = wanted.excess.step - 3
    stream.push(samples[:before])
    with pytest.raises(el.Overflowed) as pushed:
        stream.push(samples[before:])
    assert pushed.value.kept is not None
    expected = replace(wanted.excess, step=3, steps=STEPS - before)
    assert pushed.value.kept.excess == expected


def test_a_training_names_the_update_and_the_sequence() -> None:
    """A sum with room for one sequence of three: the second or third is named."""
    program, x, y = made("linear")
    lesson = lesson_of(program, x, y)
    flags = np.zeros(lesson.order.shape, np.int64)
    weights = replayed(program.artifact, lesson)
    assert first_of_training(program.artifact, lesson, flags, weights) is None

    results = (
        replace(program, artifact=short_sums(program, width)).learn(x, y)
        for width in range(46, 20, -1)
    )
    result = next(found for found in results if found.overflowed.any())
    assert result.kept is not None
    excess, (update, number) = result.kept.excess, np.argwhere(result.overflowed)[0]
    assert excess.update == update and excess.sequence == lesson.order[update, number]
    np.testing.assert_array_equal(result.kept.x, x[lesson.order[update, number]])
    assert str(excess).startswith(f"before update {update} in sequence {excess.sequence} ")
