"""Every unit of the gallery, and the paper's, compiled: python benchmarks/units.py [NAME ...]

One block of each on four lanes, calibrated on six smooth sequences of T steps: gradients of every
tensor over the six, end to end, against float64 backpropagation through time; whether the free
copy is back at its start after 2,000 steps; cycles a step. --tensors prints a row a tensor.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import output

import echoloom as el
from echoloom.frontend.models.hssm import trainable, with_statistics
from echoloom.frontend.models.stack import float64
from echoloom.ir.passes.estimate import step_cycles
from echoloom.ir.sections import Section

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from hamiltonians import GALLERY

INPUTS, OUTPUTS, HIDDEN, LANES, SEQUENCES, LONG = 3, 3, 5, 4, 6, 2000
PAPER: dict[str, dict[str, Any]] = {
    "linear": {"unit": "linear", "state": 3},
    "nonlinear": {"unit": "nonlinear", "state": 5, "step": 0.2},
    "nonlinear, IMEX": {"unit": "nonlinear", "state": 5, "step": 0.2, "integrator": "imex"},
    "nonlinear, 3 substeps": {"unit": "nonlinear", "state": 5, "step": 0.1, "substeps": 3},
}


def options(name: str) -> dict[str, Any]:
    """What an HSSM of this unit is made with."""
    if name in PAPER:
        return PAPER[name]
    exhibit = GALLERY[name]
    unit = exhibit(HIDDEN, jax.random.key(1))
    return {"unit": unit, "state": exhibit.positions, "step": 0.2}


def smooth(steps: int) -> np.ndarray:
    """Noise [SEQUENCES, steps, INPUTS] of unit deviation without its fast parts."""
    window = np.hanning(33) / np.linalg.norm(np.hanning(33))
    noise = np.random.default_rng(0).normal(size=(SEQUENCES * INPUTS, steps + 32))
    rows = np.asarray([np.convolve(row, window, "valid") for row in noise])
    return rows.reshape(SEQUENCES, INPUTS, steps).swapaxes(1, 2)


def gradients(
    program: el.CompiledProgram, x: np.ndarray, labels: list[int]
) -> dict[str, tuple[float, float]]:
    """By tensor, over all sequences end to end: cosine and norm ratio."""
    found: dict[str, list[np.ndarray]] = {}
    exact: dict[str, list[np.ndarray]] = {}
    with jax.enable_x64(True):
        model = float64(program.model)
        for sequence, label in zip(x, labels, strict=True):
            for rows, tree in (
                (found, program.gradient(sequence, label)),
                (exact, el.bptt_gradient(model, jnp.asarray(sequence), label)),
            ):
                learned = eqx.filter(tree, trainable(tree))
                for path, leaf in jax.tree_util.tree_leaves_with_path(learned):
                    name = jax.tree_util.keystr(path).lstrip(".")
                    rows.setdefault(name, []).append(np.ravel(leaf))
    figures = {}
    for name in found:
        a, b = np.concatenate(found[name]), np.concatenate(exact[name])
        norms = np.linalg.norm(a), np.linalg.norm(b)
        figures[name] = float(a @ b / norms[0] / norms[1]), float(norms[0] / norms[1])
    return figures


def lsb_off(program: el.CompiledProgram, x: np.ndarray) -> int:
    """How far the free copy ends from its start after LONG steps, in units of its last bit."""
    there_and_back = np.concatenate([x, x[::-1]])
    long = np.tile(there_and_back, (LONG // len(there_and_back) + 1, 1))[:LONG]
    result = program.run(long, 1)
    return max(int(np.abs(v).max()) for n, v in result.echo_states.items() if ".free." in n)


def measure(name: str, steps: int, each: bool) -> list[output.Row]:
    x = smooth(steps)
    model = el.HSSM(INPUTS, OUTPUTS, HIDDEN, blocks=1, key=jax.random.key(0), **options(name))
    model = with_statistics(model, jnp.asarray(x))
    labels = [i % OUTPUTS for i in range(SEQUENCES)]
    program = el.compile(model, x, labels, lanes=LANES)
    figures = gradients(program, x, labels)
    if each:
        return [
            {"unit": name, "tensor": tensor, "cosine": f"{c:.6f}", "norm ratio": f"{r:.4f}"}
            for tensor, (c, r) in figures.items()
        ]
    mapped = program.artifact.mapped
    ratio = max((r for _, r in figures.values()), key=lambda r: abs(r - 1.0))
    return [
        {
            "unit": name,
            "nudge": f"2^{int(np.log2(program.epsilons[0]))}",
            "segments": sum(len(t.base) for t in program.artifact.tables.values()),
            "worst cosine": f"{min(c for c, _ in figures.values()):.6f}",
            "worst norm ratio": f"{ratio:.4f}",
            f"LSB off, T = {LONG:,}": lsb_off(program, x[0]),
            "forward cycles / step": step_cycles(mapped, Section.FORWARD_STEP),
            "echo": step_cycles(mapped, Section.ECHO_STEP),
        }
    ]


def main() -> None:
    parser = output.arguments(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="units; all if none is named")
    parser.add_argument("--steps", type=int, default=30, help="T of the calibrating sequences")
    parser.add_argument("--tensors", action="store_true", help="a row for every tensor")
    chosen = parser.parse_args()
    rows: list[output.Row] = []
    for name in chosen.names or [*PAPER, *GALLERY]:
        output.progress.print(name)
        rows += measure(name, chosen.steps, chosen.tensors)
    title = f"Units on {LANES} lanes, T = {chosen.steps}"
    output.show(title, rows, ("echoloom", "jax", "numpy"), chosen.json)


if __name__ == "__main__":
    main()
