"""A pass of the golden engine that a board can stop, whatever the host has had it begin."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from echoloom.hdl.golden import GoldenEngine
from echoloom.hdl.pass_results import PassResult


def run_until(engine: GoldenEngine, stopped: threading.Event) -> PassResult:
    """What came of the pass that was begun, up to its end or until `stopped`."""
    while engine.step():
        if stopped.is_set():
            break
    return engine.end()


@dataclass(frozen=True)
class NoSamples(Sequence[Sequence[int]]):
    """Frames without samples, of which a host may ask for thousands of millions."""

    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        return ()
