"""How a step is split: drifts of the position and kicks of the momentum, in turns.

A stage is undone by the same stage with the momentum turned round. The echo therefore makes the
forward pass's stages in reverse order, whatever the scheme; it need not be symmetric.

    leapfrog   drift 1/2, kick 1, drift 1/2   (arXiv 2506.05259)
    imex       kick 1, drift 1                (symplectic Euler: LinOSS-IMEX, arXiv 2410.03943)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["drift", "kick"]
Integrator = Literal["leapfrog", "imex"]


@dataclass(frozen=True)
class Stage:
    """One part of a step.

    drift: q += fraction * h * dT/dp(p); kick: p -= fraction * h * dV/dq(q, u).
    """

    kind: Kind
    fraction: float


INTEGRATORS: Mapping[Integrator, tuple[Stage, ...]] = {
    "leapfrog": (Stage("drift", 0.5), Stage("kick", 1.0), Stage("drift", 0.5)),
    "imex": (Stage("kick", 1.0), Stage("drift", 1.0)),
}


def stages_of(integrator: Integrator, substeps: int) -> tuple[Stage, ...]:
    """Everything that a sample does to a unit, in the forward pass's order."""
    return INTEGRATORS[integrator] * substeps


def merged(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """The same map in fewer stages: two drifts (or kicks) in a row are one of both their size."""
    result: list[Stage] = []
    for stage in stages:
        if result and result[-1].kind == stage.kind:
            stage = Stage(stage.kind, result.pop().fraction + stage.fraction)
        result.append(stage)
    return tuple(result)
