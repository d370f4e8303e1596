"""Whether the demo's model still classifies in the words that a QONNX view can carry.

Counts the BasicMotions sequences, of both splits, on which the integers choose the class that the
float model chooses.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import output

import echoloom as el
from echoloom.backends.onnx.export import onnx_model
from echoloom.backends.run.levels import numpy_run
from echoloom.cli.data import load_data
from echoloom.frontend.models.checkpoint import load_model
from echoloom.ir.widths import Widths

CHECKPOINT = Path(__file__).parents[1] / "examples" / "basic_motions.eqx"
WIDTHS = ((28, 18), (14, 9), (12, 8))


def exports(program: el.CompiledProgram) -> str:
    try:
        onnx_model(program, "qonnx", "forward")
    except ValueError:
        return "refused"
    return "yes"


def main() -> None:
    options = output.arguments(__doc__).parse_args()
    data = load_data("BasicMotions", normalise=True)
    assert data.X_test is not None
    samples = np.concatenate([data.X, data.X_test])
    model = load_model(CHECKPOINT)
    floats = np.asarray(jax.vmap(model)(jnp.asarray(samples, jnp.float32))).argmax(1)
    rows = []
    for word, narrow in WIDTHS:
        program = el.compile(
            model, data.X, data.y, lanes=4, widths=Widths(word=word, narrow=narrow)
        )
        found = numpy_run(program.artifact, samples.astype(np.float64)).outputs.argmax(1)
        rows.append({
            "word": word, "weight": narrow, "QONNX view": exports(program),
            "same class": int((found == floats).sum()), "sequences": len(samples),
        })  # fmt: skip
    output.show("Narrow words", rows, ["numpy", "jax", "onnx"], options.json)


if __name__ == "__main__":
    main()
