"""The board in Python, and what a driver makes of it and of the line to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.board.check import BoardDiffers, check_memories, check_sequence, stand_in
from echoloom.backends.link import conversation as link
from echoloom.backends.link.carrier import Carrier
from echoloom.backends.link.errors import LinkError, NotLoaded, OtherEngine, PortBusy, PortLost
from echoloom.backends.link.serial import SerialPort
from echoloom.hdl.packets import FLUSH, encode
from echoloom.ir.contract import Space
from echoloom.sim.board_faults import Campaign, same
from echoloom.sim.faulty_line import faulty_line
from echoloom.sim.golden_board import GoldenBoard
from echoloom.sim.golden_served import GoldenServed, golden_board

X = np.random.default_rng(0).normal(size=(2, 3, 1))
MODEL = el.HSSM(inputs=1, outputs=2, hidden=2, state=1, blocks=1, key=jax.random.key(0))
PROGRAM = el.compile(MODEL, X, [0, 1], lanes=1)
OTHER = PROGRAM.with_parameters(
    eqx.tree_at(lambda m: m.encoder.weight, MODEL, replace_fn=lambda w: 0.9 * w)
)
MAPPED = PROGRAM.artifact.mapped


def opened(served: GoldenServed) -> el.Board:
    """Python takes its time where a circuit does not."""
    return el.open_board(served.port, timeout_s=10)


@pytest.fixture
def served() -> Iterator[GoldenServed]:
    with golden_board(MAPPED.config, MAPPED.timing) as served:
        yield served


def test_the_programs_numbers(served: GoldenServed):
    with opened(served) as board:
        with pytest.raises(NotLoaded, match="no program was loaded"):
            board.run(X[0])
        words = board.load(PROGRAM)
        assert board.load(PROGRAM) == 0
        for x in X:
            assert same(board.run(x), PROGRAM.run(x))
            assert same(board.run(x, 1), PROGRAM.run(x, 1))
        np.testing.assert_array_equal(board.predict(X[0]), PROGRAM.predict(X[0]))
        both = board.gradient(X[0], 1), PROGRAM.gradient(X[0], 1)
        assert jax.tree.all(jax.tree.map(np.array_equal, *both))
        assert 0 < board.write(OTHER) < words / 20
        assert same(board.run(X[0], 1), OTHER.run(X[0], 1))
        assert not same(board.run(X[0], 1), PROGRAM.run(X[0], 1))
        passes = board.measured(X[0], 1).passes
        assert {k: p.cycles for k, p in passes.items()} == {
            "forward": MAPPED.cycles(True, 3),
            "echo": MAPPED.cycles(False, 3),
        }
    with opened(served) as board:
        assert board.load(OTHER) == 0  # it says so itself
        assert same(board.run(X[0], 1), OTHER.run(X[0], 1))


def test_regression():
    model = el.HSSM(
        1, 1, 2, 1, 1, task="regression", output_step=2, complex=True, key=jax.random.key(1)
    )
    x = np.random.default_rng(1).normal(size=(2, 4, 1))
    program, target = el.compile(model, x, lanes=2, drains=1), np.array([[0.3], [-0.2]])
    mapped = program.artifact.mapped
    with golden_board(mapped.config, mapped.timing) as served, opened(served) as board:
        board.load(program)
        assert same(board.run(x[0], target), program.run(x[0], target))
        assert check_sequence(board, program, *stand_in(program)) > 20


def test_verify_takes_a_board(served: GoldenServed):
    report = el.verify(PROGRAM, X, [0, None], levels=["board"], port=served.port)
    assert report.levels["board"].compared > 50
    assert report.cycles["echo"].predicted == report.cycles["echo"].rtl
    with pytest.raises(ValueError, match="the level board needs a port"):
        el.verify(PROGRAM, X, levels=["board"])


def test_verify_names_what_differs(served: GoldenServed, monkeypatch: pytest.MonkeyPatch):
    write = GoldenBoard._write

    def sabotage(board: GoldenBoard, space: int, lane: int, address: int, word: int) -> None:
        write(board, space, lane, address, word + (space == Space.WEIGHT and word > 1000))

    monkeypatch.setattr(GoldenBoard, "_write", sabotage)
    with pytest.raises(el.Mismatch, match="board"):
        el.verify(PROGRAM, X, [0, None], levels=["board"], port=served.port)
    with opened(served) as board:
        with pytest.raises(BoardDiffers, match="of the board's WEIGHT memory 0 reads as"):
            check_memories(board, PROGRAM)
        with pytest.raises(BoardDiffers, match=r"the board's .* differs from NumPy's at"):
            check_sequence(board, PROGRAM, X[0], 1)


def test_a_board_that_was_reset(served: GoldenServed):
    """Whatever a user does next: a sentence, then `recover` or `load` and the right numbers."""
    mends: list[Callable[[el.Board], object]] = [el.Board.recover, lambda b: b.load(PROGRAM)]
    for mend in mends:
        for reset in (served.press_button, served.board.configure):
            with opened(served) as board:
                board.load(PROGRAM)
                reset()
                with pytest.raises(NotLoaded, match="does not hold the program any more"):
                    board.run(X[0], 1)
                assert board.status().holds is False
                mend(board)
                assert same(board.run(X[0], 1), PROGRAM.run(X[0], 1))


def test_a_board_that_is_reset_while_it_is_loaded(served: GoldenServed):
    def reset_half_way(done: int, total: int) -> None:
        if total / 2 < done < total / 2 + 32:
            served.board.configure()

    with opened(served) as board:
        with pytest.raises(LinkError, match="reset while it was loaded"):
            board.load(PROGRAM, progress=reset_half_way)
        with pytest.raises(NotLoaded):
            board.run(X[0])
        board.load(PROGRAM)
        assert same(board.run(X[0], 1), PROGRAM.run(X[0], 1))


def test_a_load_that_is_interrupted_is_no_program(served: GoldenServed):
    def interrupt(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with opened(served) as board:
        board.load(PROGRAM)
        with pytest.raises(KeyboardInterrupt):
            board.write(OTHER, progress=lambda *_: interrupt(1, 1))
        assert not board.status().marked
        board.load(PROGRAM)
        assert same(board.run(X[0], 1), PROGRAM.run(X[0], 1))


def test_one_user_and_the_right_engine(served: GoldenServed):
    other = el.compile(MODEL, X, [0, 1], lanes=2, drains=1)
    with opened(served) as board:
        with pytest.raises(PortBusy, match="in use by another program"):
            opened(served)
        with pytest.raises(OtherEngine, match="of other sizes or latencies"):
            board.load(other)
        board.load(PROGRAM)
        assert same(board.run(X[0]), PROGRAM.run(X[0]))
    with pytest.raises(PortLost, match="recover opens it again"):
        board.run(X[0])
    board.recover()
    assert same(board.run(X[0]), PROGRAM.run(X[0]))
    board.close()


def test_garbage_on_the_line_does_no_harm():
    board, random = GoldenBoard(MAPPED.config, MAPPED.timing), np.random.default_rng(3)
    for _ in range(200):
        board.feed(random.bytes(50) + bytes(FLUSH))
    assert board._memory == {}
    assert board.feed(encode(link.Command.IDENTIFY, b"", 7))[:3] == bytes([0xA5, 0x81, 7])


def test_memories_are_read_as_the_engine_says(served: GoldenServed):
    with SerialPort(served.port) as port:
        carrier = Carrier(port)
        places = [(Space.VECTOR, 0, 5), (Space.VECTOR, 0, 6), (Space.EXPONENT, 0, 0)]
        carrier.converse(link.write_all([(*places[0], -3), (*places[1], 4), (*places[2], 63)]))
        assert carrier.converse(link.read_all([*places[::-1], places[0]])) == [63, 4, -3, -3]


@pytest.mark.core
def test_faults():
    """A few dozen; benchmarks/board_faults.py does a thousand, on the circuit."""
    with (
        golden_board(MAPPED.config, MAPPED.timing, tcp=0) as served,
        faulty_line(served.port, 0.2, served.press_button) as line,
    ):
        campaign = Campaign(
            line, (PROGRAM, OTHER), X[0], 1, served.board.configure, timeout_s=0.15, limit_s=20
        )
        tally = campaign.run(24)
    assert (tally.wrong, tally.late, tally.unrecovered) == ([], [], [])
    assert tally.ended.total() == 24
    assert len({kind for kind, _ in tally.ended}) >= 5
    assert tally.repeated > 0
