"""Bits that flip on a board whose numbers are guarded: one sentence, and right numbers after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.link.errors import NotLoaded, Upset
from echoloom.backends.link.image_writes import image_writes
from echoloom.hdl.commands import LinkSizes
from echoloom.hdl.golden import GoldenEngine
from echoloom.ir.contract import Register, Space
from echoloom.ir.engine_passes import EnginePass
from echoloom.sim.board_faults import same
from echoloom.sim.golden_board import SIZES
from echoloom.sim.golden_served import GoldenServed, golden_board
from echoloom.sim.virtual_board import virtual_board

X = np.random.default_rng(0).normal(size=(2, 3, 1))
MODEL = el.HSSM(inputs=1, outputs=2, hidden=2, state=1, blocks=1, key=jax.random.key(0))
PROGRAM = el.compile(MODEL, X, [0, 1], lanes=1)
MAPPED = PROGRAM.artifact.mapped
# A word of each memory that no sweep writes, and a bit of it.
PLACES = [
    (Space.WEIGHT, 0, 3, 9), (Space.TABLE, 0, 5, 40), (Space.EXPONENT, 0, 0, 5),
    (Space.MAC, 1, 2, 17), (Space.DRAIN, 0, 1, 0), (Space.SECTION, 0, 4, 3),
]  # fmt: skip


@pytest.fixture
def served() -> Iterator[GoldenServed]:
    with golden_board(MAPPED.config, MAPPED.timing) as served:
        yield served


def opened(served: GoldenServed, guard: str) -> el.Board:
    return el.open_board(served.port, timeout_s=10, guard=guard)


def flip(board: el.Board, space: Space, lane: int, address: int, bit: int) -> None:
    """Behind the driver's back."""
    (word,) = board.read([(space, lane, address)])
    board._session.write_words([(space, lane, address, word ^ 1 << bit)])


@pytest.mark.parametrize("guard", ["memories", "twice"])
def test_nothing_is_reported_where_nothing_flips(served: GoldenServed, guard: str):
    with opened(served, guard) as board:
        board.load(PROGRAM)
        board.audit()
        for x in X:
            assert same(board.run(x), PROGRAM.run(x))
            assert same(board.run(x, 1), PROGRAM.run(x, 1))
        initial = [(np.array([0.1, 0.0]), np.array([-0.2, 0.3]))]
        assert same(board.run(X[1], 1, initial), PROGRAM.run(X[1], 1, initial))
        np.testing.assert_array_equal(board.predict(X[0]), PROGRAM.predict(X[0]))


@pytest.mark.parametrize("place", PLACES, ids=[place[0].name for place in PLACES])
def test_a_flipped_bit_of_a_memory_is_named(served: GoldenServed, place):
    space, lane, address, _ = place
    with opened(served, "memories") as board:
        board.load(PROGRAM)
        flip(board, *place)
        said = rf"^word {address} of the memory {space.name} {lane} of the board at .* has flipped"
        with pytest.raises(Upset, match=said):
            board.audit()
        with pytest.raises(NotLoaded):
            board.run(X[0], 1)
        board.recover()
        board.audit()
        assert same(board.run(X[0], 1), PROGRAM.run(X[0], 1))


def test_a_flipped_register_is_named(served: GoldenServed):
    with opened(served, "memories") as board:
        board.load(PROGRAM)
        board.run(X[0], 1)
        flip(board, Space.REGISTER, 0, Register.SHIFT_LENGTH, 2)
        with pytest.raises(Upset, match=r"^the register SHIFT_LENGTH of the board at"):
            board.audit()


def strike(monkeypatch: pytest.MonkeyPatch, kind: EnginePass, at: int, how: Callable) -> None:
    """Have something happen to the engine in one cycle of the first pass of a kind."""
    step, left = GoldenEngine.step, [how]

    def stepped(engine: GoldenEngine) -> bool:
        if left and engine._kind is kind and engine.now == at:
            left.pop()(engine)
        return step(engine)

    monkeypatch.setattr(GoldenEngine, "step", stepped)


def state_of(engine: GoldenEngine) -> None:
    """The free copy's position, in the middle of its forward sweep."""
    lane, address = next(
        (lane, address) for _, lane, address in MAPPED.allocation.states["b0.free.q"].elements(1)
    )
    engine.vector[lane][address] ^= 1 << 20


def gradient_of(engine: GoldenEngine) -> None:
    name = next(sums.name for sums in PROGRAM.artifact.program.accumulators if sums.target)
    _, lane, address = next(iter(MAPPED.allocation.gradient.places[name].elements(1)))
    engine.gradient[lane][address] ^= 1 << 20


