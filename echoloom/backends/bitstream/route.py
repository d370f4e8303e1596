"""From an engine to a bitstream: synthesis once, routing for each seed, then the PLL's clock.

A build either gives a bitstream that met its clock, or raises; it removes the directory's older
bitstream, and what lies beside it, before it starts and puts the new one in place as its last act,
so that a bitstream that is there is always the result of the last build.

The engine's clock is in the settings of the PLL and nowhere else in the design, and the router is
told what to aim at by itself. So the clock is chosen when the design is routed, and the bitstream
is of the very placement and routes whose timing was analysed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib.wiring import Component

from echoloom.backends.bitstream.aim import Aim
from echoloom.backends.bitstream.flow import Flow
from echoloom.backends.bitstream.routing import Usage
from echoloom.backends.bitstream.targets.boards import find_board
from echoloom.backends.bitstream.targets.target import Target
from echoloom.backends.bitstream.toolrun import BuildFailed
from echoloom.backends.bitstream.tools import ToolMissing
from echoloom.backends.chips.resources import lacking, link_sizes
from echoloom.frontend.data.files import write_together
from echoloom.frontend.data.locks import alone_in
from echoloom.frontend.data.work_folders import work_folder
from echoloom.hdl.board import BOARD_CLOCK, ENGINE_CLOCK, BoardTop
from echoloom.hdl.uart import divisor_for
from echoloom.ir.blocks import CHIPS
from echoloom.ir.contract import EngineConfig, Timing

ROUTING = "routing.json"


@dataclass(frozen=True)
class SeedReport:
    """What came of one seed: `fmax_mhz`, or None and the `failure` in a sentence."""

    seed: int
    fmax_mhz: float | None
    failure: str | None
    seconds: float


@dataclass(frozen=True)
class BuildReport:
    """A finished build: `bitstream` meets `clock_mhz`, the engine's clock.

    `fmax_mhz` is what static timing analysis found possible with the best placement, `seed`'s,
    when the router aimed at `target_mhz`; `margin` is the part of it that the clock leaves, and
    `median_fmax_mhz` is over all seeds. `usage` maps luts, registers, dsps, brams and further
    resources by the device's names to what the design takes. `tools` maps names to versions.
    """

    bitstream: Path
    board: str
    clock_mhz: float
    margin: float
    target_mhz: float
    fmax_mhz: float
    median_fmax_mhz: float
    seed: int
    seeds: tuple[SeedReport, ...]
    critical_path: str
    usage: dict[str, Usage]
    tools: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class Besides:
    """Files that belong to a bitstream: their names, and what they are by its report and bytes."""

    names: tuple[str, ...]
    make: Callable[[BuildReport, bytes], Mapping[str, bytes]]


NOTHING = Besides((), lambda report, bits: {})


def to_bitstream(
    config: EngineConfig,
    timing: Timing,
    board: str = "ulx3s-85f",
    directory: Path | str = "build/bitstream",
    aim: Aim | None = None,
    *,
    baud: int | None = None,
    samples: int | None = None,
    checks: bool | None = None,
    besides: Besides = NOTHING,
) -> BuildReport:
    """Build the bitstream of an engine behind its host link; minutes.

    `baud` is the serial line's speed, the board's own if not given; `samples` are kept on the
    board, as many as `resources.link_sizes` finds room for if not given; `checks`: it has
    the command CHECK, as on larger chips if not given.

    `directory` gets `<board>.bit`, `besides`, the routing report of the best seed and the tools'
    logs. The same aim and tools give the same bitstream.

    Raises ValueError for an unknown board, a clock or a speed that it cannot make, or an engine
    that takes more block RAM or multipliers than it has, OSError if `directory` cannot be written,
    BuildFailed if a tool is missing or fails, TimingMissed (a BuildFailed) if the clock is not met.
    """
    target = find_board(board)
    check_fits(config, target)
    divisor_for(target.clock_mhz * 1e6, baud or target.baud)
    sizes = link_sizes(config, CHIPS[target.chip], samples, checks)

    def make(clock_mhz: float) -> Component:
        return BoardTop(target, config, timing, clock_mhz, baud, sizes)

    return build(make, target, Path(directory), aim or Aim(), besides)


def check_fits(config: EngineConfig, target: Target) -> None:
    """Refuse, before any work, what cannot fit: a ValueError with resource, need and supply."""
    lacks = lacking(config, CHIPS[target.chip])
    if lacks:
        raise ValueError(
            f"the program does not fit {target.name}: its engine of {config.lanes} lanes takes "
            f"{' and '.join(lacks)}; `echoloom doctor --boards` says what fits where"
        )


def build(
    make: Callable[[float], Component],
    target: Target,
    directory: Path,
    aim: Aim,
    besides: Besides = NOTHING,
) -> BuildReport:
    """Build the bitstream of any component whose ports are (some of) the board's pins.

    `make` gives the component for a clock in MHz, the board's or one of its PLL. Raises like
    `to_bitstream`.
    """
    begin = time.monotonic()
    routed_for, clock = aim.routed_for(target), aim.first_clock(target)
    top = make(clock)
    # Without a PLL the board's clock is the engine's.
    name = BOARD_CLOCK if clock == target.clock_mhz else ENGINE_CLOCK
    clocks = {BOARD_CLOCK: target.clock_mhz, name: routed_for}
    constraints = target.constraints(top, clocks)
    bitstream = directory / f"{target.name}.bit"
    with _work_directory(directory) as work:
        for stale in (
            bitstream,
            directory / ROUTING,
            *(directory / name for name in besides.names),
            *directory.glob("*.log"),
        ):
            stale.unlink(missing_ok=True)
        try:
            tools = target.toolchain()
        except ToolMissing as missing:
            raise BuildFailed(str(missing)) from missing
        flow = Flow(target, tools, work, directory)
        flow.synthesise(top, constraints)
        placements = flow.sweep(aim.seeds, aim.jobs, name)
        routed = {place.seed: place.routing for place in placements if place.routing is not None}
        seed = max(routed, key=lambda seed: routed[seed].fmax_mhz)
        best = routed[seed]
        flow.keep_report(seed, directory / ROUTING)
        chosen = aim.choose(target, best)
        if chosen != clock and not flow.retune(seed, chosen):
            flow.synthesise(make(chosen), constraints)
            best = flow.route(seed, name)
            flow.keep_report(seed, directory / ROUTING)
            aim.confirm(chosen, best)
        bits = flow.pack(seed)
        report = BuildReport(
            bitstream=bitstream,
            board=target.name,
            clock_mhz=chosen,
            margin=1 - chosen / best.fmax_mhz,
            target_mhz=routed_for,
            fmax_mhz=best.fmax_mhz,
            median_fmax_mhz=statistics.median(routing.fmax_mhz for routing in routed.values()),
            seed=seed,
            seeds=tuple(
                SeedReport(
                    place.seed,
                    place.routing and place.routing.fmax_mhz,
                    place.failure,
                    place.seconds,
                )
                for place in placements
            ),
            critical_path=best.critical_path,
            usage=dict(best.usage),
            tools={t.name: t.version for t in (tools.synthesiser, tools.router, tools.packer)},
            seconds=time.monotonic() - begin,
        )
        files = {directory / name: data for name, data in besides.make(report, bits).items()}
        write_together({**files, bitstream: bits})
    return report


@contextmanager
def _work_directory(directory: Path) -> Iterator[Path]:
    """A temporary directory inside `directory`: proves that it can be written, and lets finished
    files move within one file system.
    """
    with ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone_in(directory, "build"))
            work = stack.enter_context(work_folder("build", directory))
        except OSError as error:
            reason = error.strerror or error
            raise OSError(
                error.errno, f"cannot write a bitstream into {directory}: {reason}"
            ) from error
        yield work
