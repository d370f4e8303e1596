"""The far end of a serial port that is none: a pseudo-terminal's, or a socket that listens."""

from __future__ import annotations

import os
import socket
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SerialEnd:
    """`far` is where the board is, a socket or a file; `port` what a host opens."""

    port: str
    far: Any

    @property
    def tcp(self) -> bool:
        """Whether hosts connect to `far`, one after the other."""
        return isinstance(self.far, socket.socket)


@contextmanager
def serial_end(tcp: int | None) -> Iterator[SerialEnd]:
    """A pseudo-terminal, or a TCP port of this machine (0: any that is free).

    Raises OSError for a port that is taken.
    """
    with ExitStack() as stack:
        if tcp is None:
            master, near = os.openpty()
            far = stack.enter_context(os.fdopen(master, "rb", buffering=0))
            # Held open: a terminal that nobody holds is an error to its far end.
            stack.callback(os.close, near)
            tty.setraw(near)
            yield SerialEnd(os.ttyname(near), far)
        else:
            far = stack.enter_context(socket.create_server(("localhost", tcp)))
            yield SerialEnd(f"socket://localhost:{far.getsockname()[1]}", far)
