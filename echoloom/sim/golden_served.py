"""The golden board at a port: served from a thread of this process."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from echoloom.hdl.commands import LinkSizes
from echoloom.ir.contract import EngineConfig, Timing
from echoloom.sim.golden_board import SIZES, GoldenBoard
from echoloom.sim.serial_end import serial_end

READ_S = 0.05  # between looks whether to stop


@dataclass(frozen=True)
class GoldenServed:
    """A golden board that runs in this process."""

    port: str
    board: GoldenBoard

    def press_button(self) -> None:
        """As a virtual board's."""
        self.board.reset()

    def wait(self) -> None:
        """Wait until interrupted."""
        threading.Event().wait()


@contextmanager
def golden_board(
    config: EngineConfig, timing: Timing, *, tcp: int | None = None, sizes: LinkSizes = SIZES
) -> Iterator[GoldenServed]:
    """As `virtual_board`, on a thread of this process. Raises OSError for a port that is taken."""
    board, stop = GoldenBoard(config, timing, sizes), threading.Event()
    with ExitStack() as stack:
        end = stack.enter_context(serial_end(tcp))
        thread = threading.Thread(target=_serve, args=[board, end.far, stop], daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        yield GoldenServed(end.port, board)


def _serve(board: GoldenBoard, far: Any, stop: threading.Event) -> None:
    if not isinstance(far, socket.socket):
        _exchange(board, far.fileno(), stop)
        return
    while not stop.is_set():
        if select.select([far], [], [], READ_S)[0]:
            with far.accept()[0] as connection:
                _exchange(board, connection.fileno(), stop)


def _exchange(board: GoldenBoard, fd: int, stop: threading.Event) -> None:
    while not stop.is_set():
        if not select.select([fd], [], [], READ_S)[0]:
            continue
        try:
            received = os.read(fd, 4096)
            if not received:
                return
            replies = board.feed(received)
            while replies:
                replies = replies[os.write(fd, replies) :]
        except OSError:
            return  # the host is gone
