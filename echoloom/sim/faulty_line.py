"""A line between a driver and a board that does one thing wrong when it is told to."""

from __future__ import annotations

import enum
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

READ_S = 0.02  # between looks whether to stop


class Way(enum.Enum):
    """Which bytes a fault is among."""

    OUT = "to the board"
    IN = "from the board"


class Wrong(enum.Enum):
    """What happens to a byte, or because of it."""

    DROP = "byte dropped"
    DOUBLE = "byte doubled"
    FLIP = "bit flipped"
    STALL = "line silent for longer than the time-out"
    RESET = "board reset by its button"
    CLOSE = "port closed"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the `at`-th byte from now on that goes `way`; `bit` is for FLIP."""

    way: Way
    wrong: Wrong
    at: int
    bit: int = 0


class FaultyLine:
    """`port` is what a driver opens, `carried` counts the bytes since `arm`."""

    def __init__(
        self, board: tuple[str, int], stall_s: float, press_button: Callable[[], None]
    ) -> None:
        self._board, self._stall_s, self._press_button = board, stall_s, press_button
        self._listening = socket.create_server(("localhost", 0))
        self.port = f"socket://localhost:{self._listening.getsockname()[1]}"
        self._lock, self.stop = threading.Lock(), threading.Event()
        self._fault: Fault | None = None
        self.carried = dict.fromkeys(Way, 0)

    def arm(self, fault: Fault | None) -> None:
        """Count anew; from now on `fault` is what is to happen."""
        with self._lock:
            self._fault, self.carried = fault, dict.fromkeys(Way, 0)

    @property
    def happened(self) -> bool:
        """Whether the fault that was armed has happened."""
        return self._fault is None

    def run(self) -> None:
        """Carry until `stop` is set; one driver at a time."""
        while not self.stop.is_set():
            if select.select([self._listening], [], [], READ_S)[0]:
                with self._listening.accept()[0] as driver:
                    try:
                        with socket.create_connection(self._board) as board:
                            self._carry(driver, board)
                    except OSError:
                        continue  # one of both is gone, and the other is told so
        self._listening.close()

    def _carry(self, driver: socket.socket, board: socket.socket) -> None:
        ends = {driver: (Way.OUT, board), board: (Way.IN, driver)}
        while not self.stop.is_set():
            for end in select.select(list(ends), [], [], READ_S)[0]:
                way, other = ends[end]
                received = end.recv(4096)
                if not received:
                    return
                carried = self._pass(way, received)
                if carried is None:
                    return
                other.sendall(carried)

    def _pass(self, way: Way, data: bytes) -> bytes | None:
        """What arrives of `data`; None if the port is closed at it."""
        with self._lock:
            start = self.carried[way]
            self.carried[way] += len(data)
            fault = self._fault
            if fault is None or fault.way is not way or fault.at >= start + len(data):
                return data
            self._fault = None
        at = max(0, fault.at - start)
        before, byte, after = data[:at], data[at : at + 1], data[at + 1 :]
        if fault.wrong is Wrong.CLOSE:
            return None
        if fault.wrong is Wrong.RESET:
            self._press_button()
            return data
        if fault.wrong is Wrong.STALL:
            self.stop.wait(self._stall_s)
            return data
        if fault.wrong is Wrong.DROP:
            return before + after
        if fault.wrong is Wrong.DOUBLE:
            return before + byte + byte + after
        return before + bytes([byte[0] ^ 1 << fault.bit]) + after


@contextmanager
def faulty_line(
    port: str, stall_s: float, press_button: Callable[[], None]
) -> Iterator[FaultyLine]:
    """A line to the board at a TCP port, "socket://localhost:4000"."""
    where = urlsplit(port)
    line = FaultyLine((where.hostname or "", where.port or 0), stall_s, press_button)
    thread = threading.Thread(target=line.run, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        line.stop.set()
        thread.join()
