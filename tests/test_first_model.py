"""The newcomer's example, from data to a bitstream, at its small size."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import echoloom as el

ROOT = Path(__file__).parents[1]


def test_the_small_example_goes_all_the_way(tmp_path):
    command = [sys.executable, "examples/first_model.py", "--small", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    accuracies = re.findall(r"test accuracy in (floats|fixed point): ([\d.]+)%", said)
    assert [name for name, _ in accuracies] == ["floats", "fixed point"]
    assert min(float(value) for _, value in accuracies) >= 90.0
    for level in ("jax", "rtl"):
        assert re.search(rf"{level}: [\d,]+ integers, equal to NumPy's", said)
    assert (tmp_path / "bitstream" / "ulx3s-85f.bit").stat().st_size > 10_000
    program = el.load(tmp_path / "model.echoloom")
    assert program.artifact.mapped.config.lanes == 1
