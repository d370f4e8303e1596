"""Hamiltonian state-space models in JAX: the float reference and its training."""
