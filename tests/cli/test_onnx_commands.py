"""`export-onnx`, and `verify` with the level onnx."""

from __future__ import annotations

import numpy as np
import onnx
from onnx_graphs import edited
from runner import echoloom, refused

import echoloom as el
from echoloom.cli.outcome import Exit
from echoloom.frontend.models.checkpoint import load_model
from echoloom.ir.widths import Widths


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


def test_the_qonnx_view_of_a_narrow_program(shelf, tmp_path):
    out, narrow = tmp_path / "m.onnx", tmp_path / "narrow.elp"
    said = refused(Exit.INPUT, "export-onnx", shelf / "program.elp", "-o", out, "--kind", "qonnx")
    assert "forward_step: x : Q(" in said and "can take 28 bits, but QONNX computes" in said
    assert not out.exists()
    with np.load(shelf / "data.npz") as data:
        X, y = data["X"] / 5.0, data["y"]
    widths = Widths(word=12, narrow=9, accumulator=48)
    el.compile(load_model(shelf / "model.eqx"), X, y, lanes=2, widths=widths).save(narrow)
    told = echoloom("export-onnx", narrow, "-o", out, "--kind", "qonnx", "--json").json
    assert told["inputs"] == ["x", "state/b0.free.q", "state/b0.free.p"]
    assert told["outputs"] == ["term/pool", "next/b0.free.q", "next/b0.free.p"]
    told = echoloom(
        "export-onnx", narrow, "-o", out, "--kind", "qonnx", "--steps", 3, "--json"
    ).json
    assert told["inputs"] == ["x"] and told["outputs"][0] == "outputs"
    wrong = ("--kind", "float", "--steps", 3)
    assert "takes any length" in refused(Exit.INPUT, "export-onnx", narrow, "-o", out, *wrong)


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
