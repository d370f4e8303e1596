"""Whole sequences' gradients a second and their energy, for fabric.py.

The board: cycles of a forward and an echo sweep of T steps, exact, at the clock that was built
(fabric.json); sweeps back to back, the serial line left out: it is one of 1 Mbaud and the same
gradient would wait for it. Nothing was measured on a board.

The processor: jitted JAX, float32, on all cores that this machine has, the batch size that gives
most. The model and T are the same; numbers are random. A machine that has other work too is not
held against it: a run takes its processor seconds over the number of cores, or the time on the
clock if that is less.

Energy is a bound on each side, in the processor's favour:

- the board draws 2.5 W at most, what a port of USB 2.0 gives (500 mA at 5 V), the regulators'
  losses and everything else on the board included;
- the processor draws PER_CORE_W for each core at least: the thermal design power of the largest
  package of its generation by its data sheet over that package's cores (AMD EPYC 9654: 360 W, 96
  cores). Its memory and the machine around it are left out.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import output
from fabric_cases import LENGTHS, Case

import echoloom as el
from echoloom.ir.passes.image import Mapped

BOARD_W = 2.5
PER_CORE_W = 360 / 96
CORES = os.cpu_count() or 1
BATCHES = (1, 4, 16, 64)
SECONDS = 2.0  # of repetitions at the least, after the compilation


def rows(
    case: Case, model: el.HSSM, mapped: Mapped, routes: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """A row for the board at each built clock, and two for the processor."""
    length = LENGTHS[case.model]
    cycles = mapped.cycles(True, length) + mapped.cycles(False, length)
    own = (case.model, case.lanes, case.drains, case.slots)
    found = []
    for route in routes:
        same = tuple(route[name] for name in ("model", "lanes", "drains", "slots")) == own
        if same and "clock_mhz" in route:
            rate = route["clock_mhz"] * 1e6 / cycles
            what = f"{route['board']} at {route['clock_mhz']:g} MHz, {cycles:,} cycles"
            found.append(_row(case, length, what, rate, "at most", BOARD_W))
    watts = PER_CORE_W * CORES
    narrow = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), model)
    for name, gradient in (
        ("JAX through time", el.bptt_value_and_grad(narrow)),
        ("JAX echo", el.rhel_value_and_grad(narrow)),
    ):
        batch, rate = max(
            ((size, _rate(gradient, narrow, size, length)) for size in BATCHES),
            key=lambda pair: pair[1],
        )
        found.append(_row(case, length, f"{name}, batch {batch}", rate, "at least", watts))
    return found


def _row(
    case: Case, length: int, what: str, rate: float, bound: str, watts: float
) -> dict[str, Any]:
    return {
        "model": case.model,
        "T": length,
        "what": what,
        "gradients a second": round(rate, 1),
        "power": f"{bound} {watts:g} W",
        "energy a gradient": f"{bound} {1e3 * watts / rate:.2f} mJ",
    }


def _rate(gradient: Any, model: el.HSSM, batch: int, length: int) -> float:
    """Sequences a second: the median of repeated runs."""
    draw = np.random.default_rng(0)
    X = jnp.asarray(draw.standard_normal((batch, length, model.inputs)), jnp.float32)
    y = jnp.zeros(batch, jnp.int32)
    run = jax.jit(gradient)
    jax.block_until_ready(run(model, X, y))
    taken: list[float] = []
    while sum(taken) < SECONDS or len(taken) < 3:
        begin, worked = time.perf_counter(), time.process_time()
        jax.block_until_ready(run(model, X, y))
        worked = (time.process_time() - worked) / CORES
        taken.append(min(time.perf_counter() - begin, worked))
    output.progress.print(f"  batch {batch}: {batch / statistics.median(taken):.1f} a second")
    return batch / statistics.median(taken)
