"""Designs through the tools of the families that are extras, where those are installed."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_bitstream import Echo

import echoloom as el
from echoloom.backends.bitstream.aim import Aim
from echoloom.backends.bitstream.route import build, to_bitstream
from echoloom.backends.bitstream.targets.boards import find_board
from echoloom.backends.bitstream.tools import ToolMissing
from echoloom.frontend.models.hssm import with_statistics
from echoloom.ir.widths import Widths


def tools_or_skip(board: str) -> None:
    try:
        find_board(board).toolchain()
    except ToolMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.slow
@pytest.mark.parametrize("board", ["icebreaker", "ice40-hx8k-evn", "tang-nano-20k"])
def test_small_design_through_the_real_tools(board: str, tmp_path: Path) -> None:
    tools_or_skip(board)
    target = find_board(board)
    clock = target.clock_below(30.0)
    assert clock is not None
    report = build(lambda mhz: Echo(mhz, target), target, tmp_path, Aim(clock))
    assert report.clock_mhz == clock < report.fmax_mhz
    assert report.bitstream.stat().st_size > 10_000
    assert report.usage["luts"].used > 20


@pytest.mark.place_and_route
def test_an_engine_for_the_smallest_chip(tmp_path: Path) -> None:
    """One lane, with words of 9 bits, fills most of an iCE40 HX8K."""
    tools_or_skip("ice40-hx8k-evn")
    model = el.HSSM(2, 2, 2, 1, 1, key=jax.random.key(5))
    x = np.random.default_rng(0).standard_normal((2, 16, 2))
    model = with_statistics(model, jnp.asarray(x, model.encoder.weight.dtype))
    widths = Widths(word=9, narrow=8, accumulator=20, segment_bits=5)
    program = el.compile(model, x, lanes=1, drains=1, slots=1, widths=widths)
    mapped = program.artifact.mapped
    report = to_bitstream(mapped.config, mapped.timing, "ice40-hx8k-evn", tmp_path)
    assert 16.0 <= report.clock_mhz <= 0.9 * report.fmax_mhz
