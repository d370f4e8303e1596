"""A driver against a virtual board over a line on which one thing after the other goes wrong.

Bytes are dropped, doubled, flipped or late, the port is closed, the board reset or its server
killed, at random places of loads, writes, runs and openings. Prints how each kind ended, and fails
if a number was ever wrong, a call took too long, or a board did not come back.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import add
from typing import Protocol

import equinox as eqx
import jax
import numpy as np
from output import arguments, progress, show

import echoloom as el
from echoloom.backends.link.carrier import LONGEST
from echoloom.ir.contract import EngineConfig, Timing
from echoloom.sim.board_faults import Campaign, Tally
from echoloom.sim.faulty_line import faulty_line
from echoloom.sim.golden_served import golden_board
from echoloom.sim.virtual_board import Served, virtual_board

TIMEOUTS = 2.5  # that a line is silent for
CALLS = (
    3 * LONGEST + 20
)  # time-outs that a call may take: one request in vain in each of 3 runs, work


class Board(Protocol):
    """A board of either kind."""

    port: str

    def press_button(self) -> None: ...
    def restart(self) -> None: ...


class Virtual:
    """A virtual board in Verilator, which can be killed."""

    def __init__(self, config: EngineConfig, timing: Timing, stack: contextlib.ExitStack) -> None:
        self._sizes, self._stack = (config, timing), stack
        self._served = self._serve(0)
        self.port = self._served.port

    def _serve(self, tcp: int) -> Served:
        self._own = self._stack.enter_context(contextlib.ExitStack())
        return self._own.enter_context(virtual_board(*self._sizes, tcp=tcp))

    def press_button(self) -> None:
        self._served.press_button()

    def restart(self) -> None:
        self._own.close()
        self._served = self._serve(int(self.port.rpartition(":")[2]))


class Golden:
    """A golden board; to be restarted is to forget everything."""

    def __init__(self, config: EngineConfig, timing: Timing, stack: contextlib.ExitStack) -> None:
        served = stack.enter_context(golden_board(config, timing, tcp=0))
        self.port, self.press_button = served.port, served.press_button
        self.restart = served.board.configure


@contextlib.contextmanager
def board(golden: bool, program: el.CompiledProgram) -> Iterator[Board]:
    mapped = program.artifact.mapped
    with contextlib.ExitStack() as stack:
        yield (Golden if golden else Virtual)(mapped.config, mapped.timing, stack)


def campaign(
    found: Board,
    programs: tuple[el.CompiledProgram, el.CompiledProgram],
    x: np.ndarray,
    count: int,
    seed: int,
    options: argparse.Namespace,
) -> Tally:
    """Faults on one line, by a driver and with a board of its own."""
    timeout_s = options.timeout
    with faulty_line(found.port, TIMEOUTS * timeout_s, found.press_button) as line:
        return Campaign(
            line, programs, x, 1, found.restart,
            timeout_s=timeout_s, limit_s=CALLS * timeout_s, seed=seed,
        ).run(count, said, options.minutes)  # fmt: skip


def main() -> None:
    parser = arguments("Faults between a driver and a board.")
    parser.add_argument("--count", type=int, default=1000, help="faults")
    parser.add_argument("--minutes", type=float, help="stop after these, if there are fewer faults")
    parser.add_argument("--timeout", type=float, default=0.2, help="the driver's, in seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", type=int, default=4, help="boards at the same time")
    parser.add_argument("--golden", action="store_true", help="no RTL: the board's golden twin")
    options = parser.parse_args()
    x = np.random.default_rng(0).normal(size=(2, 6, 2))
    model = el.HSSM(
        inputs=2, outputs=2, hidden=3, state=2, blocks=1, complex=False, key=jax.random.key(0)
    )
    program = el.compile(model, x, [0, 1], lanes=2)
    scaled = eqx.tree_at(lambda m: m.encoder.weight, model, replace_fn=lambda w: 0.9 * w)
    programs = (program, program.with_parameters(scaled))
    counts = [len(range(line, options.count, options.lines)) for line in range(options.lines)]
    progress.print("building the boards")
    with ThreadPoolExecutor(options.lines) as pool, contextlib.ExitStack() as stack:
        boards = [stack.enter_context(board(options.golden, programs[0])) for _ in counts]
        runs = [
            pool.submit(campaign, found, programs, x[0], count, options.seed + line, options)
            for line, (found, count) in enumerate(zip(boards, counts, strict=True))
        ]
        tally = reduce(add, (run.result() for run in runs))
    show(
        "Faults and how they ended",
        rows(tally),
        ("amaranth", "verilator", "pyserial"),
        options.json,
    )
    print(
        f"{tally.ended.total()} faults: {len(tally.wrong)} wrong numbers, {len(tally.late)} calls "
        f"late, {len(tally.unrecovered)} boards not recovered; slowest call {tally.slowest:.1f} s; "
        f"{tally.repeated} requests sent again, {tally.reruns} sequences run again"
    )
    for bad in (tally.wrong, tally.late, tally.unrecovered):
        print(*bad, sep="\n", end="\n" if bad else "")
    sys.exit(bool(tally.wrong or tally.late or tally.unrecovered))


def said(done: int, count: int) -> None:
    if done % 25 == 0:
        progress.print(f"{done} of {count} faults on this line")


def rows(tally: Tally) -> list[dict[str, str | int]]:
    kinds = sorted({kind for kind, _ in tally.ended})
    ends = sorted({end for _, end in tally.ended})
    return [
        {"fault": kind, "count": sum(tally.ended[kind, end] for end in ends)}
        | {end: tally.ended[kind, end] for end in ends}
        for kind in kinds
    ]


if __name__ == "__main__":
    main()
