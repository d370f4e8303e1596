"""Small hand-written engine programs and what they must compute."""

from __future__ import annotations

import numpy as np

from echoloom.backends.engine.requests import PassRequest
from echoloom.ir.arithmetic import Overflow
from echoloom.ir.contract import (
    Add,
    Destination,
    DrainEntry,
    EngineConfig,
    Image,
    MacEntry,
    Narrow,
    Register,
    SectionEntry,
    Space,
    Timing,
    XMode,
)
from echoloom.ir.entry_layouts import NEVER

CONFIG = EngineConfig(
    lanes=4,
    drains=2,
    slots=2,
    word=28,
    narrow=18,
    accumulator=54,
    weight_depth=32,
    vector_depth=32,
    gradient_depth=16,
    table_depth=32,
    exponent_depth=8,
    mac_depth=16,
    drain_depth=16,
    frame_depth=8,
    frames=2,
    output_depth=8,
)
TIMING = Timing()
FRAME = 3
SHIFT = 4
EMPTY = SectionEntry(mac=0, drain=0, length=0, last=0)


def only(mac: int, drain: int, length: int) -> SectionEntry:
    """A section whose iterations are all of one length."""
    return SectionEntry(mac, drain, length, length)


def half_even(values: np.ndarray, shift: int) -> np.ndarray:
    """round(values / 2**shift), ties to even, of integers."""
    floor, rest = values >> shift, values & (1 << shift) - 1
    half = 1 << shift - 1
    return floor + ((rest > half) | ((rest == half) & (floor & 1 == 1)))


def leaky_machine(seed: int = 0) -> Image:
    """Forward: state += round(W x / 2**SHIFT), state to the output. Echo: gradient += state * x.

    The state is vector word 0 of the four lanes; W row l, column j is weight j of lane l.
    """
    draw = np.random.default_rng(seed)
    weight = draw.integers(-(2**17), 2**17, (CONFIG.lanes, FRAME))
    state = draw.integers(-(2**20), 2**20, (CONFIG.lanes, 1))
    product = MacEntry(start=0, inner=FRAME, x_mode=XMode.INPUT, x_step=1, w_inner=1, lanes=4)
    drained = FRAME - 1 + TIMING.mac_to_slot
    update = DrainEntry(
        start=drained,
        slot=0,
        count=CONFIG.lanes,
        destination=0,
        add=Add.PLUS,
        shift=SHIFT,
        width=CONFIG.word,
        overflow=Overflow.WRAP,
    )
    written = drained + 1 + TIMING.drain_direct
    emit = MacEntry(
        start=written,
        inner=CONFIG.lanes,
        destination=Destination.EMIT,
        x_mode=XMode.BROADCAST,
        x_step=1,
    )
    outer = MacEntry(
        start=0,
        inner=FRAME,
        destination=Destination.GRADIENT,
        narrow=Narrow.Y,
        x_mode=XMode.INPUT,
        x_step=1,
        lanes=4,
    )
    end = MacEntry(start=NEVER)
    drain_end = DrainEntry(start=NEVER, slot=0, count=0, destination=0)
    return Image(
        config=CONFIG,
        weight=tuple(tuple(int(w) for w in row) for row in weight),
        vector=tuple(tuple(int(q) for q in row) for row in state),
        table=(),
        exponent=(),
        mac=(product, emit, end, outer, end),
        drain=(update, drain_end),
        sections=(
            EMPTY,
            only(0, 0, written + CONFIG.lanes),
            EMPTY,
            EMPTY,
            only(3, 1, FRAME + TIMING.gradient),
            EMPTY,
        ),
        frame=FRAME,
        timing=TIMING,
    )


STATE = tuple((Space.VECTOR, lane, 0) for lane in range(CONFIG.lanes))
GRADIENT = tuple(
    (Space.GRADIENT, lane, address) for lane in range(CONFIG.lanes) for address in range(FRAME)
)


def frames(steps: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**9), 2**9, (steps, FRAME))


def forward(words: np.ndarray, every: int = 1) -> PassRequest:
    return PassRequest(
        kind="forward",
        frames=words,
        registers={Register.OUTPUT_STEP: every},
        reads=STATE,
        outputs=CONFIG.lanes * (len(words) // every),
    )


def echo(words: np.ndarray) -> PassRequest:
    return PassRequest(kind="echo", frames=words, reads=GRADIENT)


def restore(image: Image, request: PassRequest) -> PassRequest:
    """The same pass, from the state that the image starts with."""
    writes = tuple((Space.VECTOR, lane, 0, image.vector[lane][0]) for lane in range(CONFIG.lanes))
    return PassRequest(
        request.kind, request.frames, request.registers, writes, request.reads, request.outputs
    )


def expected_states(image: Image, words: np.ndarray) -> np.ndarray:
    """The state after every step, [T, lanes]."""
    weight, state = np.array(image.weight), np.array(image.vector)[:, 0]
    steps = half_even(words @ weight.T, SHIFT)
    return state + np.cumsum(steps, axis=0)


def expected_gradient(state: np.ndarray, words: np.ndarray) -> np.ndarray:
    """GRADIENT after an echo, flat in the order of its reads; `state` has narrow size."""
    return np.outer(state, words.sum(axis=0)).ravel()
