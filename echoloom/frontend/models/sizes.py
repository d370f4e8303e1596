"""What a model is made of: the one place of its sizes, its choices and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.ir.scheme import Integrator

Task = Literal["classification", "regression"]
UnitName = Literal["linear", "nonlinear"]
Activation = Literal["gelu", "gelu_tanh"]


@dataclass(frozen=True)
class BlockSizes:
    """What one block is. `HSSM` takes each of these as one value for all or one a block."""

    state: int
    unit: UnitName | Hamiltonian = "linear"
    complex: bool = True
    step: float | None = None
    substeps: int = 1
    integrator: Integrator = "leapfrog"


@dataclass(frozen=True)
class Sizes:
    """What a whole stack is. Fields are named as the arguments of `HSSM` that say them."""

    inputs: int
    outputs: int
    hidden: int
    blocks: tuple[BlockSizes, ...]
    task: Task = "classification"
    output_step: int = 1
    activation: Activation = "gelu"
    classes: tuple[str, ...] = ()
