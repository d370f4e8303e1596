"""Arrays as people have them: taken where they mean numbers, else refused in one sentence."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from echoloom.frontend.data.arrays import jax_array, real_array, real_number, whole_number
from echoloom.frontend.gradients.loss import loss
from echoloom.frontend.models.hssm import HSSM

VALUES = [[0.5, -2.0], [3.0, 0.25]]  # which even eight bits hold


def stored() -> dict[str, object]:
    """VALUES in every dress."""
    plain = np.array(VALUES)
    objects = np.array(VALUES, dtype=object)
    rows = np.empty(2, object)
    rows[:] = [np.array(row) for row in VALUES]
    return {
        "list": VALUES,
        "big-endian": plain.astype(">f8"),
        "big-endian, short": plain.astype(">f4"),
        "half": plain.astype(np.float16),
        "bfloat16": plain.astype(ml_dtypes.bfloat16),
        "long": plain.astype(np.longdouble),
        "objects": objects,
        "rows of objects": rows,
        "decimals": [[Decimal(v) for v in row] for row in VALUES],
        "fractions": [[Fraction(v) for v in row] for row in VALUES],
        "mixed": [[np.float32(0.5), jnp.asarray(-2.0)], [3, np.longdouble(0.25)]],
        "unmasked": np.ma.array(plain, mask=np.zeros_like(plain)),
        "jax": jnp.asarray(plain, jnp.float32),
        "turned": np.asfortranarray(plain)[::-1][::-1],
    }


@pytest.mark.parametrize("name", stored())
def test_numbers_in_any_dress_are_the_same_numbers(name):
    found = real_array("x", stored()[name])
    assert found.dtype in (np.float32, np.float64) and found.dtype.isnative
    assert found.tolist() == VALUES
    assert jax_array("x", stored()[name]).tolist() == VALUES


def test_whole_numbers_and_booleans_stay_whole():
    for value, wanted in (
        (np.array([1, 70000], ">i8"), [1, 70000]),
        (np.array([1, 2], object), [1, 2]),
        (np.array([True, False]), [1, 0]),
        (np.uint8(7), 7),
        (jnp.array([True]), [1]),
    ):
        for found in (real_array("y", value), jax_array("y", value)):
            assert found.dtype.kind in "iu" and found.tolist() == wanted


MASKED = np.ma.array(VALUES, mask=[[0, 0], [0, 1]])


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("1", "x: the type is <U1, but real numbers are needed."),
        ([1, "1"], "x: the type is <U21, but real numbers"),
        (np.array(["1"], object), "x: the type is <U1, but real numbers"),
        (b"1", "x: the type is .*, but real numbers"),
        (None, r"x: None at \[\] is no number"),
        ([1.0, None], r"x: None at \[1\] is no number"),
        ([1.0, 0.5j], "x: the type is complex128, but real numbers"),
        (np.array([1.0, 1j], object), "x: the type is complex128, but real numbers"),
        (jnp.array([1j]), "x: the type is complex(64|128), but real numbers"),
        (MASKED, "x: some values are masked, but every one must be a number"),
        ([MASKED, MASKED], "x: some values are masked"),
        ([1.0, np.ma.masked], "x: some values are masked"),
        (np.array([1.0, np.ma.masked], object), "x: some values are masked"),
        ([[1.0], [2.0, 3.0]], "x: this makes no array of numbers, for its parts differ in shape"),
        (np.datetime64("2020-01-01"), r"x: the type is datetime64\[D\], but real numbers"),
        ({}, r"x: \{\} at \[\] is no number"),
    ],
)
def test_what_is_no_number_is_refused(value, sentence):
    with pytest.raises(ValueError, match=sentence):
        real_array("x", value)
    with pytest.raises(ValueError, match=sentence):
        jax_array("x", value)


def test_what_is_traced_stays_traced():
    found = jax.jit(lambda x: jax_array("x", x) + jax_array("x", [x[0], x[1]]))(jnp.ones(2))
    assert found.tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match="x: the type is complex"):
        jax.jit(lambda x: jax_array("x", x))(jnp.array([1j]))


def test_sizes_and_steps_of_numpy_and_jax():
    for value in (3, np.int64(3), np.uint8(3), np.array(3), jnp.asarray(3)):
        found = whole_number("n", value)
        assert type(found) is int and found == 3
    for value in (3.0, np.float64(3), True, np.True_, "3", None, np.array([3]), jnp.asarray(True)):
        with pytest.raises(ValueError, match=r"n is .*, but it must be a whole number"):
            whole_number("n", value)
    for value in (0.5, np.float32(0.5), np.array(0.5), jnp.asarray(0.5), Decimal("0.5")):
        found = real_number(value)
        assert type(found) is float and found == 0.5
    for value in ("0.5", None, True, np.array([0.5]), 0.5j, np.complex64(1), np.ma.masked):
        assert real_number(value) is None


def test_a_model_takes_sizes_as_data_give_them():
    y = np.array([0, 2, 1])
    plain = HSSM(5, 3, 4, [2, 1], 2, step=[0.5, 0.25], key=jax.random.key(0))
    sizes: dict[str, Any] = {
        "inputs": np.int64(5), "outputs": y.max() + 1, "hidden": jnp.asarray(4),
        "state": np.array([2, 1]), "blocks": np.array(2), "complex": np.bool_(True),
        "step": np.array([0.5, 0.25], np.float32), "output_step": np.int32(1),
    }  # fmt: skip
    model = HSSM(**sizes, key=jax.random.key(0))
    assert jax.tree.structure(model) == jax.tree.structure(plain)
    assert type(model.outputs) is int and type(model.states[0]) is int
    for found, wanted in zip(jax.tree.leaves(model), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(found, wanted)
    with pytest.raises(ValueError, match=r"HSSM: hidden is 4\.0, but it must be a whole number"):
        HSSM(5, 3, np.float64(4.0), 2, 1, key=jax.random.key(0))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"HSSM: step is 1\.5, but a step must lie between"):
        HSSM(5, 3, 4, 2, 1, step=np.float32(1.5), key=jax.random.key(0))  # type: ignore[arg-type]


def test_a_model_reads_sequences_of_any_type_in_its_own():
    model = HSSM(5, 3, 2, 1, 1, task="regression", key=jax.random.key(0))
    single = jax.tree.map(lambda a: a.astype(jnp.float32), model)
    x = np.arange(-15, 15).reshape(6, 5) % 7
    wanted = model(x.astype(float))  # type: ignore[arg-type]
    dressed: list[Any] = [x, x.astype(">f8"), x.astype(object).tolist()]
    for own in dressed:
        assert model(own).tolist() == wanted.tolist()
    assert single(x.astype(np.float64)).dtype == jnp.float32  # type: ignore[arg-type]
    targets = np.full((6, 3), 0.75)
    # Whole samples do not make whole numbers of targets.
    np.testing.assert_allclose(loss(model, x, targets), np.mean((wanted - 0.75) ** 2), rtol=1e-12)  # type: ignore[arg-type]
