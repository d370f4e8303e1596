"""Benchmarks of hours, in an instance of seconds: what they print and leave behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]


def run(script: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, str(HERE / "benchmarks" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_parity_table(tmp_path):
    """Three gradients, trained for two steps; what is there already is not trained again."""
    results = tmp_path / "results"
    arguments = (
        "--tasks", "BasicMotions", "--units", "linear", "--steps", "2", "--seeds", "0", "1",
        "--results", str(results),
    )  # fmt: skip
    table = run("parity/run.py", *arguments, cwd=tmp_path)
    (line,) = (row for row in table.splitlines() if "BasicMotions" in row)
    assert "±" in line and "sd)" in line and "- |" not in line.split("|")[3:6]
    found = {path.stem: json.loads(path.read_text()) for path in results.iterdir()}
    assert sorted(found) == [
        f"BasicMotions-linear-{gradient}" for gradient in ("bptt", "rhel", "rhel-fixed")
    ]
    for result in found.values():
        assert [seed["steps"] for seed in result["seeds"]] == [2, 2]
    stamps = {path: path.stat().st_mtime_ns for path in results.iterdir()}
    assert run("parity/run.py", *arguments, cwd=tmp_path) == table
    assert stamps == {path: path.stat().st_mtime_ns for path in results.iterdir()}


def test_the_accuracy_of_gradients(tmp_path):
    table = run(
        "gradients.py", "--only", "accuracy", "--model", "linear", "--lengths", "9", cwd=tmp_path
    )
    rows = [row for row in table.splitlines() if row.startswith("| linear")]
    assert len(rows) == 8
    for row in rows:
        float64, float32 = (float(cell) for cell in row.split("|")[5:7])
        assert float64 < 1e-9 and float32 < 1e-3


def test_what_the_fabric_reaches(tmp_path):
    """Cycles counted as predicted, and a routed row that an earlier run left behind."""
    seeds = [{"seed": 1, "fmax_mhz": 99.5, "failure": None, "seconds": 60.4},
             {"seed": 2, "fmax_mhz": None, "failure": "no", "seconds": 9.0}]  # fmt: skip
    routed = {
        "board": "ulx3s-85f", "model": "demo", "lanes": 2, "drains": 1, "slots": 4,
        "usage": {"luts": {"used": 7000, "available": 83640}}, "seeds": seeds,
        "fmax_mhz": 99.5, "median_fmax_mhz": 99.5, "clock_mhz": 89.0625,
        "critical_path": "a to b: 10.05 ns", "commit": "abcdef0",
    }  # fmt: skip
    (tmp_path / "build" / "fabric").mkdir(parents=True)
    (tmp_path / "build" / "fabric" / "fabric.json").write_text(json.dumps([routed]))
    table = run("fabric.py", "--engine", "demo,2,1,4", "--json", "out/found.json", cwd=tmp_path)
    (steps,) = json.loads((tmp_path / "out" / "found_steps.json").read_text())["rows"]
    forward, echo = (float(part) for part in steps["utilisation"].split(" / "))
    assert 0.5 < forward < 1 and 0.5 < echo < 1
    assert steps["counted by"] == "golden" and " / " in steps["counted, T = 6"]
    (line,) = json.loads((tmp_path / "out" / "found_routes.json").read_text())["rows"]
    assert (line["seeds, MHz"], line["best"], line["bar"]) == ("99.5 -", "99.5", 110.0)
    assert (line["built, MHz"], line["luts"], line["s a seed"]) == ("89.0625", 7000, "60, 9")
    assert "a to b: 10.05 ns" in table


def test_compile_times(tmp_path):
    """Both paths to one image."""
    table = run("compile_times.py", "--cases", "demo", "--steps", "9", cwd=tmp_path)
    (line,) = (row for row in table.splitlines() if row.startswith("| demo"))
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[2:4] == ["40", "9"] and cells[9] == "yes"
    assert all(0.0 < float(cell) < 600.0 for cell in cells[4:9])


def test_a_long_stream(tmp_path):
    """Both tasks, on the engine's twin instead of its RTL."""
    arguments = ("--steps", "150", "--simulator", "golden", "--json", str(tmp_path / "rows.json"))
    table = run("streams.py", *arguments, cwd=tmp_path)
    assert "| classification" in table and "| regression" in table
    for row in json.loads((tmp_path / "rows.json").read_text())["rows"]:
        assert row["samples"] == 150 and row["counted"] == row["cycles predicted"] > 0
        assert row["integers equal, rtl"] == row["integers equal, jax"] > 100


def test_learning_by_integers(tmp_path):
    """Two updates beside Adam; what is there already is not learnt again."""
    arguments = (
        "--tasks", "BasicMotions", "--rules", "adam", "sign", "--seeds", "0", "--sequences", "32",
        "--results", str(tmp_path / "results"), "--json", str(tmp_path / "rows.json"),
    )  # fmt: skip
    table = run("learning.py", *arguments, cwd=tmp_path)
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["rule"], row["updates"], row["overflowed"]) for row in rows] == [
        ("adam", 2, 0), ("sign", 2, 0)
    ]  # fmt: skip
    assert "±" in table and rows[1]["update's cycles"].endswith("%)")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()}
    assert len(stamps) == 2 and run("learning.py", *arguments, cwd=tmp_path) == table
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


def test_what_has_no_data_is_left_out(tmp_path):
    """A set that is not on the machine is named in one sentence, and nothing fails."""
    command = [sys.executable, str(HERE / "benchmarks" / "learning.py"), "--data", str(tmp_path)]
    for which in (("--tasks", "SelfRegulationSCP1", "HAPT"), ("--adaptation",)):
        done = subprocess.run([*command, *which], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0 and not done.stdout, done.stderr
        said = " ".join(done.stderr.split())
        assert "left out: " in said and "--data" in said


def test_upsets(tmp_path):
    """Two of each kind of storage, in the golden engine."""
    arguments = ("--model", "one lane", "--count", "34", "--json", str(tmp_path / "rows.json"))
    table = run("upsets.py", *arguments, cwd=tmp_path)
    *rows, everything = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["upsets"] for row in rows] == [2] * 17 and everything["upsets"] == 34
    assert everything["harmful"] > 0 and everything["nowhere"] == 0
    assert "| MAC program" in table and everything["twice"] == "100.000 %"


@pytest.mark.long
def test_upsets_in_the_circuit(tmp_path):
    """What flips stays flipped, what a host may read is summed up, and the twin says the same."""
    kinds = [part for kind in ("weights", "programs", "registers") for part in ("--kind", kind)]
    file = tmp_path / "rows.json"
    run("upset_circuit.py", "--count", "18", *kinds, "--json", str(file), cwd=tmp_path)
    weights, programs, registers = json.loads(file.read_text())["rows"]
    assert weights["golden"] == "6 of 6" and weights["harmful"] + programs["harmful"] > 0
    assert weights["nowhere"] == programs["nowhere"] == 0 and registers["upsets"] == 6
    assert weights["played once"] in ("-", "100.000 %")


@pytest.mark.long
def test_upsets_about_uses_are_those_of_the_golden_engine(tmp_path):
    """A cycle before or after a word is read or written is another verdict."""
    file = tmp_path / "rows.json"
    run("upset_circuit.py", "--near", "--count", "128", "--json", str(file), cwd=tmp_path)
    rows = json.loads(file.read_text())["rows"]
    assert len(rows) == 8 and {row["golden"] for row in rows} == {"16 of 16"}
    assert all(row["harmful"] for row in rows) and not any(row["nowhere"] for row in rows)
