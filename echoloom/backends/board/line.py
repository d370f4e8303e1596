"""The line to a board: a port that may be lost and opened again, and the conversations over it."""

from __future__ import annotations

from collections.abc import Callable

from echoloom.backends.link.carrier import Carrier
from echoloom.backends.link.conversation import Conversation, T, identify
from echoloom.backends.link.errors import LinkError, PortLost
from echoloom.backends.link.serial import SerialPort
from echoloom.hdl.link import TARGET_BYTES, WORD_BYTES, Command

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

    def converse(self, conversation: Conversation[T], *, resynchronise: bool = False) -> T:
        """Carry a conversation, with the link brought into step before if asked for.

        Raises LinkError and PortLost; after the latter nothing is carried before `reopen`.
        """
        if self._lost:
            raise PortLost(f"{self.port} is closed; recover opens it again")
        try:
            if resynchronise:
                self.carrier.resynchronise()
            return self.carrier.converse(conversation)
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

    def greet(self) -> None:
        """Have the board answer, whatever it is doing. Raises LinkError if it does not."""
        try:
            self.converse(identify(), resynchronise=True)
        except LinkError:
            try:
                # Louder: a reset from outside the protocol.
                self._serial.send_break()
                self.converse(identify(), resynchronise=True)
            except LinkError as error:
                raise LinkError(
                    f"no board answers at {self.port}: is it configured with an engine, connected, "
                    f"and set to {self._where[1]:,} baud?"
                ) from error

    def close(self) -> None:
        """Give the port back."""
        self._serial.close()
        self._lost = True


def told(conversation: Conversation[T], total: int, progress: Progress) -> Conversation[T]:
    """The conversation, with the words that it writes or reads counted."""
    done = 0
    request = next(conversation)
    while True:
        payload = yield request
        if request.command is Command.WRITE:
            done += (len(request.payload) - TARGET_BYTES) // WORD_BYTES
            progress(done, total)
        elif request.command is Command.READ:
            done += len(payload) // WORD_BYTES
            progress(done, total)
        try:
            request = conversation.send(payload)
        except StopIteration as finished:
            return finished.value
