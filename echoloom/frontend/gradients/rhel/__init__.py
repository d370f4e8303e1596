"""Recurrent Hamiltonian Echo Learning in one sweep, every block at once, memory constant in T.

arXiv 2506.05259 (Pourcel and Ernoult), its echo theorem applied to a whole stack. The forward sweep
keeps only the final state of each block. Its momenta are then flipped, and three copies of each
block retrace the sequence: *free* gives back the forward activations, *plus* and *minus* are nudged
along the loss gradient by +-epsilon before each step. The gradient is the difference of what those
two see.

A step is drifts of q and kicks of p in turns (`parts.stages`). Turning p round undoes each of them,
so the echo makes them in reverse order, whatever the integrator and however many substeps a sample
makes. Every stage is symplectic, so the difference of the echoes is the adjoint state at every
stage, and the gradient is a sum over stages. Nothing here knows a unit's energies: all of it is
JAX's differentiation of the parts.

For a potential and a kinetic energy that are quadratic (the linear unit) the contrast is exact at
any epsilon; otherwise its error falls with epsilon squared.

In reading order: `chunks` cuts time, `rows` and `over_time` make matrix products of a chunk,
`dynamics` steps the oscillators, `forward` is the way there, `objective` what is learned from,
`echoes` and `contrast` the way back of one block, `scale` the nudge's size, `sweep` all of it for
one sequence, `value_and_grad` for a batch.
"""

from echoloom.frontend.gradients.rhel.dynamics import flip, traverse
from echoloom.frontend.gradients.rhel.value_and_grad import rhel_gradient, rhel_value_and_grad

__all__ = ["flip", "rhel_gradient", "rhel_value_and_grad", "traverse"]
