"""Echoloom: Hamiltonian state-space models from JAX to FPGA fabric that infers and learns."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echoloom.backends.archive import CorruptProgram, load
    from echoloom.backends.batch_gradient import fixed_value_and_grad
    from echoloom.backends.build import build
    from echoloom.backends.calibration import CoefficientRange
    from echoloom.backends.compiled import CompiledProgram, Overflowed, compile
    from echoloom.backends.export_onnx import export_onnx
    from echoloom.backends.fixed_gradient import FixedGradient
    from echoloom.backends.integers import InputRange
    from echoloom.frontend.bptt import bptt_gradient, bptt_value_and_grad
    from echoloom.frontend.hamiltonian import Hamiltonian
    from echoloom.frontend.hssm import HSSM, trainable
    from echoloom.frontend.import_rhel import import_rhel, published_gradients
    from echoloom.frontend.rhel import rhel_gradient, rhel_value_and_grad
    from echoloom.frontend.trajectory import TrajectoryCheck, trajectory_check
    from echoloom.sim.first_difference import Mismatch
    from echoloom.sim.float_distance import WrongModel
    from echoloom.sim.verify import VerifyReport, verify

_HOME = {
    "CorruptProgram": "backends.archive",
    "load": "backends.archive",
    "build": "backends.build",
    "CoefficientRange": "backends.calibration",
    "CompiledProgram": "backends.compiled",
    "Overflowed": "backends.compiled",
    "compile": "backends.compiled",
    "export_onnx": "backends.export_onnx",
    "FixedGradient": "backends.fixed_gradient",
    "fixed_value_and_grad": "backends.batch_gradient",
    "InputRange": "backends.integers",
    "bptt_gradient": "frontend.bptt",
    "Hamiltonian": "frontend.hamiltonian",
    "HSSM": "frontend.hssm",
    "trainable": "frontend.hssm",
    "import_rhel": "frontend.import_rhel",
    "published_gradients": "frontend.import_rhel",
    "bptt_value_and_grad": "frontend.bptt",
    "rhel_value_and_grad": "frontend.rhel",
    "TrajectoryCheck": "frontend.trajectory",
    "trajectory_check": "frontend.trajectory",
    "rhel_gradient": "frontend.rhel",
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
