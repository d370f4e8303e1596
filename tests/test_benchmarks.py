"""Benchmarks of hours, in an instance of seconds: what they print and leave behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
