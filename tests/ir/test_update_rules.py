"""The rules of updates, held against whole numbers of any size, one word at a time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from echoloom.ir.update_rules import (
    INCREMENT,
    MULTIPLIER,
    NOISE_BITS,
    by_scale,
    by_sign,
    decayed,
    halved,
    noise_key,
    noise_keys,
    noise_rows,
    shift_of,
    step_units,
)

WIDTH, WORD = 8, 12
MOST = 127  # of a weight's word


def clamp(value: int, most: int = MOST) -> tuple[int, int]:
    held = max(-most, min(most, value))
    return held, int(held != value)


def into_range(total: int, lift: int) -> tuple[int, int]:
    first, one = clamp(total)
    second, two = clamp(first - lift)
    return second, one + two


def words(seed: int, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and gradients of all sizes, many of them 0."""
    random = np.random.default_rng(seed)
    sizes = 2.0 ** random.uniform(0, 50, count)
    gradients = (random.uniform(-1, 1, count) * sizes * (random.random(count) < 0.8)).astype(int)
    return random.integers(-MOST, MOST + 1, count), gradients


@pytest.mark.parametrize("lift", [0, -MOST])
@pytest.mark.parametrize("step", [1, -3, 60])
def test_a_sign_moves_a_word_by_one_step(step: int, lift: int) -> None:
    w, g = words(0)
    w = np.abs(w) if lift else w
    found = by_sign(w, g, step, lift, WIDTH)
    expected = [
        into_range(int(a) + step * int(np.sign(b)) + lift, lift) for a, b in zip(w, g, strict=True)
    ]
    assert found.words.tolist() == [word for word, _ in expected]
    assert found.clamped == sum(count for _, count in expected) > 0 or abs(step) == 1
    assert not lift or found.words.min() >= 0


def test_a_word_that_stays_at_zero_or_above_is_counted_where_it_would_not() -> None:
    found = by_sign(np.array([1, 5, MOST]), np.array([1, 1, -1]), -3, -MOST, WIDTH)
    assert found.words.tolist() == [0, 2, MOST] and found.clamped == 2


def test_a_momentum_loses_its_eighth() -> None:
    g = words(1)[1] // 8
    for old, new in zip(g.tolist(), decayed(g, 28).tolist(), strict=True):
        assert new == old - 2**17 * round(Fraction(old, 2**20))
        assert abs(new - old * 7 / 8) <= 2**16
    far = 2**53
    assert decayed(np.array([far - 1, -far]), 28).tolist() == [
        far - 1 - 2**17 * (2**27 - 1), -far + 2**17 * (2**27 - 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("largest", "shift"), [(0, 0), (2**23 - 1, 0), (2**23, 1), (-(2**23), 0), (-(2**23) - 1, 1)]
)
def test_the_peak_has_23_bits(largest: int, shift: int) -> None:
    assert shift_of(np.array([[0, 1], [largest, -1]])) == shift


@pytest.mark.parametrize("lift", [0, -MOST])
@pytest.mark.parametrize("step", [8, -24, 1000])
def test_a_scaled_step_is_rounded_by_the_noise(step: int, lift: int) -> None:
    w, g = words(2)
    w = np.abs(w) if lift else w
    shift = shift_of(g)
    noise = noise_rows(noise_keys(3, 0, 4), len(w) // 4).reshape(-1)
    found = by_scale(w, g, noise, step, lift, WIDTH, 28, shift)
    expected = []
    for a, b, x in zip(w.tolist(), g.tolist(), noise.tolist(), strict=True):
        v = round(Fraction(b, 2**shift))
        assert abs(v) < 2**23 + 1
        total = a + lift + Fraction(step * v + x, 2**NOISE_BITS)
        expected.append(into_range(round(total), lift))
    assert found.words.tolist() == [word for word, _ in expected]
    assert found.clamped == sum(count for _, count in expected)


def test_rounding_by_chance_keeps_the_mean() -> None:
    count = 1 << 14
    noise = noise_rows(noise_keys(0, 0, 4), count // 4).reshape(-1)
    ones = np.ones(count, np.int64)
    # A largest gradient, with half a weight unit's eighths, and one of a third of that.
    for part, mean in ((1.0, 0.5), (1 / 3, 1 / 6), (-1 / 3, -1 / 6)):
        g = np.full(count, round(part * 2**23))
        moved = by_scale(0 * ones, g, noise, 4, 0, WIDTH, 28, 0).words
        assert abs(moved.mean() - mean) < 0.02


def test_the_generator_goes_on_by_itself() -> None:
    lanes, rows = 3, 50
    x, found = noise_keys(7, 2, lanes).tolist(), noise_rows(noise_keys(7, 2, lanes), rows)
    half = 1 << NOISE_BITS - 1
    for row in found.tolist():
        x = [(MULTIPLIER * v + INCREMENT + half) % (2 * half) - half for v in x]
        assert row == x
    again = noise_rows(noise_rows(noise_keys(7, 2, lanes), 20)[-1], 30)
    assert np.array_equal(again, found[20:])
    assert MULTIPLIER % 8 == 5 and INCREMENT % 2 == 1 and MULTIPLIER < 2**17


def test_keys_differ_and_stay() -> None:
    """These are written into engines: another hash is another training."""
    keys = {noise_key(s, u, lane) for s in range(4) for u in range(16) for lane in range(16)}
    assert len(keys) == 4 * 16 * 16
    assert noise_keys(0, 0, 2).tolist() == KEYS
    assert all(-(2**25) <= key < 2**25 for key in keys)


KEYS = [9308630, 17331900]


def test_steps_are_whole_weight_units() -> None:
    assert step_units(2.0**-8, 12, 18, scaled=False) == 16
    assert step_units(2.0**-8, 12, 18, scaled=True) == 128
    assert step_units(2.0**-8, 3, 18, scaled=False) == 1
    assert step_units(4.0, 17, 18, scaled=False) == 2**17 - 1
    assert [halved(-16, k) for k in (0, 1, 4, 9)] == [-16, -8, -1, -1]
    assert halved(5, 1) == 2
