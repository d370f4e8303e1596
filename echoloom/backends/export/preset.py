"""What an exported engine holds from the start: its program, and perhaps a sweep's length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from echoloom.backends.engine.requests import PassRequest
from echoloom.backends.engine.sweeps import pass_request
from echoloom.backends.link.image_writes import image_mark
from echoloom.backends.run.integers import input_types
from echoloom.backends.run.levels import Artifact
from echoloom.hdl.axi.registers import Presets
from echoloom.hdl.contents import Contents, contents_of
from echoloom.ir.contract import Image, Register, Space
from echoloom.ir.fields import check_register
from echoloom.ir.objective import length_words


@dataclass(frozen=True)
class Preset:
    """`image` with a sweep's run-time words; `registers` beside FRAME; `presets` of the bus."""

    image: Image
    registers: Mapping[Register, int]
    presets: Presets

    @property
    def contents(self) -> Contents:
        """Of the engine's memories."""
        return contents_of(self.image, self.registers)


def preset(artifact: Artifact, image: Image, length: int | None) -> Preset:
    """With a `length`, forward sweeps of so many steps start by themselves; without one, the host
    writes what belongs to a length.

    Raises ValueError for a length that the engine's register does not hold, or that gives no
    output.
    """
    if length is not None and length < 1:
        raise ValueError(f"a sequence has one sample or more, got --length {length}")
    check_register(Register.LENGTH, length or 0)
    steps = length or 1
    objective, request = artifact.host.objective, _one_step(artifact, image, steps)
    rows = objective.rows(steps)
    if length is not None and not rows:
        raise ValueError(
            f"this program gives an output every {objective.every} samples: a sequence of {length} "
            "has none; give a larger --length"
        )
    known = length is not None or objective.rows(1) == objective.rows(2)
    outputs = request.outputs * rows if known else 0
    registers = {Register.OUTPUT_STEP: objective.every}
    if length is not None:
        registers |= {Register.LENGTH: length, Register.SHIFT_LENGTH: length_words(length)[0]}
        image = replace(image, vector=_written(image, request))
    return Preset(image, registers, Presets(outputs, length is not None, image_mark(image)))


def _one_step(artifact: Artifact, image: Image, length: int) -> PassRequest:
    """The pass of a single step that gives one output, with the run-time words of `length`."""
    host = artifact.host
    sweep = host.forward(np.zeros((1, input_types(artifact.program)["x"].size)))
    runtime = {
        name: host.encode(name, value) for name, value in host.objective.runtime(length).items()
    }
    return pass_request(artifact, image, replace(sweep, runtime=runtime, rows=1))


def _written(image: Image, request: PassRequest) -> tuple[tuple[int, ...], ...]:
    """Vector memory with the words that a pass writes."""
    banks = [list(bank) for bank in image.vector]
    for space, lane, address, word in request.writes:
        assert space is Space.VECTOR
        banks[lane] += [0] * (address + 1 - len(banks[lane]))
        banks[lane][address] = word
    return tuple(map(tuple, banks))
