"""A sweep through time on a board: a pass of the engine, through the link."""

from __future__ import annotations

import numpy as np

from echoloom.backends.engine.requests import COUNTERS, PassRequest, PassResult
from echoloom.backends.link.conversation import Conversation, read_all, stream, write_all
from echoloom.backends.link.errors import LinkError
from echoloom.ir.contract import Space


def run_request(request: PassRequest, cycles: int) -> Conversation[PassResult]:
    """The pass of a loaded engine, which is to count `cycles`.

    Raises LinkError for a pass that does not end, or not as it must: with other than the outputs
    that it gives, or in other than its cycles. Then something was lost, or the board was reset.
    """
    yield from write_all(request.accesses)
    outputs = yield from stream(request.frames.ravel().tolist())
    if len(outputs) != request.outputs:
        raise LinkError(f"the pass gave {len(outputs)} output words instead of {request.outputs}")
    counters = [(Space.REGISTER, 0, register) for register in COUNTERS]
    words = yield from read_all([*counters, *request.reads])
    flags, counted, stalls, busy = words[: len(COUNTERS)]
    if counted != cycles:
        raise LinkError(f"the pass took {counted} cycles instead of {cycles}")
    return PassResult(
        outputs=np.array(outputs, np.int64),
        reads=np.array(words[len(COUNTERS) :], np.int64),
        flags=flags,
        cycles=counted,
        stalls=stalls,
        busy=busy,
    )
