"""The worst case of linear recurrences: reached by one input, exceeded by none."""

from __future__ import annotations

import numpy as np
import pytest

from echoloom.ir.worst_case import CHUNK, Recurrence, TooLong, worst_case


def oscillators(count: int, random: np.random.Generator, coupled: float = 0.0) -> Recurrence:
    """Positions and momenta [2 count] of drag-free oscillators, a drive each and one for all."""
    h, springs = 0.4, np.diag(random.uniform(0.2, 1.5, count)) + coupled * np.eye(count, k=1)
    eye, zero = np.eye(count), np.zeros((count, count))
    drift = np.block([[eye, 0.5 * h * eye], [zero, eye]])
    kick = np.block([[eye, zero], [-h * springs, eye]])
    push = np.concatenate([zero, h * np.diag(random.uniform(0.5, 2.0, count))])
    common = np.concatenate([np.zeros(count), h * random.uniform(-1.0, 1.0, count)])[:, None]
    drives = drift @ np.concatenate([push, common], 1)
    step = drift @ kick @ drift
    seen = np.concatenate([np.eye(2 * count), step[:1]])
    passed = np.concatenate([np.zeros((2 * count, count + 1)), drives[:1]])
    return Recurrence(
        step, drives, 0.1 * random.normal(size=2 * count), seen, passed,
        0.1 * random.normal(size=2 * count + 1), random.uniform(0.0, 0.3, 2 * count),
    )  # fmt: skip


def course(system: Recurrence, start: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """[steps, r]: what is seen."""
    state, seen = start, []
    for d in inputs:
        seen.append(system.seen @ state + system.passed @ d + system.offset)
        state = system.states @ state + system.drives @ d + system.constant
    return np.array(seen)


@pytest.mark.parametrize("coupled", [0.0, 0.3])
@pytest.mark.parametrize("steps", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_no_input_exceeds_it(steps: int, coupled: float) -> None:
    random = np.random.default_rng(steps)
    system = oscillators(3, random, coupled)
    worst = worst_case(system, steps)
    for _ in range(20):
        start = system.start * random.uniform(-1.0, 1.0, 6)
        inputs = np.sign(random.normal(size=(steps, 4)))
        assert (np.abs(course(system, start, inputs)).max(0) <= worst).all()


@pytest.mark.parametrize("coupled", [0.0, 0.3])
@pytest.mark.parametrize("steps", [1, 2, CHUNK, CHUNK + 1, 2 * CHUNK + 9])
def test_the_response_played_backwards_reaches_it(steps: int, coupled: float) -> None:
    """Exactly, where nothing is constant and all begins at zero."""
    random = np.random.default_rng(steps)
    full = oscillators(3, random, coupled)
    zero = np.zeros(6)
    system = Recurrence(full.states, full.drives, zero, full.seen, full.passed, np.zeros(7), zero)
    worst = worst_case(system, steps)
    powers = [np.linalg.matrix_power(system.states, k) for k in range(steps - 1)]
    for row in range(7):
        responses = [system.passed[row]] + [system.seen[row] @ p @ system.drives for p in powers]
        attack = np.sign(responses)[::-1]
        reached = np.abs(course(system, zero, attack))[-1, row]
        assert reached == pytest.approx(worst[row], rel=1e-8)


def test_constants_and_starts_count() -> None:
    """A constant force bends an oscillator by twice its rest, however long it lasts."""
    h, stiffness, force = 0.1, 0.3, 0.5
    step = np.array([[1.0, h], [0.0, 1.0]]) @ np.array([[1.0, 0.0], [-h * stiffness, 1.0]])
    none = np.zeros((2, 0))
    system = Recurrence(
        step, none, np.array([h * h * force, h * force]), np.eye(2), none, np.zeros(2), np.zeros(2)
    )
    assert worst_case(system, 2000)[0] == pytest.approx(2.0 * force / stiffness, rel=0.01)
    begun = Recurrence(step, none, np.zeros(2), np.eye(2), none, np.zeros(2), np.array([0.0, 1.0]))
    assert worst_case(begun, 2000)[0] == pytest.approx(stiffness**-0.5, rel=0.01)


def test_what_no_state_feeds_and_what_takes_too_long() -> None:
    system = oscillators(2, np.random.default_rng(0))
    alone = Recurrence(
        system.states, system.drives, system.constant, 0.0 * system.seen, system.passed,
        system.offset, system.start,
    )  # fmt: skip
    wanted = np.abs(system.passed).sum(1) + np.abs(system.offset)
    np.testing.assert_allclose(worst_case(alone, 50), wanted)
    with pytest.raises(TooLong):
        worst_case(system, 10**9)


def test_a_long_sum_ends_where_it_can_prove_nothing_any_more() -> None:
    system = oscillators(2, np.random.default_rng(0))
    with pytest.raises(TooLong):
        worst_case(system, 10**7, np.ones(5))
    # Little is added up to the end all the same.
    np.testing.assert_array_equal(worst_case(system, 100, np.ones(5)), worst_case(system, 100))


@pytest.mark.parametrize("steps", [1, 2, CHUNK, CHUNK + 1, 4 * CHUNK + 3])
def test_without_inputs_it_is_the_course_itself(steps: int) -> None:
    full = oscillators(3, np.random.default_rng(steps))
    system = Recurrence(
        full.states, 0.0 * full.drives, full.constant, full.seen, 0.0 * full.passed, full.offset,
        np.zeros(6),
    )  # fmt: skip
    reached = np.abs(course(system, np.zeros(6), np.zeros((steps, 4)))).max(0)
    np.testing.assert_allclose(worst_case(system, steps), reached, rtol=1e-8)
