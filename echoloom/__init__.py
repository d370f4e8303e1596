"""Echoloom: Hamiltonian state-space models from JAX to FPGA fabric that infers and learns."""

import lazy_loader

# On demand: the IR alone must not cost the seconds that JAX and Amaranth take to import.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
