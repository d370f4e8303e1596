"""Runs passes on the engine's golden twin: an image in plain Python, without RTL and builds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from echoloom.backends.engine.requests import COMMANDS, PassRequest, PassResult
from echoloom.hdl.golden import GoldenEngine
from echoloom.ir.contract import Image, Space
from echoloom.sim.compose import check_outputs, check_samples
from echoloom.sim.image_load import load_image
from echoloom.sim.simulation_error import SimulationError


def play(image: Image, passes: Sequence[PassRequest], trace: bool) -> list[PassResult]:
    """The results of `passes`, run back to back. There are no streams here, and no stalls.

    Raises ValueError for an image or a request that does not fit the engine, SimulationError for a
    program that leaves its memories or gives other than the outputs expected.
    """
    load_image(image)
    engine = GoldenEngine(image)
    results = []
    for number, request in enumerate(passes):
        check_samples(number, request, image)
        try:
            results.append(_play(engine, request, trace))
        except IndexError:
            raise SimulationError(
                f"pass {number} names a word that the engine's memories do not have"
            ) from None
        check_outputs(number, request, len(results[-1].outputs))
    return results


def _play(engine: GoldenEngine, request: PassRequest, trace: bool) -> PassResult:
    memories = {
        Space.WEIGHT: engine.weight,
        Space.VECTOR: engine.vector,
        Space.GRADIENT: engine.gradient,
    }
    for space, lane, address, value in request.writes:
        memories[space][lane][address] = value
    found = engine.run(
        COMMANDS[request.kind],
        frames=request.frames.tolist(),
        registers=request.registers,
    )
    return PassResult(
        outputs=np.array(found.outputs, np.int64),
        reads=np.array([memories[s][lane][at] for s, lane, at in request.reads], np.int64),
        flags=int(found.flags),
        cycles=found.cycles,
        stalls=0,
        busy=found.busy,
        clamped=found.clamped if request.by_rows else 0,
        peak=found.peak if request.by_rows else 0,
        trace=tuple(found.writes) if trace else (),
    )
