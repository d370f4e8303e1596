"""The example of a board that learns, at its small size."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import echoloom as el

ROOT = Path(__file__).parents[1]


@pytest.mark.slow  # builds a circuit
def test_the_small_example_learns(tmp_path: Path):
    command = [
        sys.executable,
        "examples/learn_on_board.py",
        "--small",
        "--directory",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert re.findall(r"epoch (\d+): loss", said) == ["1", "2", "3", "4", "5", "6"]
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+),", said)]
    assert losses[-1] < losses[0]
    right = [float(share) for share in re.findall(r"accuracy on the board ([\d.]+)%", said)]
    assert right[-1] >= 90.0
    assert said.count("0 overflows") == 6
    assert said.endswith("every weight word is what JAX computes")
    assert el.load_model(tmp_path / "trained.eqx").hidden == 4
