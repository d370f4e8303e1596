"""Levels that run a compiled program here: NumPy and JAX."""
