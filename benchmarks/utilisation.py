"""How busy the multipliers are: python benchmarks/utilisation.py

Cycles depend on a model's sizes and not on its numbers, so the models are untrained. Utilisation
is the products that the model needs / (lanes x cycles): of a whole sequence, all sections and the
begin and end of the overlap included, and of one more time step. "lanes busy" is what the engine's
BUSY counter says in a step: it also counts products that are computed again rather than stored.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import output

import echoloom as el
from echoloom.frontend.models.hssm import with_statistics
from echoloom.ir.contract import EngineConfig
from echoloom.ir.passes.estimate import (
    products,
    sequence_utilisation,
    step_cycles,
    utilisation,
)
from echoloom.ir.passes.image import Mapped, place
from echoloom.ir.program import Program
from echoloom.ir.sections import STEPS, Section
from echoloom.ir.widths import Widths

# inputs, hidden, state (complex: twice as many oscillators), blocks, outputs
MODELS = {"paper": (61, 64, 16, 2, 2), "demo": (6, 16, 8, 2, 4)}
LENGTHS = {"paper": 405, "demo": 100}  # steps of a sequence
ENGINES = {
    "paper": [
        *itertools.product((16,), (1, 2, 4), (1, 2, 4)),
        *itertools.product((32,), (4, 8), (4,)),
        *itertools.product((64,), (8, 16), (4, 8)),
    ],
    "demo": [
        *itertools.product((4,), (1, 2), (2, 4, 8)),
        *itertools.product((8,), (1, 2, 4), (4, 8)),
        *itertools.product((16,), (2, 4), (4,)),
    ],
}


def untrained(sizes: tuple[int, ...], widths: Widths | None = None) -> el.CompiledProgram:
    """A compiled model of these sizes, on random samples, with the words of ECP5 or others."""
    inputs, hidden, state, blocks, outputs = sizes
    model = el.HSSM(inputs, outputs, hidden, state, blocks, key=jax.random.key(0))
    samples = np.random.default_rng(0).standard_normal((2, 16, inputs))
    model = with_statistics(model, jnp.asarray(samples, model.encoder.weight.dtype))
    return el.compile(model, samples, widths=widths)


def on_engine(program: el.CompiledProgram, lanes: int, drains: int, slots: int) -> Mapped:
    """The same integers on an engine of another size."""
    artifact, config = program.artifact, program.artifact.mapped.config
    other = EngineConfig.of(config.widths, lanes, drains, slots)
    return place(program.ir, artifact.tables, other, artifact.mapped.timing)


def busy(mapped: Mapped, section: Section) -> float:
    """The share of lane cycles that multiply something, as the engine counts them."""
    lane_cycles = sum(e.inner * e.outer * e.lanes for e in mapped.schedules[section].mac)
    return lane_cycles / (mapped.config.lanes * step_cycles(mapped, section))


def row(name: str, program: Program, mapped: Mapped) -> dict[str, Any]:
    """One line of the table: forward / echo where there are two figures."""
    counts = [products(program, program.body(section)) for section in STEPS]
    cycles = [step_cycles(mapped, section) for section in STEPS]
    used = utilisation(mapped)
    whole = [sequence_utilisation(mapped, forward, LENGTHS[name]) for forward in (True, False)]
    in_flight = [1 + mapped.schedules[section].overlap for section in STEPS]
    return {
        "model": name,
        "lanes": mapped.config.lanes,
        "drains": mapped.config.drains,
        "slots": mapped.config.slots,
        "products a step": " / ".join(f"{count:,}" for count in counts),
        "cycles a step": " / ".join(f"{count:,}" for count in cycles),
        "steps in flight": " / ".join(map(str, in_flight)),
        "utilisation": " / ".join(f"{share:.3f}" for share in whole),
        "of a step": " / ".join(f"{used[section]:.3f}" for section in STEPS),
        "lanes busy": " / ".join(f"{busy(mapped, section):.3f}" for section in STEPS),
        "echo / forward": f"{cycles[1] / cycles[0]:.2f}",
    }


def main() -> None:
    options = output.arguments((__doc__ or "").splitlines()[0]).parse_args()
    rows = []
    for name, sizes in MODELS.items():
        output.progress.print(f"compiling a model of the {name}'s size")
        program = untrained(sizes)
        for engine in ENGINES[name]:
            output.progress.print(f"  lanes, drains, slots {engine}")
            rows.append(row(name, program.ir, on_engine(program, *engine)))
    title = "forward / echo; sequences of 405 steps (paper) and 100 (demo)"
    output.show(title, rows, ("echoloom", "jax", "numpy"), options.json)


if __name__ == "__main__":
    main()
