"""Published checkpoints: the same function, the same gradients, or a refusal."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_files import (
    HIDDEN,
    INPUTS,
    published_file,
    published_output,
)

import echoloom as el
from echoloom.frontend.models.checkpoint import load_model, save_model
from echoloom.frontend.models.hssm import HSSM


def sequence(steps: int = 12) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((steps, INPUTS))


def output(model: HSSM, x: np.ndarray) -> np.ndarray:
    """Probabilities or predictions."""
    y = model(jnp.asarray(x, model.encoder.weight.dtype))
    return np.asarray(jax.nn.softmax(y) if model.task == "classification" else y)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"complex": False},
        {"classification": False, "output_step": 3},
        {"output_step": 7},
        {"epsilon": None},
    ],
    ids=str,
)
def test_a_linear_model_is_the_published_function(tmp_path, arguments):
    file = published_file(**arguments)
    model = el.import_rhel(*file.write(tmp_path))
    assert model.complex == arguments.get("complex", True)
    np.testing.assert_allclose(
        output(model, sequence()), published_output(file, sequence()), rtol=0, atol=1e-14
    )


def test_a_nonlinear_model_comes_closer_with_its_step(tmp_path):
    """On few steps p is of order h and q of h^2; the force moves by h p, so p by h^3, q by h^4."""

    def difference(step: float) -> float:
        file = published_file("NonlinHRU", step=step)
        model = el.import_rhel(*file.write(tmp_path))
        return np.abs(output(model, sequence()) - published_output(file, sequence())).max()

    small, large = difference(0.01), difference(0.02)
    assert 1e-10 < small < 1e-9
    assert 15.0 < large / small < 17.0
    assert difference(1e-4) < 1e-15


@pytest.mark.parametrize("model", ["LinHRU", "NonlinHRU"])
def test_our_own_checkpoint_keeps_an_imported_model(tmp_path, model):
    found = el.import_rhel(*published_file(model).write(tmp_path))
    save_model(tmp_path / "own.eqx", found)
    again = load_model(tmp_path / "own.eqx")
    assert jax.tree.structure(again) == jax.tree.structure(found)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("arrangement", ["fortran", "big-endian", "float64"])
def test_arrays_may_lie_otherwise(tmp_path, arrangement):
    file = published_file()
    wanted = output(el.import_rhel(*file.write(tmp_path)), sequence())
    change = {
        "fortran": lambda a: np.asarray(a, order="F"),
        "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
        "float64": lambda a: a.astype(np.float64) if a.dtype == np.float32 else a,
    }[arrangement]
    file.arrays = {name: change(array) for name, array in file.arrays.items()}
    np.testing.assert_array_equal(output(el.import_rhel(*file.write(tmp_path)), sequence()), wanted)


@pytest.mark.parametrize("arguments", [{}, {"complex": False}, {"model": "NonlinHRU"}], ids=str)
def test_published_names_lead_back_to_the_file(tmp_path, arguments):
    """A model is a tree like its own gradient: its parameters must come back as they were."""
    file = published_file(**arguments)
    found = el.published_gradients(el.import_rhel(*file.write(tmp_path)))
    for name, array in found.items():
        stored = file.arrays[name]
        if arguments.get("complex") is False and name.endswith((".ssm.B", ".ssm.C")):
            stored = stored * [1.0, 0.0]
        np.testing.assert_array_equal(array, stored)
    parameters = {name for name, array in file.arrays.items() if array.dtype == np.float32}
    assert found.keys() == {name for name in parameters if ".norm." not in name}


def test_own_units_have_no_published_names(make_model, custom_units):
    model = make_model(unit=custom_units["saturating"])
    with pytest.raises(ValueError, match=r"^blocks\[0\].unit is a CustomUnit, but published "):
        el.published_gradients(model)


def test_a_file_may_end_nowhere_else(tmp_path):
    file = published_file()
    checkpoint, configuration = file.write(tmp_path)
    whole = checkpoint.read_bytes()
    ends = {0} | {file.end_of(name) for name in file.arrays}
    for size in range(0, len(whole), 7):
        checkpoint.write_bytes(whole[:size])
        sentence = "ends after" if size in ends else f"is cut off at byte {size}, inside array "
        with pytest.raises(ValueError, match=f"^{re.escape(str(checkpoint))}: the file {sentence}"):
            el.import_rhel(checkpoint, configuration)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damage_is_refused_or_stays_a_number(tmp_path_factory, data):
    """Any byte of any value: a sentence, or a model of finite numbers; nothing else is raised."""
    folder = tmp_path_factory.mktemp("damage")
    checkpoint, configuration = published_file().write(folder)
    content = bytearray(checkpoint.read_bytes())
    # Headers are where parsers break, so half of the damage goes to the first few.
    last = data.draw(st.sampled_from([600, len(content) - 1]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    checkpoint.write_bytes(content)
    found: HSSM | str
    try:
        found = el.import_rhel(checkpoint, configuration)
    except ValueError as error:
        found = str(error)
    if isinstance(found, str):
        assert found.startswith(f"{checkpoint}: ") and "\n" not in found
    else:
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            header("(1000000000, 1000000000)"),
            "array 0 (linear_encoder.weight) is float32 [1000000000, 1000000000], but the LinHRU "
            f"in CONFIGURATION needs float32 or float64 [{HIDDEN}, {INPUTS}].",
        ),
        (
            header(f"({HIDDEN}, {INPUTS})", "'|O'") + b"\x80\x04N.",
            "array 0 (linear_encoder.weight) is object [4, 2], but the LinHRU in CONFIGURATION "
            "needs float32 or float64 [4, 2].",
        ),
        (
            header("(" * 400) + bytes(2000),
            "at byte 0, where array 0 (linear_encoder.weight) should begin, there is no array in "
            "NumPy's .npy format.",
        ),
        (
            b"PK\x03\x04" + bytes(2000),
            "at byte 0, where array 0 (linear_encoder.weight) should begin, there is no array in "
            "NumPy's .npy format.",
        ),
        (b"", "the file ends after 0 arrays, before linear_encoder.weight."),
    ],
    ids=["huge", "object", "nested", "zip", "empty"],
)
def test_hostile_files_are_refused(tmp_path, content, sentence):
    checkpoint, configuration = published_file().write(tmp_path)
    checkpoint.write_bytes(content)
    with pytest.raises(ValueError) as refusal:
        el.import_rhel(checkpoint, configuration)
    expected = sentence.replace("CONFIGURATION", str(configuration))
    assert str(refusal.value) == f"{checkpoint}: {expected}"


def test_a_huge_model_of_a_small_file_is_refused_unread(tmp_path):
    file = published_file()
    file.configuration |= {"hidden_dim": 10**9, "data_dim": 10**9, "num_blocks": 10**15}
    checkpoint, configuration = file.write(tmp_path)
    checkpoint.write_bytes(header("(1000000000, 1000000000)") + bytes(64))
    with pytest.raises(ValueError, match="the file is cut off at byte 192, inside array 0 "):
        el.import_rhel(checkpoint, configuration)
