"""A serial port as the host link wants it: raw bytes, in what pieces they come, and a time-out."""

from __future__ import annotations

import os

import serial

from echoloom.hdl.board import BAUD


class SerialPort:
    """An open serial port, or what pyserial opens by a URL; a `conversation.Port`.

    Raises OSError if `path` cannot be opened or is no serial port, ValueError for a speed that
    no system has.
    """

    def __init__(self, path: str, baud: int = BAUD, timeout_s: float = 1.0) -> None:
        if baud not in serial.Serial.BAUDRATES:
            raise ValueError(f"this system has no serial speed of {baud} baud")
        try:
            self._line = serial.serial_for_url(path, baud, timeout=timeout_s)
        except serial.SerialException as error:
            if error.errno is None:
                reason = error.__context__.args[-1] if error.__context__ else error
                raise OSError(f"{path} is not a serial port: {reason}") from error
            raise OSError(error.errno, os.strerror(error.errno), path) from error

    def write(self, data: bytes, /) -> None:
        """Send all of `data`."""
        self._line.write(data)

    def read(self, most: int, /) -> bytes:
        """At least one byte and `most` at most; empty after the time-out."""
        # Asked for more than has come, pyserial would wait for the rest until the time-out.
        return self._line.read(max(1, min(most, self._line.in_waiting)))

    def reset_board(self) -> None:
        """Send a break: it resets the board's link and engine, whatever they are doing."""
        self._line.send_break()

    def close(self) -> None:
        """Give the port back."""
        self._line.close()

    def __enter__(self) -> SerialPort:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
