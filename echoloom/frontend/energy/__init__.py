"""A unit's energies: from a JAX function to a graph."""
