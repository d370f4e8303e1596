"""All four exported graphs of four models at three lengths: python benchmarks/onnx_cases.py

Makes each model and its data with the commands' own files, then runs the one command that exports
and verifies it, `echoloom verify PROGRAM DATA --levels onnx`: integers must be identical, real
numbers within 1e-5 of JAX's. The commands are printed; with --folder the files stay for you to run
them (in this folder, with ../examples on PYTHONPATH, for the unit of your own).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import output

import echoloom as el
from echoloom.frontend.models.hssm import with_statistics

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from hamiltonians import GALLERY

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
INPUTS, OUTPUTS, HIDDEN, BLOCKS, LANES, SEQUENCES = 3, 3, 6, 2, 4, 4
# Steps; longer runs use the spare range. In 500 a Duffing oscillator does not even turn once.
CALIBRATED = {"linear": 500, "nonlinear": 500, "duffing": 4000, "regression": 500}
STEPS = (1, 100, 5000)
OWN_UNIT = "onnx_cases:duffing"
MODELS: Mapping[str, Mapping[str, Any]] = {
    "linear": {"unit": "linear", "state": 3},
    "nonlinear": {"unit": "nonlinear", "state": 5, "complex": False, "step": 0.01},
    "duffing": {"state": 5, "step": 0.01},
    "regression": {"unit": "linear", "state": 3, "task": "regression"},
}


def duffing() -> el.Hamiltonian:
    """A unit of the user's own: --unit onnx_cases:duffing."""
    return GALLERY["duffing"](HIDDEN, jax.random.key(1))


def samples(steps: int, seed: int) -> np.ndarray:
    """Noise [SEQUENCES, steps, INPUTS] of unit deviation without its fast parts."""
    window = np.hanning(33) / np.linalg.norm(np.hanning(33))
    noise = np.random.default_rng(seed).normal(size=(SEQUENCES * INPUTS, steps + 32))
    rows = np.asarray([np.convolve(row, window, "valid") for row in noise])
    return rows.reshape(SEQUENCES, INPUTS, steps).swapaxes(1, 2)


def prepare(folder: Path, name: str, lengths: Sequence[int], blocks: int = BLOCKS) -> None:
    """Writes NAME.elp and, for every length T, NAME_T.npz with the first T steps of its data."""
    options: dict[str, Any] = {"unit": duffing(), **MODELS[name]}
    model = el.HSSM(INPUTS, OUTPUTS, HIDDEN, blocks=blocks, key=jax.random.key(0), **options)
    x = samples(max(lengths), 0)
    y: np.ndarray = np.arange(SEQUENCES) % OUTPUTS
    if model.task == "regression":
        y = np.tanh(samples(max(lengths), 1))
    model = with_statistics(model, jnp.asarray(x))
    seen = slice(CALIBRATED[name])
    targets = y[:, seen] if model.task == "regression" else y
    el.compile(model, x[:, seen], targets, lanes=LANES).save(folder / f"{name}.elp")
    for steps in lengths:
        targets = y[:, :steps] if model.task == "regression" else y
        np.savez(folder / f"{name}_{steps}.npz", X=x[:, :steps], y=targets)


def arguments(folder: Path, name: str, steps: int) -> list[str]:
    """Of `echoloom`: the one command that verifies all four graphs."""
    unit = ["--unit", OWN_UNIT] if name == "duffing" else []
    files = [str(folder / f"{name}.elp"), str(folder / f"{name}_{steps}.npz")]
    # The samples are as they should be: a sequence of one step has no deviation.
    return ["verify", *files, *unit, "--levels", "onnx", "--forward", "1", "--echo", "1",
            "--no-normalise"]  # fmt: skip


def verified(command: Sequence[str]) -> dict[str, Any]:
    """What the command says as JSON. RuntimeError where it fails."""
    paths = [str(HERE), str(EXAMPLES), os.environ.get("PYTHONPATH", "")]
    ran = subprocess.run(
        [sys.executable, "-c", "from echoloom.cli import main; main()", *command, "--json"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    if ran.returncode:
        raise RuntimeError(ran.stderr.strip().splitlines()[-1])
    return json.loads(ran.stdout)


def main() -> None:
    options = output.arguments(__doc__)
    options.add_argument("--steps", type=int, nargs="+", default=STEPS)
    options.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    options.add_argument("--folder", type=Path, help="keep the files here")
    options = options.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.models:
            prepare(folder, name, options.steps)
            for steps in options.steps:
                command = arguments(folder, name, steps)
                output.progress.print("echoloom", *command, soft_wrap=True)
                began = time.perf_counter()
                said = verified(command)
                level = said["levels"]["onnx"]
                rows.append({
                    "model": name, "T": steps, "integers": level["compared"],
                    "different": level["mismatches"],
                    "float forward": f"{said['floats']['float forward']:.1g}",
                    "float gradient": f"{said['floats']['float gradient']:.1g}",
                    "overflowed": said["overflowed"],
                    "s": round(time.perf_counter() - began),
                })  # fmt: skip
    packages = ["numpy", "jax", "onnx", "onnxruntime"]
    output.show("Exported graphs, all four kinds a row", rows, packages, options.json)


if __name__ == "__main__":
    main()
