"""The line to a board: a port that may be lost and opened again, and the conversations over it."""

from __future__ import annotations

from collections.abc import Callable

from echoloom.backends.link.carrier import Carrier, Heard
from echoloom.backends.link.conversation import Conversation, Identity, Request, T, identify
from echoloom.backends.link.errors import LinkError, PortLost
from echoloom.backends.link.serial import SerialPort
from echoloom.hdl.commands import TARGET, Command, LinkSizes

Progress = Callable[[int, int], None]
"""Called with the number of words that were written or read so far, and of all."""


class Line:
    """An open port with a board behind. `carrier` counts what went over it.

    Raises what SerialPort raises.
    """

    def __init__(self, port: str, baud: int, timeout_s: float) -> None:
        self._where = port, baud, timeout_s
        self._serial = SerialPort(*self._where)
        self._lost = False
        self.carrier = Carrier(self._serial)

    @property
    def port(self) -> str:
        """What was opened."""
        return self._where[0]

    def converse(
        self,
        conversation: Conversation[T],
        *,
        resynchronise: bool = False,
        heard: Heard = lambda request: None,
    ) -> T:
        """Carry a conversation, with the link brought into step before if asked for.

        Raises LinkError and PortLost; after the latter nothing is carried before `reopen`.
        """
        if self._lost:
            raise PortLost(f"{self.port} is closed; recover opens it again")
        try:
            if resynchronise:
                self.carrier.resynchronise()
            return self.carrier.converse(conversation, heard)
        except PortLost:
            self._lost = True
            raise

    def reopen(self) -> None:
        """Open the port again if it is gone."""
        if self._lost:
            self._serial.close()
            self._serial = SerialPort(*self._where)
            self.carrier.port = self._serial
            self._lost = False

    def greet(self) -> Identity:
        """Have the board say what it is, whatever it is doing. Raises LinkError if it does not."""
        self.carrier.window = LinkSizes().window  # it may be another board than before
        try:
            found = self.converse(identify(), resynchronise=True)
        except LinkError:
            try:
                # Louder: a reset from outside the protocol.
                self._serial.send_break()
                found = self.converse(identify(), resynchronise=True)
            except LinkError as error:
                raise LinkError(
                    f"no board answers at {self.port}: is it configured with an engine, connected, "
                    f"and set to {self._where[1]:,} baud?"
                ) from error
        self.carrier.window = found.window
        return found

    def close(self) -> None:
        """Give the port back."""
        self._serial.close()
        self._lost = True


def counting(total: int, progress: Progress | None) -> Heard:
    """Tells `progress`, if there is one, of the words that are written or read."""
    done = 0

    def heard(request: Request) -> None:
        nonlocal done
        if progress is None or request.command not in (Command.WRITE, Command.READ):
            return
        *_, count = request.numbers
        if request.command is Command.WRITE:
            count = len(request.numbers) - TARGET
        done += count
        progress(done, total)

    return heard
