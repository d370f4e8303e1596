"""A sweep through time on a board: a pass of the engine, through the link."""

from __future__ import annotations

import numpy as np

from echoloom.backends.engine.requests import PassRequest, PassResult, counted
from echoloom.backends.link.conversation import Conversation, Identity
from echoloom.backends.link.ends import Ends
from echoloom.backends.link.errors import LinkError
from echoloom.backends.link.passes import run_pass
from echoloom.ir.contract import Space


def run_request(
    request: PassRequest, cycles: int, ends: Ends
) -> Conversation[tuple[PassResult, Identity]]:
    """The pass of a loaded engine, which is to count `cycles`, and what the board says of itself
    after it.

    Raises LinkError for a pass that does not end, or not as it must: with other than the outputs
    that it gives, or in other than its cycles. Then something was lost, or the board was reset.
    """
    counters = [(Space.REGISTER, 0, register) for register in request.counters]
    places = [*counters, *request.reads]
    found = yield from run_pass(
        ends, request.accesses, request.frames, places, request.outputs, cycles
    )
    outputs = found.outputs
    if len(outputs) != request.outputs:
        raise LinkError(f"the pass gave {len(outputs)} output words instead of {request.outputs}")
    counts = counted(request.counters, found.words)
    if counts["cycles"] != cycles:
        raise LinkError(f"the pass took {counts['cycles']} cycles instead of {cycles}")
    result = PassResult(
        outputs=np.array(outputs, np.int64),
        reads=np.array(found.words[len(counts) :], np.int64),
        **counts,
    )
    return result, found.identity
