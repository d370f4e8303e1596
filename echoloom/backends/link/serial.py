"""A serial port as the host link wants it: raw bytes, time-outs, and nobody else on it."""

from __future__ import annotations

import contextlib
import errno
import os
import termios
from collections.abc import Iterator
from urllib.parse import urlsplit

import serial
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from echoloom.backends.link.errors import LinkError, PortBusy, PortLost
from echoloom.hdl.board import BAUD

# What boards' own USB chips make, by their vendor's and product's numbers: FT231X, FT2232H. The
# latter makes more, which boards of this package have no clock for.
CHIPS = {(0x0403, 0x6015): 3_000_000, (0x0403, 0x6010): 3_000_000}
BREAK_S = 0.02  # many times longer than a byte


def usual_baud(path: str) -> int:
    """The speed of the boards that come with the USB chip at `path`; BAUD if it is another one."""
    for port in list_ports.comports():
        if os.path.realpath(path) == os.path.realpath(port.device):
            return baud_of(port)
    return BAUD


def baud_of(port: ListPortInfo) -> int:
    """The speed of the boards that come with this port's chip."""
    return CHIPS.get((port.vid, port.pid), BAUD)


class SerialPort:
    """An open serial port, or what pyserial opens by a URL; a `carrier.Port`. Its driver is asked
    to hand over what has come at once, where it can.

    Raises OSError if `path` cannot be opened or is no serial port, PortBusy if another program has
    it, ValueError for a speed that no system has.
    """

    def __init__(self, path: str, baud: int = BAUD, timeout_s: float = 1.0) -> None:
        if baud not in serial.Serial.BAUDRATES:
            raise ValueError(f"this system has no serial speed of {baud} baud")
        self.path, self.timeout_s = path, timeout_s
        # Two programs on one line would each get a part of the other's replies.
        by_url = bool(urlsplit(path).scheme)
        exclusive = None if by_url else True
        try:
            self._line = serial.serial_for_url(
                path, baud, timeout=timeout_s, write_timeout=timeout_s, exclusive=exclusive
            )
        except serial.SerialException as error:
            if error.errno in (errno.EAGAIN, errno.EBUSY):
                raise PortBusy(f"{path} is in use by another program; close that first") from error
            if error.errno is None:
                reason = error.__context__.args[-1] if error.__context__ else error
                what = "cannot be opened" if by_url else "is not a serial port"
                raise OSError(f"{path} {what}: {reason}") from error
            raise OSError(error.errno, os.strerror(error.errno), path) from error
        with contextlib.suppress(AttributeError, NotImplementedError, OSError, ValueError):
            self._line.set_low_latency_mode(True)

    def write(self, data: bytes, /) -> None:
        """Send all of `data`. Raises LinkError if nobody takes it within the time-out."""
        with self._watched():
            try:
                self._line.write(data)
            except serial.SerialTimeoutException as error:
                raise LinkError(
                    f"{self.path} takes no bytes any more: whoever is behind it does not listen"
                ) from error

    def read(self, count: int, /) -> bytes:
        """`count` bytes; fewer after the time-out."""
        with self._watched():
            return self._line.read(count)

    def drop(self) -> None:
        """Forget what has come and was not read."""
        with self._watched():
            self._line.reset_input_buffer()

    def send_break(self) -> None:
        """Hold the line low for longer than a byte, which resets a board as its button does. A line
        that is no wire does not carry it."""
        with self._watched():
            self._line.send_break(BREAK_S)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Whatever the system says of a port that is gone becomes PortLost."""
        try:
            yield
        except (OSError, TypeError, termios.error) as error:  # TypeError: pyserial's, once closed
            raise PortLost(
                f"{self.path} is gone ({error}); connect the board again and recover"
            ) from error

    def close(self) -> None:
        """Give the port back."""
        with contextlib.suppress(OSError, termios.error):
            self._line.close()

    def __enter__(self) -> SerialPort:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
