"""Trains the demo's model: four motions from a wrist sensor (UEA data set BasicMotions).

    python examples/basic_motions.py

The data comes inside the PyPI package `aeon`; nothing is downloaded. The result is
`examples/basic_motions.eqx`, which the other examples read.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from aeon.datasets import load_basic_motions

import echoloom as el

CHECKPOINT = Path(__file__).with_name("basic_motions.eqx")
CLASSES = ("badminton", "running", "standing", "walking")


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X_train [40, 100, 6], y_train [40], X_test [40, 100, 6], y_test [40].

    Every channel has mean 0 and deviation 1 over the training split; labels index CLASSES.
    """
    train_x, train_y = _split("train")
    test_x, test_y = _split("test")
    mean, deviation = train_x.mean(axis=(0, 1)), train_x.std(axis=(0, 1))
    return (train_x - mean) / deviation, train_y, (test_x - mean) / deviation, test_y


def _split(name: str) -> tuple[np.ndarray, np.ndarray]:
    samples, motions = load_basic_motions(split=name)[:2]
    labels = np.array([CLASSES.index(str(motion).lower()) for motion in motions])
    return np.swapaxes(np.asarray(samples), 1, 2), labels


def accuracy(model: el.HSSM, X: np.ndarray, y: np.ndarray) -> float:
    """The fraction of samples X [N, T, inputs] whose largest logit is the label's."""
    logits = jax.vmap(model)(jnp.asarray(X, dtype=model.encoder.weight.dtype))
    return float(np.mean(np.argmax(np.asarray(logits), axis=1) == y))


def fit(seed: int = 0, epochs: int = 60, progress: bool = False) -> el.HSSM:
    """The demo's model, trained on the training split."""
    X, y, _, _ = load()
    model = el.HSSM(inputs=6, outputs=4, hidden=16, state=8, blocks=2, key=jax.random.key(seed))
    model = el.with_statistics(model, jnp.asarray(X, dtype=model.encoder.weight.dtype))
    return el.train(
        model, X, y, epochs=epochs, learning_rate=3e-3, batch=10, seed=seed, progress=progress
    )


def main() -> None:
    """Trains, reports the accuracy on both splits and writes the checkpoint."""
    X, y, X_test, y_test = load()
    model = fit(progress=True)
    el.save_model(CHECKPOINT, model)
    print(f"training accuracy {accuracy(model, X, y):.1%}")
    print(f"test accuracy     {accuracy(model, X_test, y_test):.1%}")
    print(f"wrote {CHECKPOINT}")


if __name__ == "__main__":
    main()
