# %% [markdown]
# # From data to a bitstream
#
# Each `# %%` starts a cell: editors that know them (VS Code, PyCharm, Spyder, Jupyter with
# jupytext) run this file cell by cell. As a program it does everything at once:
#
#     python examples/first_model.py              # four wrist motions, about 5 CPU minutes
#     python examples/first_model.py --small      # a toy task on the smallest engine
#     python examples/first_model.py --no-bitstream

# %%
"""The way of a model: data, training with echoes, compilation, proof, bitstream."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from basic_motions import accuracy
from basic_motions import load as load_motions
from rich import print

import echoloom as el


@dataclass(frozen=True)
class Sizes:
    """How big the example is: the model, the training and the engine."""

    hidden: int
    state: int
    blocks: int
    steps: int
    lanes: int


FULL = Sizes(hidden=16, state=8, blocks=2, steps=240, lanes=4)
SMALL = Sizes(hidden=4, state=2, blocks=1, steps=60, lanes=1)

# %% [markdown]
# ## 1. Data
#
# Sequences X [n, T, channels] and one label each. The full example takes UEA's BasicMotions, which
# the package aeon carries; the small one tells slow sines from fast ones.

# %%
Split = tuple[np.ndarray, np.ndarray]


def load(small: bool) -> tuple[Split, Split]:
    """(X, y) of the training split and of the test split."""
    if not small:
        X, y, X_test, y_test = load_motions()
        return (X, y), (X_test, y_test)
    time, phases = np.arange(24), np.linspace(0.0, 6.0, 24)
    X = np.stack([np.sin(f * time + a) for a in phases for f in (0.25, 0.5)])[:, :, None]
    y = np.tile([0, 1], len(phases))
    held_out = np.repeat(np.arange(len(phases)) % 2 == 1, 2)  # every second phase
    return (X[~held_out], y[~held_out]), (X[held_out], y[held_out])


# %% [markdown]
# ## 2. Training
#
# A model is an Equinox module, trained as any other one. The one line that differs is where the
# gradient comes from: `el.rhel_value_and_grad` runs the sequence forward, forgets it, and gets the
# gradient from echoes that run back, in memory that does not grow with the sequence.
# `el.bptt_value_and_grad` is the same by backpropagation through time, to compare with.


# %%
def train(model: el.HSSM, X: np.ndarray, y: np.ndarray, steps: int) -> el.HSSM:
    """`model` after `steps` steps of Adam on batches of ten, its norms measured on X."""
    samples = jnp.asarray(X, model.encoder.weight.dtype)
    model = el.with_statistics(model, samples)
    value_and_grad: Callable[..., Any] = el.rhel_value_and_grad(model)
    optimiser = optax.adam(1e-2)

    @eqx.filter_jit
    def step(model, state, x, label):
        value, gradient = value_and_grad(model, x, label)
        changes, state = optimiser.update(gradient, state)
        return eqx.apply_updates(model, changes), state, value

    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))
    order = np.random.default_rng(0)
    for count in range(steps):
        pick = order.choice(len(y), min(10, len(y)), replace=False)
        model, state, value = step(model, state, samples[pick], jnp.asarray(y[pick]))
        if count % max(1, steps // 6) == 0:
            print(f"step {count:4}: loss {value:.4f}")
    return model


# %% [markdown]
# ## 3. Compilation, 4. proof, 5. bitstream
#
# `el.compile` measures on samples what every value needs and chooses fixed-point formats and a
# schedule. `el.verify` runs the same integers under NumPy, JAX and the Verilog in a simulator,
# forward and back, and compares every one. `el.build` places and routes the engine with open tools.


# %%
def main() -> None:
    """All of it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--small", action="store_true", help="a toy task, the smallest engine")
    arguments.add_argument("--no-bitstream", action="store_true", help="stop before synthesis")
    arguments.add_argument("--directory", type=Path, default=Path("build/first_model"))
    options = arguments.parse_args()
    sizes = SMALL if options.small else FULL

    (X, y), (X_test, y_test) = load(options.small)
    model = el.HSSM(
        inputs=X.shape[2], outputs=int(y.max()) + 1, hidden=sizes.hidden, state=sizes.state,
        blocks=sizes.blocks, key=jax.random.key(0),
    )  # fmt: skip
    model = train(model, X, y, sizes.steps)
    print(f"test accuracy in floats: {accuracy(model, X_test, y_test):.1%}")

    program = el.compile(model, X, y, lanes=sizes.lanes)
    found = [int(np.argmax(program.predict(x))) for x in X_test]
    print(f"test accuracy in fixed point: {np.mean(found == y_test):.1%}")

    wrong = [(label + 1) % (y.max() + 1) for label in y_test[:2]]  # a label with an error to learn
    report = el.verify(program, X_test[:2], wrong, progress=print)
    for level, found in report.levels.items():
        print(f"{level}: {found.compared:,} integers, equal to NumPy's one by one")
    gradient = program.gradient(X_test[0], wrong[0])  # what a board would learn from
    exact = el.bptt_gradient(model, jnp.asarray(X_test[0], jnp.float32), wrong[0])
    print("d loss / d head bias, in integers:", gradient.head.bias, "in floats:", exact.head.bias)

    options.directory.mkdir(parents=True, exist_ok=True)
    program.save(options.directory / "model.echoloom")
    if not options.no_bitstream:
        built = el.build(program, "ulx3s-85f", options.directory / "bitstream")
        print(f"{built.bitstream}: {built.clock_mhz:g} MHz, {built.usage['luts'].used:,} LUTs")


# %%
if __name__ == "__main__":
    main()
