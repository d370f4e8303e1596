"""Models whose integers must not change, and the digests of everything made from them.

    python tests/unchanged_models.py

writes `unchanged.json` anew, which is right only when numbers are meant to change; the commit
message then says why. Two programs are kept whole as well: files that this release has to read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ["JAX_ENABLE_X64"] = "1"  # as in conftest.py, where this runs as a script

import basic_motions
import jax
import numpy as np
from cornered_units import cornered
from hamiltonians import GALLERY

import echoloom as el
from echoloom.backends.link.image_writes import image_writes
from echoloom.frontend.models.checkpoint import load_model
from echoloom.frontend.models.hssm import with_statistics

HERE = Path(__file__).parent
RECORD = HERE / "unchanged.json"
SAVED = HERE / "saved"
Case = tuple[el.CompiledProgram, Any, Any]  # a program, one sequence [T, inputs], its label


def demo() -> Case:
    """What `make demo` compiles."""
    X, y, X_test, y_test = basic_motions.load()
    model = load_model(basic_motions.CHECKPOINT)
    program = el.compile(model, X, y, target="ecp5-85k", lanes=4)
    return program, X_test[7].astype(np.float64), int((y_test[7] + 1) % 4)


def noise(count: int, steps: int, inputs: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, steps, inputs))


def made(compiled: dict[str, Any], steps: int = 8, scale: Any = 1.0, **sizes: Any) -> Case:
    """A small model of these sizes on samples times `scale`."""
    common = {"inputs": 3, "outputs": 2, "hidden": 5, "state": 3, "blocks": 2, "step": 0.3}
    model = el.HSSM(**{**common, **sizes}, key=jax.random.key(2))
    x = noise(3, steps, model.inputs) * scale
    model = with_statistics(model, x)
    if model.task == "classification":
        return el.compile(model, x, [0, 1, 1], **compiled), x[1], 0
    targets = np.tanh(noise(3, steps // model.output_step, model.outputs))
    return el.compile(model, x, targets, **compiled), x[1], targets[1]


def unit_of(name: str) -> el.Hamiltonian:
    return GALLERY[name](5, jax.random.key(1))


def exhibit(name: str, **arguments: Any) -> Case:
    unit = unit_of(name)
    state = GALLERY[name].positions
    return made({"lanes": 3}, blocks=1, unit=unit, state=state, step=0.2, **arguments)


def corners() -> Case:
    model, x = cornered(steps=8)
    return el.compile(model, x, [0, 1, 1], lanes=4), x[2], 1


CASES: dict[str, Callable[[], Case]] = {
    "demo": demo,
    "complex": lambda: made({"lanes": 2, "drains": 2}),
    "real": lambda: made({"lanes": 5, "slots": 2}, complex=False, blocks=1),
    "regression": lambda: made({"lanes": 4}, task="regression", output_step=2, steps=9),
    "curved regression": lambda: exhibit("duffing", task="regression"),
    "imex": lambda: made({"lanes": 1}, integrator="imex", substeps=3, blocks=1),
    "substeps": lambda: made({"lanes": 3, "drains": 2}, substeps=2, activation="gelu_tanh"),
    "channels": lambda: made({"lanes": 4}, scale=np.array([1000.0, 1.0, 0.01])),
    "one step": lambda: made({"lanes": 16}, steps=1, blocks=1),
    "margin": lambda: made({"lanes": 4, "weight_margin": 2}, blocks=1),
    "corners": corners,
    "relativistic": lambda: exhibit("relativistic"),
    "plummer": lambda: exhibit("plummer"),
    "rotors": lambda: exhibit("rotors"),
    "gated": lambda: exhibit("gated"),
    "huber": lambda: exhibit("huber"),
}
KEPT = {"complex": None, "curved regression": "duffing"}  # as files too, and their own units


def digests(case: Case) -> dict[str, str]:
    """A digest of the program's text, of every word and cycle of its image, and of its results."""
    program, x, label = case
    result = program.run(x, label)
    sections = program.image.sections
    return {
        "text": _digest([str(program.ir).encode()]),
        "image": _digest([json.dumps(list(map(list, image_writes(program.image)))).encode()]),
        "cycles": " ".join(str(section.length) for section in sections),
        "nudges": " ".join(map(str, program.epsilons)),
        "outputs": _words([result.outputs, result.forward_flags]),
        "states": _words([*result.states.values(), *result.echo_states.values()]),
        "gradients": _words([*result.gradients.values(), result.exponent, result.echo_flags]),
    }


def _words(arrays: Iterable[Any]) -> str:
    return _digest(np.asarray(a, np.int64).astype("<i8").tobytes() for a in arrays)


def _digest(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def write() -> None:
    SAVED.mkdir(exist_ok=True)
    record = {}
    for name, make in CASES.items():
        case = make()
        record[name] = digests(case)
        if name in KEPT:
            case[0].save(SAVED / f"{name.replace(' ', '_')}.elp")
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    write()
