"""The state of a stream: what it takes to go on with a sequence, in memory or in a file.

A file is one line of JSON that a human can read, with the program's digests and the file's own,
then the arrays it lists, little-endian. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from echoloom.backends.run.integers import Floats, Words, output_type
from echoloom.backends.run.levels import IntegerProgram
from echoloom.frontend.data.files import is_intact, read_header, sealed, write_whole
from echoloom.ir.carried import Carried, carried_types
from echoloom.ir.formats import Type
from echoloom.ir.sections import Section

FORMAT = "echoloom.stream"
VERSION = 1
STATE, SUM, OWN = "state", "sum", "own"  # kinds of arrays in a file


class WrongState(ValueError):
    """A state of another program, or no whole state of a version that this release reads."""


@dataclass(frozen=True)
class Digests:
    """Which program a state belongs to: SHA-256 of its text and output step, and of its numbers."""

    text: str
    numbers: str


@dataclass(frozen=True, eq=False)
class StreamState:
    """Everything that a stream goes on from.

    carried: the words of positions, momenta and sums, and how many steps there were. samples
    [w, inputs]: the last ones, as many as the stream keeps. outputs [n, outputs]: words; a
    regression's in those steps, a classification's logits so far (n = 0 before the first sample).
    """

    program: Digests
    carried: Carried
    samples: Floats
    outputs: Words

    @property
    def steps(self) -> int:
        """How many samples there were."""
        return self.carried.steps

    def under(self, program: IntegerProgram) -> StreamState:
        """The same state for a program that differs in its parameters only, as `with_parameters`
        gives it: a stream goes on while its model learns.

        Raises WrongState for a program with other formats.
        """
        own = digests(program)
        if own.text != self.program.text:
            raise WrongState(
                "the state belongs to a program with other formats: parameters may change while a "
                "stream goes on, but not what its words mean"
            )
        return replace(self, program=own)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, whole or not at all; `echoloom.load_state` reads it."""
        write_whole(path, self._packed())

    def _packed(self) -> bytes:
        kinds: Mapping[str, Mapping[str, Any]] = {
            STATE: self.carried.states,
            SUM: self.carried.sums,
            OWN: {"samples": self.samples, "outputs": self.outputs},
        }
        arrays = [(k, n, _little(a)) for k, own in kinds.items() for n, a in own.items()]
        payload = b"".join(array.tobytes() for _, _, array in arrays)
        header = {
            "format": FORMAT,
            "version": VERSION,
            "release": version("echoloom"),
            "program": self.program.text,
            "numbers": self.program.numbers,
            "steps": self.steps,
            "arrays": [[kind, name, a.dtype.str, a.shape] for kind, name, a in arrays],
        }
        return sealed(header, payload)


def load_state(path: str | os.PathLike[str]) -> StreamState:
    """The state that `StreamState.save` wrote. Raises WrongState, in one sentence, for any other
    file, and OSError for one that cannot be read."""
    line, _, payload = Path(path).read_bytes().partition(b"\n")
    header = read_header(line, FORMAT)
    if header is None:
        raise WrongState(f"{path}: this is no saved state of a stream; write one with state.save")
    if header.get("version") != VERSION:
        raise WrongState(
            f"{path}: the state has version {header.get('version')}, but this release reads "
            f"version {VERSION}"
        )
    if not is_intact(header, payload):
        raise WrongState(f"{path}: the state is damaged or cut off: its checksum does not match")
    try:
        return _unpacked(msgspec.convert(header, _Header), payload)
    except (KeyError, TypeError, ValueError, OverflowError, SyntaxError) as error:
        raise WrongState(
            f"{path}: the state makes no sense to this release ({error}); write it again"
        ) from error


class _Header(msgspec.Struct, frozen=True):
    """What a file says first: of an array its kind, name, type and shape."""

    program: str
    numbers: str
    steps: int
    arrays: tuple[tuple[str, str, str, tuple[Annotated[int, msgspec.Meta(ge=0)], ...]], ...]


def _unpacked(header: _Header, payload: bytes) -> StreamState:
    found: dict[str, dict[str, Any]] = {STATE: {}, SUM: {}, OWN: {}}
    start = 0
    for kind, name, dtype, shape in header.arrays:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > len(payload) - start:
            raise ValueError(f"{name} is cut off")
        part = np.frombuffer(payload[start : start + size], dtype).reshape(shape)
        found[kind][name] = part.astype(np.dtype(dtype).newbyteorder("="))
        start += size
    if start != len(payload):
        raise ValueError(f"{start} of {len(payload)} bytes")
    return StreamState(
        Digests(header.program, header.numbers),
        Carried(header.steps, found[STATE], found[SUM]),
        found[OWN]["samples"],
        found[OWN]["outputs"],
    )


def digests(program: IntegerProgram) -> Digests:
    """Of a program, whatever engine it is placed on."""
    text = f"{program.output_step}\n{program.program}"
    numbers = hashlib.sha256()
    for d in program.program.coefficients:
        numbers.update(_little(np.asarray(program.coefficients[d.name], np.int64)).tobytes())
    numbers.update(repr(sorted(program.tables.items())).encode())
    return Digests(hashlib.sha256(text.encode()).hexdigest(), numbers.hexdigest())


def check_state(program: IntegerProgram, state: StreamState) -> None:
    """Raises WrongState, in one sentence, unless the program can go on from the state."""
    own = digests(program)
    if state.program.text != own.text:
        raise WrongState("the state belongs to another program, whose words mean something else")
    if state.program.numbers != own.numbers:
        raise WrongState(
            "the state was made with other parameters than this program's; if they have changed on "
            "purpose, as in learning, give state.under(program)"
        )
    states, sums = carried_types(program.program)
    _check_words("state", state.carried.states, states)
    _check_words("sum", state.carried.sums, sums)
    count, steps = len(state.samples), state.steps
    emitted = output_type(program.program)
    if program.program.is_classification:
        outputs = min(steps, 1)
    else:
        step = program.output_step
        outputs = steps // step - (steps - count) // step
    inputs = next(iter(program.program.body(Section.FORWARD_STEP).frame)).type.size
    if state.samples.ndim != 2 or state.samples.shape[1] != inputs:
        raise WrongState(
            f"the state has samples of shape {list(state.samples.shape)}, but [w, {inputs}] is "
            "needed"
        )
    if not np.isfinite(state.samples).all():
        raise WrongState("the state has samples that are not finite")
    if not (
        type(steps) is int and count <= steps and state.outputs.shape == (outputs, emitted.size)
    ):
        raise WrongState(
            f"the state has {count} samples and {len(state.outputs)} outputs after {steps} steps, "
            "which no stream has"
        )
    _check_words("output", dict(enumerate(state.outputs)), dict.fromkeys(range(outputs), emitted))


def _check_words(kind: str, found: Mapping[Any, Words], wanted: Mapping[Any, Type]) -> None:
    if found.keys() != wanted.keys():
        raise WrongState(f"the state has not the {kind}s that this program has")
    for name, type_ in wanted.items():
        words, shape = np.asarray(found[name]), type_.shape or (1,)
        end = 1 << type_.q.width - 1
        if words.shape != shape or words.dtype != np.int64:
            raise WrongState(
                f"the state's {kind} {name} is {words.dtype} {list(words.shape)}, but "
                f"int64 {list(shape)} is needed"
            )
        outside = words[(words < -end) | (words >= end)]
        if outside.size:
            raise WrongState(
                f"the state's {kind} {name} holds {outside[0]}, which is no word of "
                f"{type_.q.width} bits"
            )


def _little(array: Any) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(array.dtype.newbyteorder("<"))
