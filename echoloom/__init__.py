"""Echoloom: Hamiltonian state-space models from JAX to FPGA fabric that infers and learns."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echoloom.backends.bitstream.build import build
    from echoloom.backends.compile.archive import CorruptProgram, load
    from echoloom.backends.compile.calibration import CoefficientRange
    from echoloom.backends.compile.compiled import CompiledProgram, Overflowed, compile
    from echoloom.backends.gradients.batch_gradient import fixed_value_and_grad
    from echoloom.backends.gradients.fixed_gradient import FixedGradient
    from echoloom.backends.onnx.export import export_onnx
    from echoloom.backends.run.integers import InputRange
    from echoloom.frontend.energy.hamiltonian import Hamiltonian
    from echoloom.frontend.gradients.bptt import bptt_gradient, bptt_value_and_grad
    from echoloom.frontend.gradients.rhel import rhel_gradient, rhel_value_and_grad
    from echoloom.frontend.gradients.trajectory import TrajectoryCheck, trajectory_check
    from echoloom.frontend.models.hssm import HSSM, trainable
    from echoloom.frontend.models.published.import_rhel import import_rhel, published_gradients
    from echoloom.sim.first_difference import Mismatch
    from echoloom.sim.float_distance import WrongModel
    from echoloom.sim.verify import VerifyReport, verify

_HOME = {
    "CorruptProgram": "backends.compile.archive",
    "load": "backends.compile.archive",
    "build": "backends.bitstream.build",
    "CoefficientRange": "backends.compile.calibration",
    "CompiledProgram": "backends.compile.compiled",
    "Overflowed": "backends.compile.compiled",
    "compile": "backends.compile.compiled",
    "export_onnx": "backends.onnx.export",
    "FixedGradient": "backends.gradients.fixed_gradient",
    "fixed_value_and_grad": "backends.gradients.batch_gradient",
    "InputRange": "backends.run.integers",
    "bptt_gradient": "frontend.gradients.bptt",
    "Hamiltonian": "frontend.energy.hamiltonian",
    "HSSM": "frontend.models.hssm",
    "trainable": "frontend.models.hssm",
    "import_rhel": "frontend.models.published.import_rhel",
    "published_gradients": "frontend.models.published.import_rhel",
    "bptt_value_and_grad": "frontend.gradients.bptt",
    "rhel_value_and_grad": "frontend.gradients.rhel",
    "TrajectoryCheck": "frontend.gradients.trajectory",
    "trajectory_check": "frontend.gradients.trajectory",
    "rhel_gradient": "frontend.gradients.rhel",
    "Mismatch": "sim.first_difference",
    "WrongModel": "sim.float_distance",
    "VerifyReport": "sim.verify",
    "verify": "sim.verify",
}

__all__ = [
    "HSSM",
    "CoefficientRange",
    "CompiledProgram",
    "CorruptProgram",
    "FixedGradient",
    "Hamiltonian",
    "InputRange",
    "Mismatch",
    "Overflowed",
    "TrajectoryCheck",
    "VerifyReport",
    "WrongModel",
    "bptt_gradient",
    "bptt_value_and_grad",
    "build",
    "compile",
    "export_onnx",
    "fixed_value_and_grad",
    "import_rhel",
    "load",
    "published_gradients",
    "rhel_gradient",
    "rhel_value_and_grad",
    "trainable",
    "trajectory_check",
    "verify",
]


def __getattr__(name: str) -> Any:
    # On demand: the IR alone must not cost the seconds that JAX and Amaranth take to import.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
