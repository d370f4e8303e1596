"""A board that learns: the words of `program.learn`, also where the line fails on the way."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.board.records import Trained
from echoloom.backends.engine.learning import LearningPasses
from echoloom.backends.link.errors import LinkError, NotLoaded, OtherEngine, PortLost, Upset
from echoloom.hdl.commands import Command, LinkSizes
from echoloom.hdl.golden import GoldenEngine
from echoloom.hdl.packets import PacketDecoder
from echoloom.ir.contract import Space
from echoloom.ir.engine_passes import EnginePass
from echoloom.sim.board_faults import same
from echoloom.sim.faulty_line import Fault, Way, Wrong, faulty_line
from echoloom.sim.golden_board import GoldenBoard
from echoloom.sim.golden_list import GoldenList
from echoloom.sim.golden_served import golden_board
from echoloom.sim.virtual_board import virtual_board

X = np.random.default_rng(0).normal(size=(4, 3, 1))
Y = np.array([0, 1, 1, 0])
MODEL = el.HSSM(inputs=1, outputs=2, hidden=2, state=1, blocks=1, key=jax.random.key(0))
RULES = {
    "sign": el.SignUpdate(step=2**-6, batch=2, updates=8),
    "momentum": el.SignUpdate(step=2**-6, batch=2, updates=8, momentum=True),
    "scaled": el.ScaledUpdate(step=2**-4, batch=2, updates=8, halve_at=(1,)),
}
PROGRAMS = {name: el.compile(MODEL, X, Y, lanes=1, learning=rule) for name, rule in RULES.items()}
CONFIG, TIMING = (getattr(PROGRAMS["sign"].artifact.mapped, n) for n in ("config", "timing"))


def assert_learnt(found: Trained, program: el.CompiledProgram, updates: int) -> None:
    wanted = program.learn(X, Y, updates)
    held = found.program.artifact.coefficients
    for name, words in wanted.weights.items():
        np.testing.assert_array_equal(held[name], words[-1], name)
    np.testing.assert_array_equal(found.losses, wanted.losses)
    np.testing.assert_array_equal(found.flags, wanted.forward_flags | wanted.echo_flags)
    assert found.clamped == {name: counts.sum() for name, counts in wanted.clamped.items()}
    assert found.updates == updates and found.overflowed == 0


@pytest.mark.parametrize("name", RULES)
def test_the_words_of_the_program(name: str):
    program, seen = PROGRAMS[name], list[int]()
    mapped = program.artifact.mapped
    with golden_board(mapped.config, mapped.timing) as served:
        with el.open_board(served.port, timeout_s=10) as board:
            board.load(program)

            def watch(so_far: Trained) -> None:
                seen.append(so_far.updates)
                logits = so_far.program.predict(X[0])
                np.testing.assert_array_equal(board.predict(X[0]), logits)
                board.gradient(X[1], 1)  # which leaves other sums on the board

            found = board.learn(X, Y, 3, every=2, watch=watch)
            assert seen == [2, 3]
            assert_learnt(found, program, 3)
        with el.open_board(served.port, timeout_s=10) as board:
            assert board.load(found.program) == 0  # it says so itself


@pytest.mark.parametrize(
    "wrong",
    [Wrong.FLIP, Wrong.DROP, Wrong.DOUBLE, Wrong.RESET, Wrong.CLOSE],
    ids=lambda wrong: wrong.name,
)
def test_a_fault_on_the_way(wrong: Wrong):
    program = PROGRAMS["momentum"]
    mapped = program.artifact.mapped
    with (
        golden_board(mapped.config, mapped.timing, tcp=0) as served,
        faulty_line(served.port, 1.0, served.press_button) as line,
        el.open_board(line.port, timeout_s=1) as board,
    ):
        board.load(program)
        line.arm(Fault(Way.OUT, wrong, 700))
        if wrong is Wrong.CLOSE:  # which only the user can mend
            with pytest.raises(PortLost):
                board.learn(X, Y, 3, every=1)
            board.recover()
            board.load(program)
        found = board.learn(X, Y, 3, every=1)
        assert line.happened
        assert_learnt(found, program, 3)


FEED = GoldenBoard.feed
LOSSES: dict[str, Callable[[GoldenBoard, bytes], bytes]] = {
    "request lost": lambda board, received: b"",
    "request twice": lambda board, received: FEED(board, received) + FEED(board, received),
    "reply lost": lambda board, received: FEED(board, received)[:0],
    "reply damaged": lambda board, received: (
        (own := FEED(board, received))[:-1] + bytes([own[-1] ^ 1])
    ),
}


@pytest.mark.parametrize("name", ["momentum", "scaled"])
@pytest.mark.parametrize("loss", LOSSES)
def test_an_update_is_made_once_whatever_is_lost(
    loss: str, name: str, monkeypatch: pytest.MonkeyPatch
):
    """And the training goes on from there, not from the last checkpoint."""
    program, wrong = PROGRAMS[name], list[int]()
    mapped = program.artifact.mapped

    def feed(board: GoldenBoard, received: bytes) -> bytes:
        learns = [p for p in PacketDecoder().feed(received) if p.code == Command.LEARN]
        if not learns or len(wrong) == 2:
            return FEED(board, received)
        wrong.append(learns[0].sequence)
        return LOSSES[loss](board, received)

    monkeypatch.setattr(GoldenBoard, "feed", feed)
    with (
        golden_board(mapped.config, mapped.timing) as served,
        el.open_board(served.port, timeout_s=0.5) as board,
    ):
        board.load(program)
        assert_learnt(board.learn(X, Y, 3), program, 3)
        assert len(wrong) == 2
        status = board.status()
        assert status.reruns == 0
        assert status.repeated or loss == "request twice"


def test_a_board_that_makes_updates_twice_is_found_out(monkeypatch: pytest.MonkeyPatch):
    """By the cycles that they take."""

    def learn(twin: GoldenList, number: int, begin: int, end: int, *words: int) -> None:
        for at, word in enumerate(words, begin):
            twin.write(at, word)
        twin._at, twin._end, twin._playing = begin, end, True
        twin.made = (number + 1) % 256

    monkeypatch.setattr(GoldenList, "learn", learn)
    program = PROGRAMS["sign"]
    mapped = program.artifact.mapped
    with (
        golden_board(mapped.config, mapped.timing) as served,
        el.open_board(served.port, timeout_s=10) as board,
    ):
        board.load(program)
        with pytest.raises(LinkError, match=r"an update took \d+ cycles instead of \d+"):
            board.learn(X, Y, 3)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("guard", ["memories", "twice"])
def test_guarded_boards_learn_the_same(name: str, guard: str):
    program = PROGRAMS[name]
    mapped = program.artifact.mapped
    with (
        golden_board(mapped.config, mapped.timing) as served,
        el.open_board(served.port, timeout_s=10, guard=guard) as board,
    ):
        board.load(program)
        assert_learnt(board.learn(X, Y, 3, every=2), program, 3)


@pytest.mark.parametrize("guard", ["memories", "twice"])
def test_what_flips_in_a_training_is_said_and_it_goes_on_from_the_checkpoint(
    guard: str, monkeypatch: pytest.MonkeyPatch
):
    """A table's word, and a sum that is gone when the update has read it."""
    program = PROGRAMS["sign"]
    mapped, updates = program.artifact.mapped, list[el.CompiledProgram]()
    said = {
        "memories": "word 5 of the memory TABLE 0",
        "twice": "gave other words of .* when it played the same stretch of a training again",
    }
    _, lane, address = LearningPasses(program.artifact, program.image).sum_reads[0]
    step, left = GoldenEngine.step, [1]

    def stepped(engine: GoldenEngine) -> bool:
        if len(updates) == 1 and engine._kind is EnginePass.UPDATE and left:
            left.pop()
            engine.gradient[lane][address] = ~engine.gradient[lane][address]  # its sign with it
        return step(engine)

    with (
        golden_board(mapped.config, mapped.timing) as served,
        el.open_board(served.port, timeout_s=10, guard=guard) as board,
    ):

        def watch(so_far: Trained) -> None:
            updates.append(so_far.program)
            if guard == "memories":
                (word,) = board.read([(Space.TABLE, 0, 5)])
                board._session.write_words([(Space.TABLE, 0, 5, word ^ 1 << 9)])

        board.load(program)
        if guard == "twice":
            monkeypatch.setattr(GoldenEngine, "step", stepped)
        with pytest.raises(Upset, match=said[guard]):
            board.learn(X, Y, 3, every=1, watch=watch)
        assert len(updates) == 1
        board.recover()
        assert board.status().holds
        assert same(board.run(X[0], 1), updates[0].run(X[0], 1))


