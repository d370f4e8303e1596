"""Echoloom: Hamiltonian state-space models from JAX to fabric that infers and learns."""
