"""The four exported graphs in ONNX Runtime against NumPy and JAX, and sabotaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from hamiltonians import GALLERY
from onnx_graphs import edited, graphs
from small_models import samples, target_of, tiny

import echoloom as el
from echoloom.backends.bitstream.tools import ToolMissing
from echoloom.backends.onnx import export as export_onnx
from echoloom.backends.onnx.export import KINDS, PASSES, onnx_model
from echoloom.backends.onnx.run import OnnxModel, integer_result
from echoloom.backends.onnx.trace import traced
from echoloom.backends.run.integers import InputRange
from echoloom.sim.level import Case
from echoloom.sim.level_onnx import Export, runs


def verify(program: el.CompiledProgram, x: Any, labels: Any, **options: Any) -> el.VerifyReport:
    return el.verify(program, x, labels, levels=("onnx",), **options)


@pytest.mark.core
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_all_four_graphs_agree(task: Any) -> None:
    program, x = tiny(task)
    labels = [target_of(program.model, 6), None, target_of(program.model, 6, 1)]
    report = verify(program, x, labels)
    level = report.levels["onnx"]
    assert (level.forward, level.echo, level.mismatches) == (3, 2, 0)
    assert level.compared > 1000
    assert report.floats.keys() == {"float forward", "float gradient"}
    assert max(report.floats.values()) < 1e-10


@pytest.mark.parametrize("steps", [1, 100, pytest.param(5000, marks=pytest.mark.long)])
def test_lengths(steps: int) -> None:
    program, _ = tiny()
    x = np.clip(samples(program.model, 2, steps, 3), -2.0, 2.0)
    report = verify(program, x, [1, 0])
    assert report.levels["onnx"].mismatches == 0
    assert max(report.floats.values()) < 1e-9


def test_curved_units_and_blocks_that_differ() -> None:
    model = el.HSSM(2, 3, 4, 3, 2, unit="nonlinear", complex=False, step=0.1, key=jax.random.key(0))
    x = samples(model, 3, 12)
    report = verify(el.compile(model, x, lanes=2), x, [2, None, 0])
    assert report.levels["onnx"].compared > 1000
    assert report.floats["float forward"] < 1e-12
    assert report.floats["float gradient"] < 1e-6


def test_overflow_and_saturation_are_flagged_alike() -> None:
    program, x = tiny()
    wild = 6.0 * np.sign(x)
    report = el.verify(program, wild, [1, None, 0], levels=("onnx",))
    assert report.overflowed >= 1 and report.saturated == 3
    found = OnnxModel(onnx_model(program, "integer", "gradient")).run(wild[:1], [1])
    assert integer_result(program.ir, found).overflow


def test_a_sample_out_of_range_is_not_silent() -> None:
    program, x = tiny()
    wild = x[:2].copy()
    wild[1, 3, 0] = 1e9
    found = OnnxModel(onnx_model(program, "integer", "forward")).run(wild)
    assert found["forward_flags"][0] & 8 == 0 < found["forward_flags"][1] & 8
    with pytest.raises(InputRange, match="outside the range"):
        integer_result(program.ir, {name: value[1:] for name, value in found.items()})


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_gradients_of_the_integer_graph_are_the_hosts(task: Any) -> None:
    program, x = tiny(task)
    label = target_of(program.model, 6)
    found = OnnxModel(onnx_model(program, "integer", "gradient")).run(x[:1], [label])
    wanted = program.coefficient_gradients(program.run(x[0], label), 6)
    names = {name.removeprefix("gradient/") for name in found if name.startswith("gradient/")}
    assert names == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[f"gradient/{name}"][0], np.atleast_1d(value))


# The files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passes", PASSES)
def test_files_are_checked_complete_and_documented(kind: Any, passes: Any, tmp_path: Path) -> None:
    program, _ = tiny()
    path = tmp_path / "m.onnx"
    el.export_onnx(program, path, kind, passes)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {o.domain for o in model.opset_import} == {""}
    properties = {p.key: p.value for p in model.metadata_props}
    assert properties["echoloom.kind"] == kind and len(properties["echoloom.sha256"]) == 64
    for graph in graphs(model.graph):
        known = {v.name: v.type.tensor_type for v in [*graph.value_info, *graph.output]}
        for node in graph.node:
            assert node.name and not node.domain
            for output in node.output:
                dims = known[output].shape.dim
                assert all(d.HasField("dim_value") or d.dim_param for d in dims), output
    for value in [*model.graph.input, *model.graph.output]:
        assert value.doc_string


@pytest.mark.parametrize("kind", KINDS)
def test_the_echo_keeps_nothing_of_the_steps(kind: Any) -> None:
    """What a Scan gives out beside its carried state would grow with T."""
    program, _ = tiny()
    scans = [n for n in onnx_model(program, kind, "gradient").graph.node if n.op_type == "Scan"]
    assert [n.name for n in scans] == ["forward_step", "echo_step"]
    for node in scans:
        streamed = next(a.i for a in node.attribute if a.name == "num_scan_inputs")
        assert len(node.output) == len(node.input) - streamed


def test_one_weight_edited_in_the_file_is_named(tmp_path: Path) -> None:
    program, x = tiny()
    for kind, expected in (("integer", "bit 2: expected"), ("float", "expected -?[0-9.]+, found")):
        el.export_onnx(program, tmp_path / "m.onnx", kind, "gradient")  # type: ignore[arg-type]
        assert verify(program, x, [1, 0, 1], onnx=tmp_path / "m.onnx").levels["onnx"].compared
        model = onnx.load(tmp_path / "m.onnx")
        tensor = next(t for t in model.graph.initializer if t.name == "b1.unit.drive")
        weight = onnx.numpy_helper.to_array(tensor).copy()
        weight[1, 2] = int(weight[1, 2]) ^ 4 if kind == "integer" else weight[1, 2] * 1.0001
        onnx.save(edited(model, {"b1.unit.drive": weight}), tmp_path / "other.onnx")
        with pytest.raises(el.Mismatch, match=rf"tensor b1\.unit\.drive\[1, 2\].*{expected}"):
            verify(program, x, [1, 0, 1], onnx=tmp_path / "other.onnx")


def test_an_edited_graph_is_found_at_its_first_wrong_signal() -> None:
    program, x = tiny()
    model = onnx_model(program, "integer", "gradient")
    body = next(
        a.g
        for n in model.graph.node
        if n.name == "echo_step"
        for a in n.attribute
        if a.name == "body"
    )
    node = next(n for n in body.node if n.name == "echo_step/b0.minus.nudged.exact")
    assert node.op_type == "Sub"
    node.op_type = "Add"
    case = Case(x[0], 1, program.run(x[0], 1))
    (run,) = runs(program, Export("integer", "gradient", model), [case])
    assert any(not np.array_equal(run.expected[name], run.actual[name]) for name in run.expected)
    difference = run.locate()
    assert difference is not None
    assert (difference.step, difference.block) == (0, "b0")
    assert difference.signal == "minus.nudged.exact (echo_step)"


def test_almost_every_value_can_be_traced() -> None:
    program, _ = tiny()
    _, signals = traced(onnx_model(program, "integer", "gradient"), program.ir)
    assert len(signals) > 0.9 * sum(len(body.instrs) for body in program.ir.bodies)


# What is refused


def test_kinds_and_passes_and_models_without_formats(tmp_path: Path) -> None:
    program, _ = tiny()
    path = tmp_path / "m.onnx"
    refusals: list[tuple[tuple[Any, ...], str]] = [
        ((program, path, "real"), "kind is 'real', but it must be float, integer or qonnx"),
        ((program, path, "float", "echo"), "passes is 'echo', but it must be forward or gradient"),
        ((program.model, path, "integer"), "needs a compiled program"),
    ]
    for arguments, sentence in refusals:
        with pytest.raises(ValueError, match=sentence):
            el.export_onnx(*arguments)
    assert not path.exists()


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, _ = tiny()
    monkeypatch.setattr(export_onnx.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissing, match=r"package onnx; install .* 'echoloom\[onnx\]'"):
        el.export_onnx(program, tmp_path / "m.onnx")


def test_a_file_that_is_no_export(tmp_path: Path) -> None:
    program, x = tiny()
    (tmp_path / "m.onnx").write_bytes(b"no protobuf at all")
    with pytest.raises(ValueError, match=r"not an ONNX file|not a graph that Echoloom exported"):
        verify(program, x, None, onnx=tmp_path / "m.onnx")


def test_a_model_that_is_not_compiled() -> None:
    program, x = tiny("regression")
    targets = target_of(program.model, 6)
    found = OnnxModel(onnx_model(program.model, "float", "gradient")).run(x[:1], [targets])
    wanted = np.asarray(program.model(jnp.asarray(x[0])))
    np.testing.assert_allclose(found["outputs"][0], wanted, rtol=1e-12)


def test_chaos_is_told_from_a_fault() -> None:
    """Eight thousand steps of coupled rotors turn float64's last bit into other numbers."""
    unit = GALLERY["rotors"](6, jax.random.key(1))
    model = el.HSSM(3, 3, 6, 5, 1, unit=unit, step=0.2, key=jax.random.key(0))
    x = np.clip(samples(model, 1, 8000), -2.0, 2.0)
    program = el.compile(model, x[:, :40], lanes=4)
    own = onnx_model(program, "float", "forward")
    case = Case(x[0], None, program.run(x[0, :1]))
    with pytest.raises(el.Mismatch, match="over 8000 steps this model is chaotic"):
        list(runs(program, Export("float", "forward", own), [case]))
    short = Case(x[0, :50], None, program.run(x[0, :1]))
    weight = onnx.numpy_helper.to_array(own.graph.initializer[0])
    other = edited(own, {own.graph.initializer[0].name: weight * 1.01})
    with pytest.raises(el.Mismatch, match=r"1e-05, found [-.e0-9]+ off\.$"):
        list(runs(program, Export("float", "forward", other), [short]))
