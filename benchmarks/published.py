"""Published checkpoints, imported and compiled, against the published code's own numbers:
python benchmarks/published.py --data FOLDER

FOLDER holds, for every checkpoint NAME, what the published code saved (NAME.eqx, NAME.json) and
computed in float64 (NAME_vectors.npz): samples `X` [n, T, inputs], `probabilities` [n, classes],
and for the first sequences the gradients of -log probability[grad_label[i]] as `grad{i}.PATH`.
"""

from __future__ import annotations

import os

# Before anything imports JAX: the reference is float64.
os.environ.setdefault("JAX_ENABLE_X64", "1")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import output

import echoloom as el
from echoloom.backends.compile.figures import TensorQuality, worst_of

Vectors = dict[str, np.ndarray]
Predict = Callable[[np.ndarray], Any]
Learn = Callable[[np.ndarray, int], el.HSSM]
# A tensor is judged among the large or the small ones by its gradient's norm beside the largest
# tensor's; what is smaller still is left out.
LARGE, SMALL = (1e-4, np.inf), (1e-9, 1e-4)


def probabilities(predict: Predict, samples: np.ndarray) -> np.ndarray:
    """[n, classes] of samples [n, T, inputs], one after the other."""
    return np.stack([jax.nn.softmax(jnp.asarray(predict(x))) for x in samples])


def qualities(learn: Learn, vectors: Vectors) -> list[tuple[float, TensorQuality]]:
    """Every tensor of every sequence: its norm beside the largest one's, and how good it is."""
    found = []
    for index, label in enumerate(vectors["grad_label"]):
        own = el.published_gradients(learn(vectors["X"][index], int(label)))
        exact = {name: vectors[f"grad{index}.{name}"] for name in own}
        norms = {name: float(np.linalg.norm(value)) for name, value in exact.items()}
        for name, value in own.items():
            norm = float(np.linalg.norm(value))
            cosine = float(np.vdot(value, exact[name])) / (norm * norms[name]) if norm else 0.0
            quality = TensorQuality(cosine, norm / norms[name])
            found.append((norms[name] / max(norms.values()), quality))
    return found


def worst(found: list[tuple[float, TensorQuality]], within: tuple[float, float]) -> str:
    """1 - cosine and norm ratio - 1 of the worst tensors."""
    kept = [quality for size, quality in found if within[0] < size <= within[1]]
    if not kept:
        return "-"
    quality = worst_of(kept)
    return f"{1.0 - quality.cosine:.1e} / {quality.norm_ratio - 1.0:+.1e}"


def levels(model: el.HSSM, vectors: Vectors, lanes: int) -> Iterator[tuple[str, Predict, Learn]]:
    """Every level's name, outputs and gradients."""

    def predict(x: np.ndarray) -> jax.Array:
        return model(jnp.asarray(x))

    yield "BPTT", predict, lambda x, label: el.bptt_gradient(model, jnp.asarray(x), label)
    yield "RHEL", predict, lambda x, label: el.rhel_gradient(model, jnp.asarray(x), label)
    program = el.compile(model, vectors["X"], vectors["y"], lanes=lanes)
    yield "integers", program.predict, program.gradient


def rows(folder: Path, name: str, lanes: int) -> Iterator[dict[str, Any]]:
    model = el.import_rhel(folder / f"{name}.eqx", folder / f"{name}.json")
    with np.load(folder / f"{name}_vectors.npz", allow_pickle=False) as stored:
        vectors = {key: stored[key] for key in stored.files}
    vectors["X"] = vectors["X"].astype(np.float64)
    exact = vectors["probabilities"]
    for level, predict, learn in levels(model, vectors, lanes):
        found, gradients = probabilities(predict, vectors["X"]), qualities(learn, vectors)
        yield {
            "checkpoint": name,
            "level": level,
            "probabilities off by": f"{np.abs(found - exact).max():.1e}",
            "same class": f"{np.sum(found.argmax(axis=1) == exact.argmax(axis=1))} of {len(exact)}",
            "large tensors": worst(gradients, LARGE),
            "small tensors": worst(gradients, SMALL),
        }


def main() -> None:
    parser = output.arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--lanes", type=int, default=8, help="multipliers of the engine")
    options = parser.parse_args()
    names = sorted(path.stem for path in options.data.glob("*.eqx"))
    if not names:
        parser.error(f"there is no .eqx file in {options.data}")
    table = [row for name in names for row in rows(options.data, name, options.lanes)]
    title = "against the published code in float64; tensors: 1 - cosine / norm ratio - 1, worst"
    output.show(title, table, ("echoloom", "jax", "numpy", "equinox"), options.json)


if __name__ == "__main__":
    main()
