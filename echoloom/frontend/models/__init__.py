"""Hamiltonian state-space models: parameters, sizes and files."""
