"""Echoloom: Hamiltonian state-space models from JAX to FPGA fabric that infers and learns."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echoloom.backends.archive import CorruptProgram, load
    from echoloom.backends.build import build
    from echoloom.backends.compiled import CompiledProgram, Overflowed, compile
    from echoloom.backends.export_onnx import export_onnx
    from echoloom.frontend.bptt import bptt_gradient, bptt_value_and_grad
    from echoloom.frontend.hamiltonian import Hamiltonian
    from echoloom.frontend.hssm import HSSM
    from echoloom.frontend.import_rhel import import_rhel, published_gradients
    from echoloom.frontend.rhel import rhel_gradient, rhel_value_and_grad
    from echoloom.frontend.trajectory import TrajectoryCheck, trajectory_check
    from echoloom.sim.first_difference import Mismatch
    from echoloom.sim.verify import VerifyReport, verify

_HOME = {
    "CorruptProgram": "backends.archive",
    "load": "backends.archive",
    "build": "backends.build",
    "CompiledProgram": "backends.compiled",
    "Overflowed": "backends.compiled",
    "compile": "backends.compiled",
    "export_onnx": "backends.export_onnx",
    "bptt_gradient": "frontend.bptt",
    "Hamiltonian": "frontend.hamiltonian",
    "HSSM": "frontend.hssm",
    "import_rhel": "frontend.import_rhel",
    "published_gradients": "frontend.import_rhel",
    "bptt_value_and_grad": "frontend.bptt",
    "rhel_value_and_grad": "frontend.rhel",
    "TrajectoryCheck": "frontend.trajectory",
    "trajectory_check": "frontend.trajectory",
    "rhel_gradient": "frontend.rhel",
    "Mismatch": "sim.first_difference",
    "VerifyReport": "sim.verify",
    "verify": "sim.verify",
}

__all__ = [
    "HSSM",
    "CompiledProgram",
    "CorruptProgram",
    "Hamiltonian",
    "Mismatch",
    "Overflowed",
    "TrajectoryCheck",
    "VerifyReport",
    "bptt_gradient",
    "bptt_value_and_grad",
    "build",
    "compile",
    "export_onnx",
    "import_rhel",
    "load",
    "published_gradients",
    "rhel_gradient",
    "rhel_value_and_grad",
    "trajectory_check",
    "verify",
]


def __getattr__(name: str) -> Any:
    # On demand: the IR alone must not cost the seconds that JAX and Amaranth take to import.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
