"""Forms enclose every value that they stand for, and are no larger than what they share allows."""

from __future__ import annotations

import numpy as np
import pytest

from echoloom.ir.affine import Form, between, known, product, within

SIZES = {"x": 3, "y": 2}


def form(random: np.random.Generator, size: int = 4) -> Form:
    terms = {name: random.normal(size=(size, n)) for name, n in SIZES.items()}
    return Form(random.normal(size=size), np.abs(random.normal(size=size)), terms)


class Points:
    """Values of forms at one choice of all sources; each form errs in its own way."""

    def __init__(self, random: np.random.Generator):
        self.random = random
        self.sources = {n: random.choice([-1.0, 1.0, 0.3], size) for n, size in SIZES.items()}

    def at(self, own: Form) -> np.ndarray:
        error = own.radius * self.random.choice([-1.0, 1.0, 0.1], own.radius.shape)
        return own.centre + error + sum(m @ self.sources[n] for n, m in own.terms.items())


def holds(own: Form, value: np.ndarray) -> None:
    assert (own.low - 1e-12 <= value).all() and (value <= own.high + 1e-12).all()
    assert (np.abs(value) <= own.reach + 1e-12).all()


@pytest.mark.parametrize("seed", range(5))
def test_forms_enclose_what_is_computed_with_their_values(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b, c = form(random), form(random), form(random, 1)
    matrix, numbers = random.normal(size=(5, 4)), random.normal(size=4)
    for _ in range(50):
        points = Points(random)
        x, y, z = (points.at(own) for own in (a, b, c))
        holds(a.plus(b), x + y)
        holds(a.plus(b, -1.0), x - y)
        holds(a.plus(c), x + z)
        holds(a.times(numbers), x * numbers)
        holds(c.times(numbers), z * numbers)
        holds(a.under(matrix), matrix @ x)
        holds(product("p", a, b), x * y)
        holds(product("p", a, c), x * z)
        holds(product("p", a, a, same=True), x * x)
        holds(a.blurred(0.5), x + random.uniform(-0.5, 0.5, 4))
        holds(product("p", a, known(numbers)), x * numbers)


def test_what_two_values_share_cancels() -> None:
    x = within("x", np.array([-1.0, 2.0]), np.array([3.0, 2.0]))
    assert x.plus(x, -1.0).reach.tolist() == [0.0, 0.0]
    both = np.array([[1.0, 1.0], [1.0, -1.0]])
    assert x.under(both).under(0.5 * both).high.tolist() == x.high.tolist() == [3.0, 2.0]
    apart = between(x.low, x.high)
    assert apart.plus(apart, -1.0).reach.tolist() == [4.0, 0.0]
    assert known(np.array([2.0])).is_known and not x.is_known


def test_bounds_are_reached() -> None:
    """The signs of a row's terms take it to its end."""
    random = np.random.default_rng(3)
    own = form(random)
    for row in range(4):
        size = own.centre[row] + own.radius[row]
        size += sum(np.abs(m[row]).sum() for m in own.terms.values())
        assert own.high[row] == pytest.approx(size)
