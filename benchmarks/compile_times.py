"""How long `el.compile` takes, by the path that it takes and by the one before it:
python benchmarks/compile_times.py

Every case is compiled in processes of its own. "before": ranges and the trials of nudges by NumPy
alone, one class after the other. "cold": from Python's start on, everything imported and compiled.
"warm": again in the same process. "processor": the seconds of all cores, imports and all, of one
compilation, which other work on the machine changes little. All images are compared.
"""

from __future__ import annotations

import os

# Before anything imports JAX.
os.environ.setdefault("JAX_ENABLE_X64", "1")

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from output import arguments, progress, show

import echoloom as el
from echoloom.backends.compile.pipeline import compile
from echoloom.backends.link.image_writes import image_writes
from echoloom.backends.run import by_length
from echoloom.cli.data import load_data
from echoloom.frontend.models.checkpoint import load_model
from echoloom.frontend.models.hssm import with_statistics
from echoloom.ir.passes import calibrate

CHECKPOINT = Path(__file__).parents[1] / "examples" / "basic_motions.eqx"
PAPER = {"hidden": 64, "state": 16, "blocks": 2}


@dataclass(frozen=True, eq=False)
class Case:
    """What is compiled: a model, samples [n, T, inputs], labels [n], and how it is to learn."""

    model: el.HSSM
    X: np.ndarray
    y: np.ndarray
    rule: Any = None


def demo(steps: int | None) -> Case:
    """The demo's model on its 40 training sequences."""
    X, y = _motions()
    return Case(load_model(CHECKPOINT), X[:, :steps], y)


def nonlinear(steps: int | None) -> Case:
    """A nonlinear model of the demo's size, whose nudges are found by trials."""
    X, y = _motions()
    sizes = {"hidden": 16, "state": 8, "blocks": 2, "unit": "nonlinear", "step": 0.05}
    return Case(_fresh(X, 4, **sizes), X[:, :steps], y)


def learning(steps: int | None) -> Case:
    """A model of the demo's size that learns on the board: 300 updates of 8 sequences."""
    X, y = _motions()
    model = _fresh(X, 4, hidden=16, state=8, blocks=2, complex=False)
    return Case(model, X[:, :steps], y, el.SignUpdate(step=2.0**-8, updates=300, batch=8))


def long(steps: int | None) -> Case:
    """The demo's model on two sequences, repeated to T = 49,920."""
    X, y = _motions()
    steps = steps or 49_920
    times = -(-steps // X.shape[1])
    return Case(load_model(CHECKPOINT), np.tile(X[[0, 20]], (1, times, 1))[:, :steps], y[[0, 20]])


def paper(steps: int | None) -> Case:
    """The paper's size on 64 sequences of Heartbeat's shape, of noise."""
    X = np.random.default_rng(0).normal(size=(64, steps or 405, 61))
    return Case(_fresh(X, 2, **PAPER), X, np.arange(64) % 2)


def curved_paper(steps: int | None) -> Case:
    """The same with a nonlinear unit."""
    X = np.random.default_rng(0).normal(size=(64, steps or 405, 61))
    return Case(_fresh(X, 2, **PAPER, unit="nonlinear", step=0.05), X, np.arange(64) % 2)


def _motions() -> tuple[np.ndarray, np.ndarray]:
    data = load_data("BasicMotions", normalise=True)
    assert data.y is not None
    return data.X, data.y


def _fresh(X: np.ndarray, outputs: int, **sizes: Any) -> el.HSSM:
    model = el.HSSM(X.shape[2], outputs, **sizes, key=jax.random.key(0))
    return with_statistics(model, jnp.asarray(X))


CASES: dict[str, Callable[[int | None], Case]] = {
    "demo": demo,
    "long": long,
    "paper": paper,
    "nonlinear": nonlinear,
    "nonlinear, paper": curved_paper,
    "learning": learning,
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["demo", "long", "paper"])
    parser.add_argument("--steps", type=int, help="shorten every sequence")
    parser.add_argument("--one", choices=("before", "now"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(times(options.cases[0], options.steps, options.one == "before")))
        return
    rows = [row(name, options.steps) for name in options.cases]
    show("el.compile, in seconds", rows, ["echoloom", "jax", "numpy"], options.json)


def row(name: str, steps: int | None) -> dict[str, Any]:
    """Both paths of a case, each in a process of its own."""
    found, cold = {}, {}
    for path in ("before", "now"):
        progress.print(f"{name}: {path}")
        command = [sys.executable, __file__, "--one", path, "--cases", name]
        command += [] if steps is None else ["--steps", str(steps)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[path] = json.loads(done.stdout)
        later = found[path]["seconds"][1:]  # of the same process, after the first
        cold[path] = time.perf_counter() - start - sum(later)
    before, now = found["before"], found["now"]
    return {
        "case": name,
        "samples": now["samples"],
        "T": now["steps"],
        "before, cold": f"{cold['before']:.1f}",
        "cold": f"{cold['now']:.1f}",
        "warm": f"{now['seconds'][1]:.1f}",
        "before, processor": f"{before['processor']:.1f}",
        "processor": f"{now['processor']:.1f}",
        "same image": "yes" if len({*before["images"], *now["images"]}) == 1 else "no",
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def times(name: str, steps: int | None, before: bool) -> dict[str, Any]:
    """Seconds of el.compile, now twice, and digests of the images."""
    if before:
        by_length.WORTH, calibrate.MOST = np.inf, 0
    case = CASES[name](steps)
    seconds, images = [], []
    processor = 0.0
    for _ in range(1 if before else 2):
        start = time.perf_counter()
        program = compile(case.model, case.X, case.y, lanes=4, learning=case.rule)
        seconds.append(time.perf_counter() - start)
        processor = processor or time.process_time()
        words = json.dumps(list(map(list, image_writes(program.image))))
        images.append(hashlib.sha256(words.encode()).hexdigest())
    count, length = case.X.shape[:2]
    return {
        "seconds": seconds, "images": images, "samples": count, "steps": length,
        "processor": processor,
    }  # fmt: skip


if __name__ == "__main__":
    main()
