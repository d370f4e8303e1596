"""Small models taken through the compiler's front half, for tests of the IR."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from echoloom.backends.compile.coefficients import coefficient_words
from echoloom.backends.compile.stages import probed, ranges, real_program, traced
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.passes.assemble import StackGraphs, assemble
from echoloom.ir.passes.calibrate import Ranges
from echoloom.ir.passes.quantise import quantise
from echoloom.ir.passes.simplify import simplify
from echoloom.ir.program import Program
from echoloom.ir.tables import TableContents, program_tables
from echoloom.ir.verifier import verify
from echoloom.ir.widths import Widths

STEPS = 7


class Quartic(Hamiltonian):
    """A nonlinear well and a drive that saturates."""

    stiffness: jax.Array
    quartic: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        well = 0.5 * jnp.sum(self.stiffness * q**2) + 0.25 * jnp.sum(self.quartic * q**4)
        return well - q @ jnp.tanh(self.drive @ u)


class Massive(Hamiltonian):
    """Springs, and a kinetic energy with coefficients of its own."""

    stiffness: jax.Array
    drive: jax.Array
    inverse_mass: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(self.stiffness * q**2) - q @ (self.drive @ u)

    def kinetic(self, p: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(self.inverse_mass * p**2)


@dataclass(frozen=True)
class Sizes:
    """What a test draws; equal sizes give the same model."""

    inputs: int = 2
    outputs: int = 2
    hidden: int = 3
    state: int = 2
    blocks: int = 1
    complex: bool = True
    task: str = "classification"
    unit: str = "linear"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Built:
    """A model at every stage before the engine."""

    sizes: Sizes
    model: HSSM
    graphs: StackGraphs
    values: dict[str, np.ndarray]
    samples: np.ndarray
    epsilons: tuple[float, ...]
    assembled: Program
    simplified: Program
    held: Program  # what is quantised; `values` are all its coefficients'
    ranges: Ranges
    quantised: Program
    tables: dict[str, TableContents]
    words: dict[str, np.ndarray]


def sizes(units: tuple[str, ...] = ("linear",)) -> st.SearchStrategy[Sizes]:
    small = st.integers(1, 4)
    return st.builds(
        Sizes,
        inputs=st.integers(1, 3),
        outputs=st.integers(2, 3),
        hidden=small,
        state=st.integers(1, 3),
        blocks=st.integers(1, 2),
        complex=st.booleans(),
        task=st.sampled_from(("classification", "regression")),
        unit=st.sampled_from(units),
        seed=st.integers(0, 3),
    )


def _unit(s: Sizes) -> str | Hamiltonian:
    generator = np.random.default_rng(s.seed)

    def uniform(*shape: int) -> jax.Array:
        return jnp.asarray(generator.uniform(0.3, 0.9, shape))

    drive = jnp.asarray(generator.normal(size=(s.state, s.hidden)))
    if s.unit == "quartic":
        return Quartic(uniform(s.state), 0.1 * uniform(s.state), drive)
    if s.unit == "massive":
        return Massive(uniform(s.state), drive, uniform(s.state))
    return "linear"


@lru_cache(maxsize=64)
def build(s: Sizes, widths: Widths | None = None) -> Built:
    """The model of these sizes, calibrated on random samples and quantised."""
    model = HSSM(
        s.inputs, s.outputs, s.hidden, s.state, s.blocks, unit=_unit(s), complex=s.complex,
        task=s.task, key=jax.random.key(s.seed),  # type: ignore[arg-type]
    )  # fmt: skip
    samples = np.random.default_rng(s.seed).normal(size=(3, STEPS, s.inputs))
    source = traced(model, samples, widths=widths)
    _, epsilons = probed(source)
    assembled = verify(assemble(source.graphs, epsilons))
    real = real_program(source, epsilons)
    held, values, found = real.program, real.coefficients, ranges(source, real)
    quantised = verify(quantise(held, values, found, source.widths))
    return Built(
        s, model, source.graphs, values, samples, epsilons, assembled,
        verify(simplify(assembled)), held, found, quantised,
        program_tables(quantised, source.widths.narrow),
        coefficient_words(quantised, values),
    )  # fmt: skip
