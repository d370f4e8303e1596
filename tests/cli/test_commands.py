"""What the commands give: results in words and in JSON, and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runner import CHANNELS, STEPS, echoloom, write_data

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.targets.boards import BOARDS
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.cli import board_sizes
from echoloom.cli.outcome import Exit
from echoloom.frontend.models.units import NonlinearUnit
from echoloom.frontend.training.train import load_model
from echoloom.sim import level_jax


def test_train_reports_what_it_did(shelf, tmp_path):
    sizes = ("--hidden", 4, "--state", 2, "--blocks", 1, "--epochs", 1)
    said = echoloom("train", shelf / "data.npz", "-o", tmp_path / "m.eqx", *sizes, "--json")
    result = said.json
    assert 0.0 <= result["train_accuracy"] <= 1.0
    assert 0.0 <= result["test_accuracy"] <= 1.0
    X = np.load(shelf / "data.npz")["X"]
    np.testing.assert_allclose(result["normalised"]["mean"], X.mean(axis=(0, 1)))
    np.testing.assert_allclose(result["normalised"]["scale"], X.std(axis=(0, 1)))
    assert "wrote" in said.err
    assert load_model(tmp_path / "m.eqx").inputs == CHANNELS


def test_train_for_regression(tmp_path):
    targets = np.random.default_rng(2).uniform(-0.5, 0.5, (4, STEPS // 5, 2))
    data = write_data(tmp_path / "data.npz", y=targets)
    arguments = ("--output-step", 5, "--hidden", 4, "--state", 2, "--epochs", 1, "--real")
    said = echoloom("train", data, "-o", tmp_path / "m.eqx", *arguments)
    assert said.code == 0
    assert "train squared error: " in said.out
    model = load_model(tmp_path / "m.eqx")
    assert (model.task, model.outputs, model.output_step) == ("regression", 2, 5)


def test_train_takes_what_a_block_is(shelf, tmp_path):
    sizes = ("--hidden", 4, "--state", 2, "--blocks", 1, "--epochs", 1)
    kind = ("--unit", "nonlinear", "--integrator", "imex", "--substeps", 2)
    echoloom("train", shelf / "data.npz", "-o", tmp_path / "m.eqx", *sizes, *kind,
             "--activation", "gelu_tanh")  # fmt: skip
    model = load_model(tmp_path / "m.eqx")
    assert isinstance(model.blocks[0].unit, NonlinearUnit)
    assert (model.integrator, model.substeps, model.activation) == ("imex", 2, "gelu_tanh")


def test_train_from_a_named_data_set(tmp_path):
    pytest.importorskip("aeon")
    sizes = ("--hidden", 4, "--state", 2, "--blocks", 1, "--epochs", 1)
    said = echoloom("train", "BasicMotions", "-o", tmp_path / "m.eqx", *sizes, "--json")
    assert said.json["classes"] == ["badminton", "running", "standing", "walking"]
    assert load_model(tmp_path / "m.eqx").inputs == 6


def test_compile_predicts_and_dumps(shelf, tmp_path):
    arguments = ("--lanes", 2, "-o", tmp_path / "p.elp", "--length", 50)
    said = echoloom("compile", shelf / "model.eqx", shelf / "data.npz", *arguments, "--json")
    result = said.json
    assert result["engine"]["lanes"] == 2
    for name in ("forward", "echo"):
        row = result["cycles"][name]
        assert row["length"] == 50
        assert 50 * row["step_cycles"] < row["cycles"] < 51 * row["step_cycles"] + 1000
        assert row["utilisation"] == row["products"] / (2 * row["step_cycles"])
    assert {row["kind"] for row in result["formats"]} >= {"samples", "coefficients", "outputs"}
    assert {row["function"] for row in result["functions"]} == {"gelu", "gelu_slope", "sigmoid"}
    assert all(0.0 < row["worst_error"] < 1e-3 for row in result["functions"])
    assert {"input channel", "row", "column"} == set(result["rounding"])
    proofs = result["proofs"]
    assert proofs["steps"] == 50 and 0 < proofs["words"] < proofs["of_words"]
    assert 0 < proofs["sums"] <= proofs["of_sums"] and proofs["state"].startswith("b0.")
    assert f"{proofs['words']} of {proofs['of_words']} words and" in said.err
    assert all(0.0 < row["share"] < 1e-2 for row in result["rounding"].values())
    assert "worst rounding" in said.err and result["rounding"]["row"]["what"] in said.err
    assert (shelf / "program.ir").read_text().startswith("program hssm\n")
    assert (tmp_path / "p.elp").read_bytes() == (shelf / "program.elp").read_bytes()


def test_verify_compares_and_reports(shelf, tmp_path):
    report = tmp_path / "report.json"
    arguments = ("--levels", "numpy,jax,rtl", "--simulator", "amaranth", "--report", report)
    counts = ("--forward", 2, "--echo", 1)
    said = echoloom(
        "verify", shelf / "program.elp", shelf / "data.npz", *arguments, *counts, "--json"
    )
    result = said.json
    for level in ("jax", "rtl"):
        found = result["levels"][level]
        assert (found["mismatches"], found["forward"], found["echo"]) == (0, 2, 1)
        assert found["compared"] > 100
    assert result["lsb_off"] == 0
    assert result["cycles"]["echo"]["predicted"] == result["cycles"]["echo"]["rtl"]
    written = json.loads(report.read_text())
    assert written["ok"] is True
    assert written["levels"] == result["levels"]
    shown = echoloom("report", report)
    assert shown.code == 0
    assert "integers compared" in shown.out
    assert "0 LSB from its start" in shown.out


def test_verify_without_a_circuit_says_so(shelf):
    arguments = ("--levels", "rtl", "--simulator", "golden", "--forward", 2, "--echo", 1)
    said = echoloom("verify", shelf / "program.elp", shelf / "data.npz", *arguments)
    assert said.code == 0
    assert "no circuit was simulated" in said.out


def test_mismatch_is_told_and_reported(shelf, tmp_path, monkeypatch):
    """One bit of one output at the JAX level."""
    true = JaxRunner.run

    def wrong(runner, x, label=None, **more):
        result = true(runner, x, label, **more)
        return replace(result, outputs=result.outputs ^ np.asarray([4, 0]))

    monkeypatch.setattr(JaxRunner, "run", wrong)
    monkeypatch.setattr(level_jax, "_locate", lambda *arguments, **more: None)
    report = tmp_path / "report.json"
    arguments = (shelf / "program.elp", shelf / "data.npz", "--levels", "jax", "--report", report)
    said = echoloom("verify", *arguments, "--json")
    assert said.code == Exit.MISMATCH
    assert "jax: first difference at signal outputs[0], bit 2: expected " in said.json["error"]
    written = json.loads(report.read_text())
    assert written["ok"] is False
    assert written["difference"]["bit"] == 2
    assert "levels differ" in echoloom("report", report).out


def test_report_shows_a_program(shelf):
    said = echoloom("report", shelf / "program.elp", "--length", 7, "--json")
    assert said.json["cycles"]["echo"]["length"] == 7
    memory = said.json["memory"]
    by_name = {row["memory"]: row for row in memory["memories"]}
    engine = said.json["engine"]
    weights = by_name["weights"]
    assert (weights["width"], weights["depth"]) == (engine["narrow"], engine["weight_depth"])
    assert weights["copies"] == engine["lanes"]
    used = memory["resources"]["block RAM"]
    assert used["used"] == sum(memory["blocks"].values()) and used["available"] == 208
    assert (memory["chip"], memory["binds"], memory["fits"]) == ("ecp5-85k", "block RAM", True)
    shown = echoloom("report", shelf / "program.elp").out
    assert "utilisation" in shown and "of 208" in shown
    several = echoloom("report", shelf / "program.elp", "--lanes", 1, "--lanes", 4, "--json")
    assert [engine["lanes"] for engine in several.json["engines"]] == [1, 4]
    assert several.json["memory"] == memory


def test_report_by_size():
    said = echoloom("report", "--size", "3,16,4,1,2", "--lanes", 2, "--lanes", 4, "--json")
    engines = said.json["engines"]
    assert [engine["lanes"] for engine in engines] == [2, 4]
    fast, slow = (engine["cycles"]["forward"]["step_cycles"] for engine in reversed(engines))
    assert fast < slow
    assert "utilisation" in said.err and "block RAM of 208" in said.err
    products = [e["memory"]["resources"]["multipliers"]["used"] for e in engines]
    assert products == [2 * (2 + 1), 2 * (4 + 1)]
    gradients = [e["memory"]["blocks"]["gradients"] for e in engines]
    assert gradients[0] > 0
    many = echoloom("report", "--size", "3,16,4,1,2", "--lanes", 64, "--json").json["engines"]
    assert many[0]["memory"]["fits"] is False


def test_doctor_says_what_fits_which_board(monkeypatch):
    monkeypatch.setattr(board_sizes, "ENGINES", (("demo", 4), ("demo", 16)))
    rows = {row["board"]: row for row in echoloom("doctor", "--boards", "--json").json["boards"]}
    assert set(rows) == set(BOARDS)
    large, small = rows["ulx3s-85f"]["programs"], rows["icebreaker"]["programs"]
    assert large["demo, 4 lanes"]["fits"] and large["demo, 4 lanes"]["lacks"] == []
    used = large["demo, 4 lanes"]["usage"]["block RAM"]
    assert large["demo, 4 lanes"]["binds"] == "block RAM" and used["available"] == 208
    assert not small["demo, 16 lanes"]["fits"]
    ram, multipliers = small["demo, 16 lanes"]["lacks"]
    assert ram.startswith(
        f"{small['demo, 16 lanes']['usage']['block RAM']['used']} block RAM of 30"
    )
    assert multipliers == "80 multipliers of 8"
    assert rows["orangecrab-25f"]["host"].startswith("no USB serial chip: ")


def test_doctor(monkeypatch):
    found = echoloom("doctor", "--json")
    assert found.code == 0
    assert {tool["name"] for tool in found.json["tools"]} >= {"verilator", "yosys", "make"}
    nobody = [tools.Finding("yosys", "synthesises", True, None, "install it")]
    monkeypatch.setattr(tools, "doctor", lambda: nobody)
    said = echoloom("doctor", "--json")
    assert said.code == Exit.TOOL
    assert said.json["error"] == "1 required tool is missing: yosys; the table says how to get it"
    monkeypatch.setattr(tools, "doctor", lambda: [replace(nobody[0], required=False)])
    assert echoloom("doctor").code == 0


def test_usage_errors_are_code_2():
    for arguments in (("compile",), ("train", "x", "--no-such-option"), ("nonsense",)):
        said = echoloom(*arguments)
        assert (said.code, said.out) == (2, "")


def test_every_command_explains_itself():
    assert "Exit codes: 0 done" in echoloom("--help").out
    for name in ("train", "import-rhel", "compile", "verify", "build", "report", "doctor"):
        said = echoloom(name, "--help")
        assert said.code == 0
        assert "--json" in said.out


def test_the_installed_script(shelf, tmp_path):
    """As users run it: one process, stdout pure JSON, no traceback for a user's mistake."""
    script = Path(sys.executable).with_name("echoloom")
    environment = {**os.environ, "JAX_ENABLE_X64": "0"}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(word) for word in (script, *arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )

    done = run("report", shelf / "program.elp", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True
    done = run("verify", "none.elp", shelf / "data.npz")
    assert (done.returncode, done.stdout) == (Exit.INPUT, "")
    assert done.stderr == "echoloom verify: none.elp: No such file or directory\n"
    assert list(tmp_path.iterdir()) == []
