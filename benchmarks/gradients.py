"""The echo's gradient against backpropagation through time: python benchmarks/gradients.py

The paper's size (61 inputs, hidden 64, 32 oscillators a block, 2 blocks, batch 1, float32), random
models on smooth random sequences. Three tables, each of which --only names:

time      medians of interleaved runs at --steps, and over plain backpropagation's;
memory    temporaries of the compiled function at 1,280, 49,920 and 998,400 steps;
accuracy  the worst tensor's relative error against float64 backpropagation, for a usual loss and
          for a confident label's, 1e-12. float32 runs another model than float64, since it rounds
          what raw parameters fold into (steps, frequencies), and where the course is chaotic it
          runs another course. "as run" is its error against float64 with the coefficients that
          float32 folds, and, of a chaotic course, against float64 derivatives along the states that
          were met, forward by backpropagation and back by the echo.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import course
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import output

import echoloom as el
from echoloom.frontend.gradients.loss import cross_entropy
from echoloom.frontend.models import parts
from echoloom.frontend.models.hssm import run, trainable, with_statistics

INPUTS, OUTPUTS, HIDDEN, BLOCKS = 61, 2, 64, 2
MODELS: dict[str, dict[str, Any]] = {
    "linear": {"unit": "linear", "state": 16},
    "nonlinear, h = 1e-4": {"unit": "nonlinear", "state": 32, "step": 1e-4},
    "nonlinear, h = 0.1": {"unit": "nonlinear", "state": 32, "step": 0.1},
}
MODES = ("renormalised", "fixed", "difference")
KEPT = (64, 128, 256, 512)  # chunks that rematerialised backpropagation is tried with
LENGTHS = (1_280, 49_920, 998_400)
TABLES = ("time", "memory", "accuracy")
CONFIDENT = 1e-12
Gradient = Callable[..., tuple[jax.Array, el.HSSM]]


def smooth(steps: int) -> jax.Array:
    """Noise [steps, INPUTS] of unit deviation without its fast parts, float32."""
    window = np.hanning(33) / np.linalg.norm(np.hanning(33))
    noise = np.random.default_rng(0).normal(size=(INPUTS, steps + 32))
    rows = [np.convolve(row, window, "valid") for row in noise]
    return jnp.asarray(np.stack(rows, axis=1), jnp.float32)


def model_of(name: str, x: jax.Array) -> el.HSSM:
    """A float32 model whose norms have seen x [T, INPUTS]."""
    made = el.HSSM(INPUTS, OUTPUTS, HIDDEN, blocks=BLOCKS, key=jax.random.key(0), **MODELS[name])
    return cast(with_statistics(made, x[None]), jnp.float32)


def cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def compiled(gradient: Gradient, model: el.HSSM, steps: int) -> Any:
    X = jax.ShapeDtypeStruct((1, steps, INPUTS), jnp.float32)
    y = jax.ShapeDtypeStruct((1,), jnp.int32)
    return jax.jit(gradient).lower(model, X, y).compile()


def contenders(model: el.HSSM) -> dict[str, Gradient]:
    """Every way to the gradient, by name."""
    found = {"through time": el.bptt_value_and_grad(model)}
    for chunk in KEPT:
        found[f"through time, every {chunk} kept"] = el.bptt_value_and_grad(
            model, rematerialise=chunk
        )
    for mode in MODES:
        # A fixed nudge is given: to choose it is part of no other way.
        epsilon = {"epsilon": 1e3} if mode == "fixed" else {}
        found[f"echo, {mode}"] = el.rhel_value_and_grad(model, echoes=mode, **epsilon)  # type: ignore[arg-type]
    return found


def time_rows(names: list[str], steps: int, repeats: int) -> list[output.Row]:
    rows: list[output.Row] = []
    X, y = smooth(steps)[None], jnp.asarray([1], jnp.int32)
    for name in names:
        model = model_of(name, X[0])
        runs = {way: compiled(g, model, steps) for way, g in contenders(model).items()}
        taken: dict[str, list[float]] = {way: [] for way in runs}
        for _ in range(repeats):
            for way, made in runs.items():
                start = time.perf_counter()
                jax.block_until_ready(made(model, X, y))
                taken[way].append(time.perf_counter() - start)
        kept = [way for way in runs if "kept" in way]
        best = min(kept, key=lambda way: statistics.median(taken[way]))
        for way, own in taken.items():
            ratios = [
                statistics.median(a / b for a, b in zip(own, taken[base], strict=True))
                for base in ("through time", best)
            ]
            rows.append(
                {
                    "model": name,
                    "gradient": way + (" (best)" if way == best else ""),
                    "median ms": round(1e3 * statistics.median(own), 1),
                    "least ms": round(1e3 * min(own), 1),
                    "of through time": f"{ratios[0]:.2f}",
                    "of the best kept": f"{ratios[1]:.2f}",
                }
            )
    return rows


def memory_rows(names: list[str]) -> list[output.Row]:
    rows: list[output.Row] = []
    for name in names:
        model = model_of(name, smooth(1))
        for way, gradient in contenders(model).items():
            sizes = [
                compiled(gradient, model, steps).memory_analysis().temp_size_in_bytes
                for steps in LENGTHS
            ]
            columns = {
                f"KiB, T = {t:,}": round(s / 1024) for t, s in zip(LENGTHS, sizes, strict=True)
            }
            rows.append({"model": name, "gradient": way, **columns})
    return rows


def worst(found: el.HSSM, exact: el.HSSM) -> str:
    """The largest relative error of a tensor."""
    found, exact = (eqx.filter(tree, trainable(tree)) for tree in (found, exact))
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True)
    wide = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    return f"{max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in wide):.1e}"


def as_folded(model: el.HSSM, x: jax.Array, label: int) -> el.HSSM:
    """The float64 gradient of the stack whose coefficients are those that float32 comes to."""
    parameters, frozen = eqx.partition(cast(model, jnp.float64), trainable(model))
    _, back = jax.vjp(lambda own: eqx.combine(own, frozen).resolve(), parameters)

    @jax.jit
    @jax.grad
    def learn(coefficients: Any) -> jax.Array:
        features = run(coefficients, x.astype(jnp.float64))
        logits = parts.head(coefficients.head, jnp.mean(features, axis=0))
        return cross_entropy(logits, jnp.asarray(label))

    return back(learn(cast(model.resolve(), jnp.float64)))[0]


def confident(model: el.HSSM, x: jax.Array) -> tuple[el.HSSM, int]:
    """The model with a head so sure of its own class that the loss is CONFIDENT."""
    logits = np.asarray(model(x))
    gain = -np.log(CONFIDENT) / abs(logits[0] - logits[1])
    sure = eqx.tree_at(
        lambda m: m.head, model, replace_fn=lambda h: jax.tree.map(lambda a: gain * a, h)
    )
    return sure, int(logits.argmax())


def accuracy_rows(names: list[str], lengths: list[int]) -> list[output.Row]:
    rows: list[output.Row] = []
    with jax.enable_x64(True):
        for name in names:
            for steps in lengths:
                x = smooth(steps)
                made = model_of(name, x)
                chaotic = el.trajectory_check(made, x).chaotic
                for kind in ("usual", "confident"):
                    model, label = (made, 1) if kind == "usual" else confident(made, x)
                    model = cast(model, jnp.float32)
                    rows += _errors(name, kind, model, x, label, chaotic)
    return rows


def _errors(
    name: str, kind: str, model: el.HSSM, x: jax.Array, label: int, chaotic: bool
) -> list[output.Row]:
    exact_model = cast(model, jnp.float64)
    through = el.bptt_value_and_grad(model)
    value, exact = through(exact_model, x, label)
    folded = as_folded(model, x, label)
    rows: list[output.Row] = []
    for way in ("through time", *MODES):
        gradient = through if way == "through time" else el.rhel_value_and_grad(model, echoes=way)  # type: ignore[arg-type]
        _, found = gradient(model, x, label)
        if not chaotic:
            as_run = worst(found, folded)
        elif way == "through time":
            as_run = worst(*course.through_time(model, x, label))
        else:
            as_run = "" if way == "fixed" else worst(*course.by_echo(model, x, label, way))  # type: ignore[arg-type]
        rows.append(
            {
                "model": name,
                "T": x.shape[0],
                "loss": f"{float(value):.0e}",
                "gradient": way if way == "through time" else f"echo, {way}",
                "float64": worst(gradient(exact_model, x, label)[1], exact),
                "float32": worst(found, exact),
                "float32 as run": as_run,
            }
        )
        output.progress.print(rows[-1])
    return rows


def main() -> None:
    parser = output.arguments(__doc__)
    parser.add_argument("--only", choices=TABLES, action="append", help="a table; all if not given")
    parser.add_argument("--model", choices=MODELS, action="append", help="one; all if not given")
    parser.add_argument("--steps", type=int, default=49_920, help="T of the times")
    parser.add_argument("--repeats", type=int, default=15, help="runs of each, interleaved")
    parser.add_argument(
        "--lengths", default="405,4096,17984,49920", help="T of the accuracies, with commas"
    )
    chosen = parser.parse_args()
    names = chosen.model or list(MODELS)
    made: dict[str, Callable[[], list[output.Row]]] = {
        "time": lambda: time_rows(names, chosen.steps, chosen.repeats),
        "memory": lambda: memory_rows(names),
        "accuracy": lambda: accuracy_rows(names, [int(t) for t in chosen.lengths.split(",")]),
    }
    for table in chosen.only or TABLES:
        file = chosen.json and chosen.json.with_stem(f"{chosen.json.stem}_{table}")
        output.show(f"Gradients: {table}", made[table](), ("echoloom", "jax", "jaxlib"), file)


if __name__ == "__main__":
    main()
