"""What goes wrong with simulations."""


class SimulationError(RuntimeError):
    """A simulation that died, hung or gave no complete result. The message says which."""
