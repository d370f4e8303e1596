"""From an image and passes to a script, and from a recording back to the passes' results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from echoloom.backends.engine.requests import SECTIONS, Kind, PassRequest, PassResult, counted
from echoloom.hdl.engine import Engine
from echoloom.hdl.layouts import REQUEST
from echoloom.ir.contract import Image, Register, Space
from echoloom.ir.engine_passes import REPEATED
from echoloom.sim.bench import sign_extend, trace_columns, trace_writes
from echoloom.sim.image_load import load_image, reads, writes
from echoloom.sim.script import TURN, Recording, Script, draw_gaps, pack_fields, total_gap
from echoloom.sim.simulation_error import SimulationError


def predicted_cycles(image: Image, kind: Kind, steps: int) -> int:
    """Clock cycles of a pass that never waits: what Register.CYCLES must count."""
    overhead = image.timing.overhead
    return sum(
        image.sections[s].cycles(steps if s in REPEATED else 1, overhead) for s in SECTIONS[kind]
    )


def _before(number: int, request: PassRequest, load: np.ndarray) -> np.ndarray:
    """All requests up to the one that starts the pass."""
    own = writes(request.accesses)
    return own if number else np.concatenate([load, own])


def _after(request: PassRequest) -> np.ndarray:
    return reads(
        [*((Space.REGISTER, 0, register) for register in request.counters), *request.reads]
    )


def check_samples(number: int, request: PassRequest, image: Image) -> None:
    """ValueError for frames that the engine would cut."""
    frames, word = request.frames, image.config.word
    if not request.by_rows and frames.shape[1] != image.frame:
        raise ValueError(
            f"pass {number} has frames of {frames.shape[1]} elements, the image {image.frame}"
        )
    limit = 1 << word - 1
    if frames.size and not (-limit <= frames.min() and frames.max() < limit):
        raise ValueError(f"a sample of pass {number} does not fit in {word} signed bits")


def check_outputs(number: int, request: PassRequest, count: int) -> None:
    """SimulationError for other than the output words that a pass must give."""
    if count != request.outputs:
        raise SimulationError(
            f"pass {number} gave {count} output words, expected {request.outputs}"
        )


def _samples(number: int, request: PassRequest, image: Image) -> np.ndarray:
    """The payload bits of a pass's samples."""
    check_samples(number, request, image)
    return request.frames.ravel().astype(np.uint64) & np.uint64((1 << image.config.word) - 1)


def compose(
    image: Image,
    passes: Sequence[PassRequest],
    *,
    stall_seed: int | None = None,
    trace: bool = False,
) -> Script:
    """The script that loads `image` and runs `passes`.

    Raises ValueError if a request does not fit the image or the image not the engine.
    """
    steps = [section.length for section in image.sections]
    gaps = draw_gaps(stall_seed, longest=2 * max(steps, default=0) + 16)
    load = load_image(image)
    befores = [_before(number, request, load) for number, request in enumerate(passes)]
    samples = [_samples(number, request, image) for number, request in enumerate(passes)]
    afters = [_after(request) for request in passes]
    turns = []
    for request, before, words, after in zip(passes, befores, samples, afters, strict=True):
        cycles = predicted_cycles(image, request.kind, len(request.frames))
        poll = max(16, cycles // 64)
        words_moved = len(words) + request.outputs + 4 * (len(before) + len(after))
        waits = (
            total_gap(gaps["samples"], len(words))
            + total_gap(gaps["outputs"], request.outputs)
            + total_gap(gaps["request"], len(before) + len(after))
            + total_gap(gaps["response"], len(after))
            + Engine.read_latency(image.config) * len(after)
        )
        # Far above what any working engine needs: only one that hangs gets there.
        limit = 10_000 + 4 * (cycles + words_moved + waits)
        turns.append((len(before), len(words), request.outputs, cycles, poll, len(after), limit))
    requests = [part for pair in zip(befores, afters, strict=True) for part in pair]
    return Script(
        turns=np.array(turns, dtype=TURN),
        requests=_payloads(np.concatenate(requests)),
        poll=_payloads(reads([(Space.REGISTER, 0, Register.STATUS)])),
        samples=np.concatenate(samples),
        trace_columns=np.array([trace_columns(image.config) if trace else 0], dtype=np.uint64),
        **{f"gaps_{stream}": clocks for stream, clocks in gaps.items()},
    )


def _payloads(accesses: np.ndarray) -> np.ndarray:
    """Host accesses as words of the `request` stream."""
    places = {name: (field.offset, field.width) for name, field in REQUEST}
    return pack_fields({name: accesses[name] for name in places}, places)


def results(image: Image, passes: Sequence[PassRequest], recording: Recording) -> list[PassResult]:
    """The results of `passes`, in order.

    Raises SimulationError if the recording holds not exactly what the passes must give.
    """
    marks = recording.marks
    if len(marks) != len(passes):
        raise SimulationError(f"the simulation recorded {len(marks)} of {len(passes)} passes")
    found: list[PassResult] = []
    first = dict.fromkeys(("outputs", "responses", "trace"), 0)
    for number, (request, mark) in enumerate(zip(passes, marks, strict=True)):
        last = {name: int(mark[name]) for name in first}
        if number == len(passes) - 1:
            # Words that came after the end are words that nobody asked for.
            last["outputs"] = len(recording.outputs)
            last["responses"] = len(recording.responses)
        outputs = recording.outputs[first["outputs"] : last["outputs"]]
        check_outputs(number, request, len(outputs))
        responses = recording.responses[first["responses"] : last["responses"]].view(np.int64)
        counters = request.counters
        if len(responses) != len(counters) + len(request.reads):
            raise SimulationError(
                f"pass {number} answered {len(responses)} reads, "
                f"expected {len(counters) + len(request.reads)}"
            )
        found.append(
            PassResult(
                outputs=sign_extend(outputs, image.config.word),
                reads=responses[len(counters) :].copy(),
                **counted(counters, responses),
                trace=trace_writes(image.config, recording.trace[first["trace"] : last["trace"]]),
            )
        )
        first = last
    return found