def test_states_that_do_not_come_back(served: GoldenServed, monkeypatch: pytest.MonkeyPatch):
    middle = MAPPED.cycles(True, 3) // 2
    strike(monkeypatch, EnginePass.FORWARD, middle, state_of)
    with opened(served, "memories") as board:
        board.load(PROGRAM)
        with pytest.raises(
            Upset, match=r"did not come back to where the sequence began \(b0\.free"
        ):
            board.gradient(X[0], 1)
        board.recover()
        assert same(board.run(X[0], 1), PROGRAM.run(X[0], 1))


@pytest.mark.parametrize("guard", ["memories", "twice"])
def test_a_sum_that_only_another_play_shows(
    served: GoldenServed, monkeypatch: pytest.MonkeyPatch, guard: str
):
    strike(monkeypatch, EnginePass.ECHO, MAPPED.cycles(False, 3) - 2, gradient_of)
    with opened(served, guard) as board:
        board.load(PROGRAM)
        if guard == "memories":  # what docs/trust.md says that it leaves
            assert not same(board.run(X[0], 1), PROGRAM.run(X[0], 1))
            return
        with pytest.raises(Upset, match=r"gave other words of gradient .* the same sequence again"):
            board.run(X[0], 1)
        board.recover()
        assert same(board.run(X[0], 1), PROGRAM.run(X[0], 1))


@pytest.mark.parametrize("guard", ["memories", "twice"])
def test_streams_give_what_they_give_unguarded(served: GoldenServed, guard: str):
    whole = np.concatenate([X[0], X[1]])
    with opened(served, guard) as board:
        board.load(PROGRAM)
        ours, theirs = PROGRAM.stream(window=3), board.stream(window=3)
        for chunk in (whole[:1], whole[1:5], whole[5:]):
            assert same(ours.run(chunk), theirs.run(chunk))
        for one, other in zip(
            *(jax.tree.leaves(s.gradient(1)) for s in (ours, theirs)), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_a_stream_is_played_again_from_where_it_was(
    served: GoldenServed, monkeypatch: pytest.MonkeyPatch
):
    with opened(served, "twice") as board:
        board.load(PROGRAM)
        ours, theirs = PROGRAM.stream(), board.stream()
        assert same(ours.run(X[0]), theirs.run(X[0]))
        strike(monkeypatch, EnginePass.RESUME, 5, state_of)
        with pytest.raises(Upset, match=r"other words of state .* played the same sweep again"):
            theirs.run(X[1])
        board.recover()
        assert same(ours.run(X[1]), theirs.run(X[1]))


def test_constants_in_vector_memory_are_written_anew_for_the_other_play(served: GoldenServed):
    states = {(lane, address) for place in MAPPED.allocation.states.values()
              for _, lane, address in place.elements(1)}  # fmt: skip
    constants = [row for row in image_writes(PROGRAM.image)
                 if row[0] == Space.VECTOR and row[1:3] not in states]  # fmt: skip
    assert constants
    with opened(served, "twice") as board:
        board.load(PROGRAM)
        stream = board.stream()
        stream.run(X[0])
        board._session.write_words([(*row[:3], row[3] ^ 1 << 20) for row in constants])
        with pytest.raises(Upset, match="when it played the same sweep again"):
            stream.run(X[1])


def test_a_program_that_changes_under_a_stream(served: GoldenServed):
    with opened(served, "memories") as board:
        board.load(PROGRAM)
        stream = board.stream()
        stream.run(X[0])
        flip(board, *PLACES[1])
        with pytest.raises(Upset, match="word 5 of the memory TABLE 0"):
            stream.run(X[1])


def test_a_link_without_check_is_read_instead(monkeypatch: pytest.MonkeyPatch):
    sizes = LinkSizes(SIZES.window, SIZES.samples, SIZES.listed, checks=False)
    with golden_board(MAPPED.config, MAPPED.timing, sizes=sizes) as served:
        with opened(served, "memories") as board:
            board.load(PROGRAM)
            assert same(board.run(X[0], 1), PROGRAM.run(X[0], 1))
            flip(board, *PLACES[3])
            with pytest.raises(Upset, match="word 2 of the memory MAC 1"):
                board.audit()


def test_a_guard_that_there_is_not(served: GoldenServed):
    with pytest.raises(ValueError, match="guard is 'on', but it must be off, memories or twice"):
        opened(served, "on")


def test_the_circuit_does_the_same():
    """A simulated FPGA: a weight and a column of the program."""
    with virtual_board(MAPPED.config, MAPPED.timing) as served:
        with el.open_board(served.port, timeout_s=10, guard="twice") as board:
            board.load(PROGRAM)
            assert same(board.run(X[0], 1), PROGRAM.run(X[0], 1))
            for place in PLACES:
                flip(board, *place)
                said = f"word {place[2]} of the memory {place[0].name} {place[1]}"
                with pytest.raises(Upset, match=said):
                    board.audit()
                board.recover()
                assert same(board.run(X[0], 1), PROGRAM.run(X[0], 1))
