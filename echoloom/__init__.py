"""Echoloom: Hamiltonian state-space models from JAX to FPGA fabric that infers and learns."""

from echoloom.backends.compiled import CompiledProgram, Overflowed, compile
from echoloom.frontend.bptt import bptt_gradient
from echoloom.frontend.hamiltonian import Hamiltonian
from echoloom.frontend.hssm import HSSM
from echoloom.frontend.rhel import rhel_gradient

__all__ = [
    "HSSM",
    "CompiledProgram",
    "Hamiltonian",
    "Overflowed",
    "bptt_gradient",
    "compile",
    "rhel_gradient",
]
