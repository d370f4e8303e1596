"""A long sequence, pushed in chunks of random sizes and run in one go: NumPy, JAX and RTL, equal.

Every integer of every push is compared, and every pass's cycles with those predicted.
"""

from __future__ import annotations

import time

import jax
import numpy as np
from output import arguments, progress, show

import echoloom as el
from echoloom.frontend.models.sizes import Task
from echoloom.sim.run_rtl import Simulator

CALIBRATION = 2_000
WINDOW = 64


def program_of(task: Task) -> el.CompiledProgram:
    """One block of two oscillators, an output every third step of a regression."""
    model = el.HSSM(
        1, 2, 2, 2, 1, task=task, output_step=3 if task == "regression" else 1,
        key=jax.random.key(0),
    )  # fmt: skip
    return el.compile(model, signal(CALIBRATION)[None], lanes=2)


def signal(steps: int) -> np.ndarray:
    """[steps, 1]: a slow swell of a fast oscillation, the same whatever `steps` is."""
    k = np.arange(steps)
    return (np.sin(0.7 * k) * np.cos(0.011 * k))[:, None]


def chunk_sizes(steps: int, seed: int) -> list[int]:
    """Sizes that make up `steps`: of 0 to 2,047, even over their logarithms."""
    random, sizes = np.random.default_rng(seed), list[int]()
    while (left := steps - sum(sizes)) > 0:
        sizes.append(min(left, int(2.0 ** random.uniform(-1, 11))))
    return sizes


def answers(program: el.CompiledProgram, sizes: list[int]) -> dict[int, object]:
    """A label or targets for windows at three places of the stream."""
    ends, every = np.cumsum(sizes), program.model.output_step
    found: dict[int, object] = {}
    for number in (len(sizes) // 3, len(sizes) // 2, len(sizes) - 1):
        window = min(WINDOW, int(ends[number]))
        count = ends[number] // every - (ends[number] - window) // every
        found[number] = 1 if every == 1 else np.full((count, 2), 0.25)
    return found


def measure(task: Task, steps: int, seed: int, simulator: Simulator) -> el.StreamReport:
    program, sizes = program_of(task), chunk_sizes(steps, seed)
    return el.verify_stream(
        program, signal(steps), sizes, answers(program, sizes), window=WINDOW, simulator=simulator
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--simulator", default="verilator-cpp")
    given = parser.parse_args()
    rows = []
    for task in ("classification", "regression"):
        progress.print(f"{task}: {given.steps:,} samples")
        begin = time.perf_counter()
        found = measure(task, given.steps, given.seed, given.simulator)
        rows.append(
            {
                "task": task,
                "samples": found.steps,
                "pushes": found.pushes,
                "gradients": found.gradients,
                **{f"integers equal, {level}": count for level, count in found.compared.items()},
                "cycles predicted": found.predicted,
                "counted": found.cycles,
                "seconds": round(time.perf_counter() - begin),
            }
        )
    title = f"A sequence in chunks of random sizes, and in one go ({given.simulator})"
    show(title, rows, ("numpy", "jax", "amaranth"), given.json)


if __name__ == "__main__":
    main()
