"""In what order viewers show waves: the lanes, what all sections share, each section's values, the
circuit's streams."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from echoloom.backends.run.levels import Artifact
from echoloom.sim.wave_signals import LANES, STATE, Lane, Vector, lanes, vectors

# The circuit's own signals, as Verilator names them: the streams.
STREAMS = ("samples", "outputs")
TOP = "TOP"


@dataclass(frozen=True)
class Group:
    """Signals under one heading; a string is the path of one of the circuit's."""

    name: str
    items: tuple[Lane | Vector | str, ...]


def layout(artifact: Artifact, sections: Collection[str]) -> tuple[Group, ...]:
    """The groups; of the sections' own values those of `sections`."""
    return tuple(_groups(artifact, sections))


def _groups(artifact: Artifact, sections: Collection[str]) -> Iterator[Group]:
    yield Group(LANES, (f"{TOP}.clk", *lanes(artifact)))
    own = tuple(vectors(artifact))
    for scope in dict.fromkeys(vector.scope for vector in own):
        if scope == STATE or scope in sections:
            yield Group(scope, tuple(vector for vector in own if vector.scope == scope))
    handshakes = (f"{TOP}.{name}__{port}" for name in STREAMS for port in ("valid", "ready"))
    yield Group("streams", tuple(handshakes))
