"""`export-onnx`, and `verify` with the level onnx."""

from __future__ import annotations

import onnx
from onnx_graphs import edited
from runner import echoloom, refused

from echoloom.cli.outcome import Exit


def test_all_four_combinations_in_one_command(shelf, tmp_path):
    levels = ("--levels", "onnx", "--forward", 2, "--echo", 1)
    files = (shelf / "program.elp", shelf / "data.npz")
    said = echoloom("verify", *files, *levels, "--json", "--report", tmp_path / "report.json")
    assert said.code == 0, said.err
    assert said.json["levels"]["onnx"]["compared"] > 100
    assert said.json["floats"].keys() == {"float forward", "float gradient"}
    assert max(said.json["floats"].values()) < 1e-5
    shown = echoloom("report", tmp_path / "report.json")
    assert "ONNX float gradient: at most" in shown.out


def test_programs_and_checkpoints_are_exported(shelf, tmp_path):
    out = tmp_path / "m.onnx"
    integer = ("--kind", "integer", "--passes", "gradient", "--json")
    said = echoloom("export-onnx", shelf / "program.elp", "-o", out, *integer).json
    assert said["inputs"] == ["x", "label"] and "gradient/encoder.weight" in said["outputs"]
    assert said["bytes"] == out.stat().st_size
    said = echoloom("export-onnx", shelf / "model.eqx", "-o", out, "--json").json
    assert "probabilities" in said["outputs"]
    wrong = ("-o", tmp_path / "no.onnx", "--kind", "integer")
    sentence = refused(Exit.INPUT, "export-onnx", shelf / "model.eqx", *wrong)
    assert "compile it first" in sentence
    assert not (tmp_path / "no.onnx").exists()


def test_an_edited_weight_ends_with_code_4(shelf, tmp_path):
    out, files = tmp_path / "m.onnx", (shelf / "program.elp", shelf / "data.npz")
    options = ("--levels", "onnx", "--onnx", out, "--forward", 1, "--echo", 1)
    echoloom("export-onnx", shelf / "program.elp", "-o", out, "--kind", "integer")
    assert echoloom("verify", *files, *options).code == 0
    model = onnx.load(out)
    tensor = next(t for t in model.graph.initializer if t.name == "head.weight")
    weight = onnx.numpy_helper.to_array(tensor).copy()
    weight[0, 1] += 1
    onnx.save(edited(model, {"head.weight": weight}), out)
    assert "tensor head.weight[0, 1], bit" in refused(Exit.MISMATCH, "verify", *files, *options)
