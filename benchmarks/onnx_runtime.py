"""Size and speed of exported graphs beside the JAX interpreter: python benchmarks/onnx_runtime.py

The demo's model, or one of the paper's size, one sequence at a time. ONNX Runtime runs on one
thread; JAX's first run, which compiles, does not count. "Loading" is what ONNX Runtime needs to
make a session of the file. Times are the best of three runs, by the wall clock; the last column is
their ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import output

import echoloom as el
from echoloom.backends.onnx.export import KINDS, PASSES, onnx_model
from echoloom.backends.onnx.run import OnnxModel
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.cli.data import load_data
from echoloom.frontend.models.checkpoint import load_model
from echoloom.frontend.models.stack import float64

CHECKPOINT = Path(__file__).parents[1] / "examples" / "basic_motions.eqx"
RUNS = 3


def best_of(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def jax_seconds(program: el.CompiledProgram, kind: str, x: np.ndarray, label: Any) -> float:
    """Of the JAX interpreter for integers, of the model or its echo for real numbers."""
    model = float64(program.model)
    forward = jax.jit(lambda x: model(x))
    runner = JaxRunner(program.artifact)

    def run() -> None:
        if kind == "integer":
            runner.run(x, label)
        elif label is None:
            forward(jnp.asarray(x)).block_until_ready()
        else:
            jax.block_until_ready(el.rhel_gradient(model, jnp.asarray(x), label))

    run()
    return best_of(run)


def main() -> None:
    options = output.arguments(__doc__)
    options.add_argument("--steps", type=int, nargs="+", default=[100, 5000])
    options.add_argument("--paper", action="store_true", help="H = 64, 16 complex oscillators")
    options = options.parse_args()
    jax.config.update("jax_enable_x64", True)
    data = load_data("BasicMotions", normalise=True)
    model = load_model(CHECKPOINT)
    if options.paper:
        model = el.HSSM(model.inputs, model.outputs, 64, 16, 2, key=jax.random.key(0))
    program = el.compile(model, data.X, data.y, lanes=4)
    rows = []
    for kind in KINDS:
        for passes in PASSES:
            exported = onnx_model(program, kind, passes).SerializeToString()
            began = time.perf_counter()
            session = OnnxModel(exported)
            loading = time.perf_counter() - began
            for steps in options.steps:
                output.progress.print(f"{kind} {passes}, {steps} steps")
                x = np.resize(data.X[0], (steps, data.X.shape[2]))
                label = 0 if passes == "gradient" else None
                labels = None if label is None else [label]
                ours = best_of(lambda: session.run(x[None], labels))  # noqa: B023
                theirs = jax_seconds(program, kind, x, label)
                rows.append({
                    "graph": f"{kind} {passes}", "kB": round(len(exported) / 1e3),
                    "loading s": round(loading, 2), "T": steps,
                    "ONNX Runtime ms": round(1e3 * ours, 1), "JAX ms": round(1e3 * theirs, 1),
                    "ratio": round(ours / theirs, 1),
                })  # fmt: skip
    packages = ["numpy", "jax", "onnx", "onnxruntime"]
    output.show("Exported graphs in ONNX Runtime", rows, packages, options.json)


if __name__ == "__main__":
    main()
