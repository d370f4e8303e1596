"""What fuzzing had a golden board do for ever: it goes on, and a RESET makes it as new."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytest
from small_models import tiny

from echoloom.backends.link.conversation import all_writes
from echoloom.backends.link.image_writes import image_writes
from echoloom.hdl.commands import REPLY, Command
from echoloom.hdl.numbers import decode_numbers, encode_numbers
from echoloom.hdl.packets import PacketDecoder, encode
from echoloom.ir.contract import Register, Space
from echoloom.ir.engine_passes import EnginePass
from echoloom.sim.golden_board import GoldenBoard
from echoloom.sim.golden_store import GoldenStore

PROGRAM, X = tiny()
MAPPED = PROGRAM.artifact.mapped
BUSY, DONE = 1, 2


def ask(board: GoldenBoard, command: Command, *numbers: int) -> Sequence[int]:
    (reply,) = PacketDecoder().feed(board.feed(encode(command, encode_numbers(numbers))))
    assert reply.code == command | REPLY
    return decode_numbers(reply.payload)


def register(board: GoldenBoard, at: Register, word: int) -> None:
    ask(board, Command.WRITE, Space.REGISTER, 0, at, word)


@pytest.fixture
def board() -> GoldenBoard:
    board = GoldenBoard(MAPPED.config, MAPPED.timing)
    load(board)
    return board


def load(board: GoldenBoard) -> None:
    for request in all_writes(image_writes(PROGRAM.image, clear=True)):
        ask(board, request.command, *request.numbers)


def collect(board: GoldenBoard) -> int:
    """The status, once the pass has had time to end."""
    status = BUSY
    for _ in range(100):
        status, *_ = ask(board, Command.COLLECT, 0, 1)
        if status & DONE:
            break
    return status


def good_pass(board: GoldenBoard) -> bool:
    """Whether a pass of two steps ends."""
    ask(board, Command.RESET)
    load(board)
    frame = len(X[0][0])
    register(board, Register.LENGTH, 2)
    ask(board, Command.PLAY, 0, frame, 1, 2 * frame)
    register(board, Register.COMMAND, EnginePass.FORWARD)
    ask(board, Command.PUSH, 0, *range(2 * frame))
    return bool(collect(board) & DONE)


def test_a_pass_of_thousands_of_millions_of_steps_without_samples(board):
    register(board, Register.FRAME, 0)
    register(board, Register.LENGTH, 2**40 - 1)  # the register takes 32 bits of it
    register(board, Register.COMMAND, EnginePass.FORWARD)
    assert ask(board, Command.COLLECT, 0, 0)[0] == BUSY
    assert good_pass(board)


def test_a_play_that_stays_where_it_is(board):
    ask(board, Command.PUSH, 0, 1, 2, 3)
    assert list(ask(board, Command.PLAY, 0, 1, 0, 7)) == []
    assert good_pass(board)


def test_places_are_cut_as_the_bus_cuts_them(board):
    for at in ((Space.WEIGHT, 0, 5), (Space.WEIGHT + 16, 256, 5 + 65_536), (-15, -256, 5 - 65_536)):
        ask(board, Command.WRITE, *at, 99)
        assert list(ask(board, Command.READ, Space.WEIGHT, 0, 5, 1)) == [99]
        ask(board, Command.WRITE, Space.WEIGHT, 0, 5, 0)


def test_samples_are_taken_once_however_they_are_asked_for():
    """A play that is looked at in parts goes on where it was."""
    store = GoldenStore(8)
    store.push(0, *range(6))
    store.play(0, 2, 1, 6)
    assert list(islice(store.played(), 3)) == [0, 1, 2]
    assert store.reached == 3
    assert list(store.played()) == [3, 4, 5]
