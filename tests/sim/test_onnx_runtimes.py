"""Exported graphs in a second runtime, of no sequences, and with labels that are no class."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import numpy as np
import onnx
import pytest
from onnx_graphs import reference
from small_models import samples, target_of, tiny

import echoloom as el
from echoloom.backends.onnx.export import KINDS, PASSES, onnx_model
from echoloom.backends.onnx.run import OnnxModel, integer_result
from echoloom.backends.run.integers import InputRange

STEPS = 6
CASES = ("classification", "regression", "nonlinear")
Arrays = dict[str, np.ndarray]


@lru_cache(maxsize=1)
def nonlinear() -> tuple[el.CompiledProgram, np.ndarray]:
    """Tables, two substeps and the other integrator, and a regression at every third step."""
    model = el.HSSM(
        3, 2, 4, 2, 1, unit="nonlinear", complex=False, task="regression", output_step=3,
        substeps=2, integrator="imex", step=0.1, key=jax.random.key(0),
    )  # fmt: skip
    x = samples(model, 3, STEPS)
    return el.compile(model, x, lanes=2), x


def program_of(case: Any) -> tuple[el.CompiledProgram, np.ndarray]:
    return nonlinear() if case == "nonlinear" else tiny(case)


@lru_cache(maxsize=12)
def exported(case: str, kind: Any, passes: Any) -> tuple[onnx.ModelProto, OnnxModel]:
    model = onnx_model(program_of(case)[0], kind, passes)
    return model, OnnxModel(model)


def feeds(case: str, kind: str, passes: str, count: int) -> Arrays:
    """`count` sequences as a graph's inputs."""
    program, x = program_of(case)
    found: Arrays = {"x": x[:count]}
    if passes == "gradient":
        labels = [target_of(program.model, STEPS, seed) for seed in range(len(x))]
        name = "label" if program.model.task == "classification" else "target"
        found[name] = np.stack(labels)[:count]
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passes", PASSES)
def test_a_second_runtime_gives_the_same(case: str, kind: str, passes: str) -> None:
    model, first = exported(case, kind, passes)
    fed = feeds(case, kind, passes, 3)
    ours, theirs = first.run(*fed.values()), reference(model, fed)
    assert ours.keys() == theirs.keys()
    largest = max(float(np.abs(value).max()) for value in ours.values())
    for name, value in ours.items():
        assert theirs[name].dtype == value.dtype
        if kind == "integer":
            np.testing.assert_array_equal(theirs[name], value, name)
        else:  # functions and sums may differ in their last bits
            np.testing.assert_allclose(theirs[name], value, 1e-9, 1e-12 * largest, err_msg=name)


@pytest.mark.parametrize("case", CASES[:2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passes", PASSES)
def test_no_sequences_give_no_numbers(case: str, kind: str, passes: str) -> None:
    model, first = exported(case, kind, passes)
    some, none = feeds(case, kind, passes, 1), feeds(case, kind, passes, 0)
    wanted = {name: (0, *value.shape[1:]) for name, value in first.run(*some.values()).items()}
    for found in (first.run(*none.values()), reference(model, none)):
        assert {name: value.shape for name, value in found.items()} == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_scans_are_of_the_plainest_kind(kind: str) -> None:
    """Axis 0, first row first, is what every runtime has."""
    model, _ = exported("classification", kind, "gradient")
    scans = [node for node in model.graph.node if node.op_type == "Scan"]
    assert len(scans) == 2
    for node in scans:
        assert {attribute.name for attribute in node.attribute} == {"body", "num_scan_inputs"}


# Labels

NO_CLASS = [2, -1, 2**40]


def test_a_label_that_is_no_class_raises_the_flag_of_its_sequence() -> None:
    program, x = tiny()
    model, first = exported("classification", "integer", "gradient")
    labels = np.array([1, *NO_CLASS, 0])
    x = x[[0, 1, 2, 0, 1]]
    for found in (first.run(x, labels), reference(model, {"x": x, "label": labels})):
        assert (found["echo_flags"] & 8).tolist() == [0, 8, 8, 8, 0]
        assert not (found["forward_flags"] & 8).any()  # which knows no labels
        for index in (0, 4):
            own = {name: value[index : index + 1] for name, value in found.items()}
            wanted = program.run(x[index], int(labels[index])).named()
            for name, words in integer_result(program.ir, own).named().items():
                np.testing.assert_array_equal(words, wanted[name], name)
        own = {name: value[1:2] for name, value in found.items()}
        with pytest.raises(InputRange, match="a label is none of the classes"):
            integer_result(program.ir, own)


def test_a_graph_without_flags_has_no_gradient_for_a_label_that_is_no_class() -> None:
    _, x = tiny()
    _, first = exported("classification", "float", "gradient")
    found = first.run(x[[0, 1, 2, 0, 1]], np.array([1, *NO_CLASS, 0]))
    assert np.isfinite(found["outputs"]).all()
    for name, value in found.items():
        if name.startswith("gradient/"):
            bad = np.isnan(value).all(axis=tuple(range(1, value.ndim)))
            assert bad.tolist() == [False, True, True, True, False], name
            assert np.isfinite(value[[0, 4]]).all()


@pytest.mark.parametrize("dtype", ["u1", "i4", ">i4", "u8", "i8"])
def test_whole_numbers_of_any_type_are_labels(dtype: str) -> None:
    _, x = tiny()
    _, first = exported("classification", "integer", "gradient")
    wanted, found = first.run(x, [0, 1, 1]), first.run(x, np.array([0, 1, 1], dtype))
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, name)


def test_labels_beyond_int64_are_flagged_and_other_types_refused() -> None:
    _, x = tiny()
    _, first = exported("classification", "integer", "gradient")
    huge = np.array([2**64 - 1, 2**63, 2**63 + 1], np.uint64)
    assert (first.run(x, huge)["echo_flags"] & 8 == 8).all()
    for labels in (np.array([0.0, 1.0, 1.7]), np.array([True, False, True])):
        with pytest.raises(ValueError, match=f"the type is {labels.dtype}, but whole numbers"):
            first.run(x, labels)
