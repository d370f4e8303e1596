"""The board's whole circuit in Verilator, driven through its serial port as a user does it."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
import pytest
from small_models import target_of, tiny

import echoloom as el
from echoloom.backends.link.errors import LinkError, NotLoaded, OtherEngine, PortBusy, PortLost
from echoloom.sim.virtual_board import Served, virtual_board

pytestmark = pytest.mark.slow  # builds a circuit

PROGRAM, X = tiny()
MAPPED = PROGRAM.artifact.mapped


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with virtual_board(MAPPED.config, MAPPED.timing) as served:
        yield served


def assert_equal(found: el.RunResult, wanted: el.RunResult) -> None:
    assert found.named().keys() == wanted.named().keys()
    for name, words in wanted.named().items():
        np.testing.assert_array_equal(found.named()[name], words, name)
    np.testing.assert_array_equal(found.exponent, wanted.exponent)


def test_a_board_gives_the_programs_numbers(served: Served):
    label = target_of(PROGRAM.model, 6)
    with el.open_board(served.port) as board:
        assert board.status().holds is None
        with pytest.raises(NotLoaded, match="no program was loaded"):
            board.predict(X[0])
        told: list[tuple[int, int]] = []
        written = board.load(PROGRAM, anew=True, progress=lambda *counts: told.append(counts))
        assert told[-1] == (written, written) and len(told) > 10
        assert board.load(PROGRAM) == 0  # it is there
        assert board.status().holds
        for x in X:
            assert_equal(board.run(x), PROGRAM.run(x))
            assert_equal(board.run(x, label), PROGRAM.run(x, label))
        np.testing.assert_array_equal(board.predict(X[1]), PROGRAM.predict(X[1]))
        gradients = board.gradient(X[1], label), PROGRAM.gradient(X[1], label)
        assert jax.tree.all(jax.tree.map(np.array_equal, *gradients))
        passes = board.measured(X[0], label).passes
        assert {name: found.cycles for name, found in passes.items()} == {
            "forward": MAPPED.cycles(True, 6),
            "echo": MAPPED.cycles(False, 6),
        }
        status = board.status()
        assert (status.repeated, status.reruns, status.busy) == (0, 0, False)


def test_other_weights_are_few_words(served: Served):
    model = eqx.tree_at(lambda m: m.encoder.weight, PROGRAM.model, replace_fn=lambda w: w * 0.9)
    other = PROGRAM.with_parameters(model)
    with el.open_board(served.port) as board:
        whole = board.load(PROGRAM, anew=True)
        changed = board.write(other)
        assert 0 < changed < whole / 20
        assert_equal(board.run(X[0], 1), other.run(X[0], 1))
        assert board.write(PROGRAM) == changed
        assert_equal(board.run(X[0], 1), PROGRAM.run(X[0], 1))
    # A new session knows what is there, but not word for word.
    with el.open_board(served.port) as board:
        assert board.write(PROGRAM) == 0
        assert board.write(other) == changed


def test_a_board_has_one_user(served: Served):
    with el.open_board(served.port), pytest.raises(PortBusy, match="in use by another program"):
        el.open_board(served.port)


def test_another_engine(served: Served):
    program = el.compile(PROGRAM.model, X, lanes=1, drains=1)
    with el.open_board(served.port) as board:
        board.load(PROGRAM)
        with pytest.raises(OtherEngine, match="of other sizes or latencies"):
            board.load(program)
        with pytest.raises(NotLoaded):
            board.predict(X[0])
        board.load(PROGRAM)
        assert_equal(board.run(X[0]), PROGRAM.run(X[0]))


def test_over_tcp_a_host_is_served_that_comes_before_the_last_one_was_seen_to_go():
    with virtual_board(MAPPED.config, MAPPED.timing, tcp=0) as served:
        first = el.open_board(served.port)
        address = "localhost", int(served.port.rpartition(":")[2])
        served.process.send_signal(signal.SIGSTOP)
        first.close()
        with socket.create_connection(address):  # in the queue of a server that sees nothing yet
            pass
        with socket.create_connection(address) as second:
            served.process.send_signal(signal.SIGCONT)
            second.settimeout(0.5)
            with pytest.raises(TimeoutError):  # neither a word nor the end
                second.recv(1)
        el.open_board(served.port).close()


def test_over_tcp_with_the_server_killed_in_between():
    with virtual_board(MAPPED.config, MAPPED.timing, tcp=0) as served:
        assert served.port.startswith("socket://localhost:")
        number = int(served.port.rpartition(":")[2])
        with el.open_board(served.port) as board:
            board.load(PROGRAM)
            assert_equal(board.run(X[0], 0), PROGRAM.run(X[0], 0))
            with pytest.raises((LinkError, PortLost)):  # it takes one connection
                el.open_board(served.port, timeout_s=0.2)
            served.process.kill()
            begin = time.monotonic()
            with pytest.raises(PortLost, match="gone"):
                board.predict(X[0])
            with pytest.raises(PortLost, match="recover opens it again"):
                board.predict(X[0])
            assert time.monotonic() - begin < 3
            with pytest.raises(OSError, match="refused"):
                board.recover()
            with virtual_board(MAPPED.config, MAPPED.timing, tcp=number):
                board.recover()  # which loads the program
                assert_equal(board.run(X[0], 0), PROGRAM.run(X[0], 0))


def test_speeds_that_cannot_be():
    with pytest.raises(ValueError, match="cannot make 9000000 baud"):
        with virtual_board(MAPPED.config, MAPPED.timing, baud=9_000_000):
            pass
    with pytest.raises(ValueError, match="above 0 and at most 1000 MHz, not 0"):
        with virtual_board(replace(MAPPED.config), MAPPED.timing, clock_mhz=0):
            pass
