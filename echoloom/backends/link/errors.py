"""What can go wrong with a board, each with one sentence that says what and what helps."""

from __future__ import annotations


class BoardError(RuntimeError):
    """A board that cannot do what it was asked. No number has come of it; `Board.recover` or the
    next `Board.load` mends what can be mended from here."""


class LinkError(BoardError):
    """The board did not answer, answered something else, or refused, and asking again did not
    help."""


class UnknownCommand(LinkError):
    """The board's link does not have the command: it was built without it, or is older."""


class PortLost(BoardError):
    """The port is not there any more: the cable was pulled, or the other end went away."""


class PortBusy(BoardError):
    """Another program has the port open."""


class OtherEngine(BoardError):
    """The board carries an engine of other sizes or latencies than the program is for."""


class NotLoaded(BoardError):
    """The board does not hold the program: it was never loaded, or the board was reset since."""


class Upset(BoardError):
    """Something on the board has changed that nobody wrote: a memory, or the numbers of a sequence
    on their way. No number of that sequence is to be trusted."""
