"""Echoloom: Hamiltonian state-space models from JAX to FPGA fabric that infers and learns."""

# ruff: noqa: F401 (names for users)

from __future__ import annotations

import ast
import inspect
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

# The public names and their modules, once: type checkers read it, and so does `_homes`.
if TYPE_CHECKING:
    from echoloom.backends.bitstream.build import build
    from echoloom.backends.compile.archive import CorruptProgram
    from echoloom.backends.compile.coefficients import CoefficientRange
    from echoloom.backends.compile.pipeline import compile
    from echoloom.backends.compile.program import CompiledProgram, Overflowed, load
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


def _homes() -> dict[str, str]:
    """The module of every public name, read off the imports above."""
    imports = ast.walk(ast.parse(inspect.getsource(sys.modules[__name__])))
    return {
        alias.name: node.module
        for node in imports
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(__name__)
        for alias in node.names
    }


_HOMES = _homes()


def __dir__() -> list[str]:
    return sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # On demand: the IR alone must not cost the seconds that JAX and Amaranth take to import.
    if name == "__all__":
        return sorted(_HOMES)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
