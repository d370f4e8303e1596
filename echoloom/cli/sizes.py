"""Untrained models by their sizes, and their programs on engines of any size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.compile.arguments import engine_sizes
from echoloom.backends.compile.pipeline import compile as compile_model
from echoloom.backends.compile.program import CompiledProgram
from echoloom.frontend.models.hssm import HSSM, with_statistics
from echoloom.ir.contract import EngineConfig
from echoloom.ir.passes.image import Mapped, place

# inputs, hidden, state, blocks, outputs; the paper's is its Heartbeat experiment.
SIZES = {"demo": (6, 16, 8, 2, 4), "paper": (61, 64, 16, 2, 2)}
SAMPLES, STEPS = 2, 16  # random ones: cycles do not depend on them


def sizes_named(size: str) -> tuple[int, ...]:
    """A name of SIZES, or five numbers with commas. ValueError for what is neither."""
    if size in SIZES:
        return SIZES[size]
    try:
        inputs, hidden, state, blocks, outputs = map(int, size.split(","))
    except ValueError:
        raise ValueError(
            f"--size is {size!r}, but it must be {', '.join(SIZES)} or five whole numbers: "
            "INPUTS,HIDDEN,STATE,BLOCKS,OUTPUTS."
        ) from None
    return inputs, hidden, state, blocks, outputs


def untrained(
    sizes: tuple[int, ...], lanes: int, drains: int | None, slots: int
) -> CompiledProgram:
    """A compiled complex linear classifier of these sizes."""
    inputs, hidden, state, blocks, outputs = sizes
    model = HSSM(inputs, outputs, hidden, state, blocks, key=jax.random.key(0))
    samples = np.random.default_rng(0).standard_normal((SAMPLES, STEPS, inputs))
    model = with_statistics(model, jnp.asarray(samples, model.encoder.weight.dtype))
    return compile_model(model, samples, lanes=lanes, drains=drains, slots=slots)


def on_engine(program: CompiledProgram, lanes: int, drains: int | None, slots: int) -> Mapped:
    """The same integers on an engine of another size."""
    artifact, config = program.artifact, program.artifact.mapped.config
    other = EngineConfig.of(config.widths, *engine_sizes(lanes, drains, slots))
    return place(program.ir, artifact.tables, other, artifact.mapped.timing)
