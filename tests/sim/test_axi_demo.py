"""The demo's model, exported with its program, by the ports of the AXI top, with random stalls."""

from __future__ import annotations

from pathlib import Path

import basic_motions
import numpy as np
import pytest
from axi_runs import run, run_axi
from test_axi import check, passes_of

import echoloom as el


@pytest.mark.long
def test_forward_and_echo_of_the_demos_model(tmp_path: Path) -> None:
    X, y, X_test, _ = basic_motions.load()
    model = el.load_model(basic_motions.CHECKPOINT)
    program = el.compile(model, X, y, target="ecp5-85k", lanes=4)
    x = X_test[0].astype(np.float64)
    label = int(np.argmin(program.predict(x)))
    folder = tmp_path / "export"
    el.export_verilog(program, folder, interface="axi", length=len(x))
    run("build", folder, folder)
    asked = passes_of(program, x, label)
    for seed in (None, 1):
        found = run_axi(folder, tmp_path / f"job{seed}", asked, stall_seed=seed)
        check(program, x, label, found)
        assert (sum(one.stalls for one in found) > 0) == (seed is not None)
