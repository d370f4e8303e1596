"""Streams on a board: the state stays there, survives faults, and goes from board to board."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from small_models import tiny

import echoloom as el
from echoloom.backends.board import board as driver
from echoloom.backends.engine.requests import PassRequest
from echoloom.backends.link.errors import LinkError, NotLoaded
from echoloom.ir.sections import RESUMED
from echoloom.sim.board_faults import same
from echoloom.sim.golden_served import GoldenServed, golden_board
from echoloom.sim.virtual_board import virtual_board

X = np.clip(np.random.default_rng(2).normal(size=(12, 3)), -1.5, 1.5)
PROGRAM, _ = tiny()
MAPPED = PROGRAM.artifact.mapped


@pytest.fixture
def served() -> Iterator[GoldenServed]:
    with golden_board(MAPPED.config, MAPPED.timing) as served:
        yield served


@pytest.fixture
def board(served: GoldenServed) -> Iterator[el.Board]:
    """Python takes its time where a circuit does not."""
    with el.open_board(served.port, timeout_s=10) as board:
        board.load(PROGRAM)
        yield board


def test_a_stream_on_a_board_has_the_programs_integers(board: el.Board, tmp_path: Path) -> None:
    on_board, here = board.stream(window=4), PROGRAM.stream(window=4)
    for begin, end in ((0, 1), (1, 1), (1, 6), (6, 8)):
        assert same(on_board.run(X[begin:end]), here.run(X[begin:end]))
        assert same(on_board.echo(1), here.echo(1))
    on_board.state.save(tmp_path / "state")
    # The board does something else, then another stream there goes on with the state.
    assert same(board.run(X[:3], 1), PROGRAM.run(X[:3], 1))
    again = board.stream(window=4, initial=el.load_state(tmp_path / "state"))
    assert same(again.run(X[8:]), here.run(X[8:]))
    assert same(on_board.run(X[8:]), PROGRAM.run(X))
    assert same(again.echo(0, 2), here.echo(0, 2))


def test_the_state_stays_on_the_board(board: el.Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the board holds is not written again."""
    written: list[int] = []
    real = driver.pass_request

    def seen(*args: object) -> PassRequest:
        request: PassRequest = real(*args)  # pyright: ignore
        written.append(len(request.writes))
        return request

    monkeypatch.setattr(driver, "pass_request", seen)
    stream = board.stream(window=2)
    for _ in range(3):
        stream.run(X[:2])
    first, *others = written
    assert first > 20
    assert len(others) == 2
    # The word that says how to divide by the number of steps is the host's.
    assert others == [1, 1]


def test_a_push_that_is_lost_is_made_again(
    board: el.Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, here = board.stream(), PROGRAM.stream()
    assert same(stream.run(X[:5]), here.run(X[:5]))
    real, calls = driver.swept, list[int]()

    def lost_once(*args: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise LinkError("lost")
        return real(*args)  # pyright: ignore

    monkeypatch.setattr(driver, "swept", lost_once)
    assert same(stream.run(X[5:]), here.run(X[5:]))
    assert board.reruns == 1 and len(calls) == 2


def test_a_board_that_was_reset_goes_on_after_recover(
    board: el.Board, served: GoldenServed
) -> None:
    stream, here = board.stream(), PROGRAM.stream()
    for one in (stream, here):
        one.run(X[:5])
    for reset in (served.press_button, served.board.configure):
        reset()
        with pytest.raises(NotLoaded):
            stream.run(X[5:7])
        assert stream.steps == here.steps
        board.recover()
        assert same(stream.run(X[5:7]), here.run(X[5:7]))


def test_another_program_on_the_board(board: el.Board) -> None:
    """A stream goes on under other parameters if that is meant, and never by accident."""
    model = eqx.tree_at(lambda m: m.encoder.weight, PROGRAM.model, replace_fn=lambda w: w * 0.9)
    other, stream = PROGRAM.with_parameters(model), board.stream()
    stream.run(X[:5])
    board.write(other)
    with pytest.raises(NotLoaded, match="another program than when this stream began"):
        stream.run(X[5:])
    with pytest.raises(el.WrongState, match="made with other parameters"):
        board.stream(initial=stream.state)
    state = stream.state.under(other.artifact)
    learned = board.stream(initial=state)
    assert same(learned.run(X[5:]), other.stream(initial=state).run(X[5:]))


def test_initial_states_on_a_board(board: el.Board) -> None:
    initial = [(np.full(4, 0.1), np.full(4, -0.2))] * 2
    assert same(board.run(X, 1, initial), PROGRAM.run(X, 1, initial))
    assert not same(board.run(X, 1), board.run(X, 1, initial))


def test_streams_in_verify(served: GoldenServed) -> None:
    report = el.verify_stream(
        PROGRAM, X, [5, 0, 7], {0: 1}, window=3, levels=("board",), port=served.port
    )
    assert report.compared["board"] > 100
    report = el.verify(
        PROGRAM, X[None], [1], levels=("board",), port=served.port,
        initial=[[(np.full(4, 0.1), np.full(4, -0.2))] * 2],
    )  # fmt: skip
    assert report.cycles["resume"].rtl == MAPPED.cycles_of(RESUMED, 12)


@pytest.mark.slow
def test_a_stream_through_the_boards_circuit() -> None:
    for task in ("classification", "regression"):
        program, _ = tiny(task)
        mapped = program.artifact.mapped
        answer = 1 if task == "classification" else np.zeros((2, 2))
        with virtual_board(mapped.config, mapped.timing) as served:
            report = el.verify_stream(
                program, X, [1, 0, 4, 3, 4], {4: answer}, window=4, levels=("board",),
                port=served.port,
            )  # fmt: skip
        assert report.compared["board"] > 300


def test_a_gradient_is_a_pytree_of_the_model(board: el.Board) -> None:
    stream, here = board.stream(window=5), PROGRAM.stream(window=5)
    np.testing.assert_array_equal(stream.push(X), here.push(X))
    both = stream.gradient(1), here.gradient(1)
    assert jax.tree.all(jax.tree.map(np.array_equal, *both))
