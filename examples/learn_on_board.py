# %% [markdown]
# # A board that learns
#
# Each `# %%` starts a cell: editors that know them run this file cell by cell. As a program:
#
#     python examples/learn_on_board.py           # four wrist motions; some minutes in a simulator
#     python examples/learn_on_board.py --small   # a toy task, half a minute
#     python examples/learn_on_board.py --port /dev/ttyUSB0   # on a board of yours

# %%
"""From data to an untrained model, to a board that trains it, and back to JAX."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from basic_motions import accuracy
from first_model import FULL, SMALL, load
from rich import print

import echoloom as el
from echoloom.backends.board.records import Trained
from echoloom.sim.virtual_board import virtual_board

# %% [markdown]
# ## 1. A program that learns
#
# The model is untrained. `learning=` adds the update of the weights to its program, and has the
# compiler go through the same training in floats: weights and states move far, and their formats
# have to hold at its end too.
#
# The rule takes the sign of a batch's gradient. It needs no multiplication by a learning rate and
# no second copy of the weights: 18 bits of each, and nothing else, is what is trained.


# %%
def untrained(X: np.ndarray, classes: int, small: bool) -> el.HSSM:
    """A model with random weights, its norms measured on X."""
    sizes = SMALL if small else FULL
    model = el.HSSM(
        inputs=X.shape[2], outputs=classes, hidden=sizes.hidden, state=sizes.state,
        blocks=sizes.blocks, key=jax.random.key(0),
    )  # fmt: skip
    return el.with_statistics(model, jnp.asarray(X, model.encoder.weight.dtype))


def rule(sequences: int, epochs: int, batch: int, step: float) -> el.SignUpdate:
    """Steps that are halved in the middle of the training and again in the middle of the rest."""
    updates = epochs * sequences // batch
    halve_at = tuple(sorted({max(1, updates // 2), max(1, 3 * updates // 4)}))
    return el.SignUpdate(step=step, batch=batch, updates=updates, halve_at=halve_at)


# %% [markdown]
# ## 2. The board
#
# A virtual one, if none is given: the whole circuit in Verilator, behind a serial port.


# %%
@contextmanager
def board_at(port: str | None, program: el.CompiledProgram) -> Iterator[el.Board]:
    """The board at a port, or a virtual one."""
    if port is not None:
        with el.open_board(port) as board:
            yield board
        return
    mapped = program.artifact.mapped
    print("building a virtual board, where that is not there yet")
    with virtual_board(mapped.config, mapped.timing) as served, el.open_board(served.port) as board:
        yield board


# %% [markdown]
# ## 3. Training
#
# `board.learn` sends each sequence, takes the outputs, and tells the echo the error. Gradients and
# weights stay on the board; they come back after every epoch here, so that there is something to
# print, and at the end.


# %%
def main() -> None:
    """All of it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--small", action="store_true", help="a toy task, the smallest engine")
    arguments.add_argument("--port", help="a board's; a virtual one if not given")
    arguments.add_argument("--epochs", type=int, help="8 if not given, and 6 of the toy task")
    arguments.add_argument("--directory", type=Path, default=Path("build/learn_on_board"))
    options = arguments.parse_args()

    (X, y), (X_test, y_test) = load(options.small)
    epochs, batch = options.epochs or (6 if options.small else 8), 8
    step = 2**-5 if options.small else 2**-6
    model = untrained(X, int(y.max()) + 1, options.small)
    print(f"test accuracy, untrained: {accuracy(model, X_test, y_test):.1%}")
    program = el.compile(
        model, X, y, lanes=(SMALL if options.small else FULL).lanes,
        learning=rule(len(X), epochs, batch, step),
    )  # fmt: skip
    every = len(X) // batch

    with board_at(options.port, program) as board:
        board.load(program)

        def report(so_far: Trained) -> None:
            right = [int(np.argmax(board.predict(x))) == label
                     for x, label in zip(X_test, y_test, strict=True)]  # fmt: skip
            print(
                f"epoch {so_far.updates // every}: loss {so_far.losses[-every:].mean():.4f}, "
                f"test accuracy on the board {np.mean(right):.1%}, "
                f"{sum(so_far.clamped.values())} sums clamped, {so_far.overflowed} overflows"
            )

        trained = board.learn(X, y, every=every, watch=report)

    of_sequences, of_updates = trained.cycles
    print(
        f"{trained.updates} updates took {of_updates:,} cycles of the engine, "
        f"their sequences {of_sequences:,}"
    )
    # The weights are a model's again: its folded coefficients are the board's words.
    back = trained.program.model
    options.directory.mkdir(parents=True, exist_ok=True)
    el.save_model(options.directory / "trained.eqx", back)
    print(f"test accuracy in JAX, in floats: {accuracy(back, X_test, y_test):.1%}")
    same = program.learn(X, y, level="jax")
    words = trained.program.artifact.coefficients
    for name, steps in same.weights.items():
        assert np.array_equal(words[name], steps[-1]), f"{name} differs from JAX's"
    print("every weight word is what JAX computes")


# %%
if __name__ == "__main__":
    main()