def test_a_link_without_a_list_is_refused(monkeypatch: pytest.MonkeyPatch):
    program = PROGRAMS["sign"]
    mapped = program.artifact.mapped
    carry_out = GoldenBoard._carry_out

    def of_an_earlier_release(board: GoldenBoard, command: Command, numbers: list[int]) -> object:
        found = carry_out(board, command, numbers)
        return found[:6] if command is Command.IDENTIFY else found

    monkeypatch.setattr(GoldenBoard, "_carry_out", of_an_earlier_release)
    with (
        golden_board(mapped.config, mapped.timing) as served,
        el.open_board(served.port, timeout_s=10) as board,
    ):
        board.load(program)
        with pytest.raises(OtherEngine, match="a link of an earlier release, which knows no LEARN"):
            board.learn(X, Y, 3)


def test_a_board_that_was_reset_gets_the_last_checkpoint():
    program = PROGRAMS["sign"]
    mapped = program.artifact.mapped
    with (
        golden_board(mapped.config, mapped.timing) as served,
        el.open_board(served.port, timeout_s=10) as board,
    ):
        board.load(program)
        found = board.learn(X, Y, 2, every=1, watch=lambda so_far: served.press_button())
        assert_learnt(found, program, 2)
        with pytest.raises(NotLoaded, match="does not hold the program any more"):
            board.predict(X[0])


@pytest.mark.parametrize("name", RULES)
def test_a_level_of_verify(name: str):
    program = PROGRAMS[name]
    mapped = program.artifact.mapped
    with golden_board(mapped.config, mapped.timing) as served:
        report = el.verify(program, X, Y, levels=["board"], learn=2, port=served.port, batch=3)
        assert report.levels["board"].compared > 100 and report.learning is not None
        with el.open_board(served.port, timeout_s=10) as board:
            assert board.load(program) == 0
    with pytest.raises(ValueError, match="the level board needs a port"):
        el.verify(program, X, Y, levels=["board"], learn=2)


@pytest.mark.slow  # builds a circuit
def test_the_circuit():
    """Whose list is too short for an update, so that this comes in parts."""
    program = PROGRAMS["scaled"]
    mapped = program.artifact.mapped
    sizes = LinkSizes(listed=16)
    with (
        virtual_board(mapped.config, mapped.timing, sizes=sizes) as served,
        el.open_board(served.port, timeout_s=10) as board,
    ):
        board.load(program)
        assert_learnt(board.learn(X, Y, 3, every=2), program, 3)
        assert board.status().reruns == 0
