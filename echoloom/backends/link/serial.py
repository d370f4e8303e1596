"""A serial port on a POSIX system, as the host link wants it: raw bytes and a time-out."""

from __future__ import annotations

import os
import select
import termios
import tty
from types import TracebackType

from echoloom.hdl.board import BAUD

CONTROL, SPEED_IN, SPEED_OUT = 2, 4, 5  # places in termios' list of attributes


class SerialPort:
    """An open serial port; a `host.Port`. Use it as a context manager.

    Raises OSError if `path` cannot be opened or is no serial port, ValueError for a speed that
    the system does not know.
    """

    def __init__(self, path: str, baud: int = BAUD, timeout_s: float = 1.0) -> None:
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise ValueError(f"this system has no serial speed of {baud} baud")
        self._timeout_s = timeout_s
        self._file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        try:
            tty.setraw(self._file)
            attributes = termios.tcgetattr(self._file)
            attributes[CONTROL] &= ~(termios.PARENB | termios.CSTOPB | termios.CRTSCTS)
            attributes[CONTROL] |= termios.CS8 | termios.CLOCAL | termios.CREAD
            attributes[SPEED_IN] = attributes[SPEED_OUT] = speed
            termios.tcsetattr(self._file, termios.TCSANOW, attributes)
            termios.tcflush(self._file, termios.TCIOFLUSH)
        except termios.error as error:
            os.close(self._file)
            raise OSError(f"{path} is not a serial port: {error.args[-1]}") from error

    def write(self, data: bytes, /) -> None:
        """Send all of `data`."""
        while data:
            data = data[os.write(self._file, data) :]

    def read(self, most: int, /) -> bytes:
        """At least one byte and `most` at most; empty after the time-out."""
        ready, _, _ = select.select([self._file], [], [], self._timeout_s)
        return os.read(self._file, most) if ready else b""

    def reset_board(self) -> None:
        """Send a break: it resets the board's link and engine, whatever they are doing."""
        termios.tcsendbreak(self._file, 0)

    def close(self) -> None:
        """Give the port back."""
        os.close(self._file)

    def __enter__(self) -> SerialPort:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
