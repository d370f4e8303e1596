"""How fast the fabric's gradients come in software, and what training by them leads to.

    .venv/bin/python benchmarks/fixed_training.py
    .venv/bin/python benchmarks/fixed_training.py --steps 200 --unit nonlinear

The first prints one gradient of a batch at once and sequence by sequence. The second trains a
BasicMotions model (hidden 16, 8 complex oscillators or 8 nonlinear ones, 2 blocks) by integers and
by backpropagation in floats, with the same batches.
"""

from __future__ import annotations

import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from output import arguments, progress, show

import echoloom as el
from echoloom.backends.run.run_jax import JaxRunner
from echoloom.cli.data import load_data
from echoloom.frontend.gradients.loss import loss
from echoloom.frontend.models.hssm import with_statistics

PACKAGES = ("jax", "numpy")


def clocked(run: Any, repeats: int = 3) -> tuple[float, float]:
    """Seconds of the first run, and of the fastest of the others."""
    times = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times[0], min(times[1:])


def speed(unit: str) -> list[dict[str, Any]]:
    rows = []
    for steps, batch in ((100, 10), (896, 16)):
        x = np.random.default_rng(0).normal(size=(batch, steps, 6))
        y = np.arange(batch) % 4
        program = el.compile(_model(unit, x), x, lanes=4)
        runner = JaxRunner(program.artifact)
        first, again = clocked(lambda r=runner, x=x, y=y: r.run(x, y))
        _, single = clocked(lambda r=runner, x=x: r.run(x[0], 0))
        rows.append(
            {
                "unit": unit,
                "T": steps,
                "batch": batch,
                "compiling s": f"{first:.1f}",
                "batch at once ms": f"{1e3 * again:.0f}",
                "one by one ms": f"{1e3 * batch * single:.0f}",
            }
        )
    return rows


def _model(unit: str, x: np.ndarray) -> el.HSSM:
    step = None if unit == "linear" else 0.1
    model = el.HSSM(6, 4, hidden=16, state=8, blocks=2, unit=unit, step=step, key=jax.random.key(0))
    return with_statistics(model, jnp.asarray(x, model.encoder.weight.dtype))


def training(unit: str, steps: int, margin: int, weight_margin: int) -> list[dict[str, Any]]:
    data = load_data("BasicMotions", normalise=True)
    X, y = np.asarray(data.X, np.float32), np.asarray(data.y)
    start = _model(unit, X)
    fixed = el.FixedGradient(start, X, y, margin=margin, weight_margin=weight_margin)

    @jax.jit
    def exact(model: el.HSSM, x: Any, label: Any) -> Any:
        own, rest = eqx.partition(model, eqx.is_inexact_array)
        return jax.value_and_grad(
            lambda p: jnp.mean(jax.vmap(lambda a, b: loss(eqx.combine(p, rest), a, b))(x, label))
        )(own)

    rows = []
    for name in ("integers", "floats"):
        gradient: Any
        model, optimizer, order = start, optax.adam(3e-3), np.random.default_rng(0)
        state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
        overflows, again, values, began = 0, 0, [], time.perf_counter()
        picks = np.concatenate([order.permutation(len(X)) for _ in range(-(-steps * 10 // len(X)))])
        for pick in picks[: steps * 10].reshape(steps, 10):
            if name == "integers":
                found = fixed(model, X[pick], y[pick])
                value, gradient = found.value, found.gradient
                overflows += found.overflows
                again += len(found.notes)
                for note in found.notes:
                    progress.print(f"batch {len(values)}: {note}")
            else:
                value, gradient = exact(model, X[pick], y[pick])
            changes, state = optimizer.update(gradient, state)
            model = eqx.apply_updates(model, changes)
            values.append(float(value))
        logits = np.asarray(jax.vmap(model)(jnp.asarray(data.X_test, jnp.float32)))
        rows.append(
            {
                "unit": unit,
                "gradients": name,
                "batches": steps,
                "mean loss of the last 10": f"{np.mean(values[-10:]):.6f}",
                "test accuracy": f"{np.mean(logits.argmax(1) == data.y_test):.3f}",
                "calibrated again": again,
                "overflows": overflows,
                "wall s": f"{time.perf_counter() - began:.0f}",
            }
        )
    return rows


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--unit", default="linear", choices=("linear", "nonlinear"))
    parser.add_argument("--steps", type=int, default=0, help="train so many batches")
    parser.add_argument("--margin", type=int, default=2)
    parser.add_argument("--weight-margin", type=int, default=1)
    given = parser.parse_args()
    if given.steps:
        rows = training(given.unit, given.steps, given.margin, given.weight_margin)
        show("Training by integers", rows, PACKAGES, given.json)
    else:
        show("A batch's gradient", speed(given.unit), PACKAGES, given.json)


if __name__ == "__main__":
    main()
