"""The published models' size on a real sequence, all levels, in RTL."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el
from echoloom.frontend.models.hssm import with_statistics

FILE = Path(__file__).parents[3] / "shared/data/Heartbeat/Heartbeat.npz"
STEPS, CHANNELS = 405, 61


@pytest.mark.long
@pytest.mark.skipif(not FILE.is_file(), reason="needs the data set in ../shared/data/Heartbeat")
def test_heartbeat_forward_and_echo_in_rtl() -> None:
    with np.load(FILE) as file:
        x, label = file["X_train"][:2] / file["div"], int(file["y_train"][0])
    assert x.shape == (2, STEPS, CHANNELS)
    model = el.HSSM(CHANNELS, 2, 64, 16, 2, key=jax.random.key(0))
    model = with_statistics(model, jnp.asarray(x, model.encoder.weight.dtype))
    program = el.compile(model, x, lanes=16)
    report = el.verify(program, [x[0]], [label], simulator="verilator-cpp")
    assert set(report.levels) == {"jax", "rtl"}
    assert report.overflowed == report.saturated == report.lsb_off == 0
    assert [one.predicted for one in report.cycles.values()] == [
        one.rtl for one in report.cycles.values()
    ]
