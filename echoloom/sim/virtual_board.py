"""A board without hardware: the FPGA's whole content in Verilator, behind a serial port.

The circuit is `hdl.board.BoardTop`, from the serial pins on: receiver and transmitter, the crossing
between the two clocks, the link, the engine. Only the PLL is replaced, by a clock of the simulator.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.board import Board, BoardTop
from echoloom.hdl.commands import LinkSizes
from echoloom.hdl.pll import PLL_PORTS
from echoloom.hdl.uart import divisor_for
from echoloom.ir.contract import EngineConfig, Timing
from echoloom.sim.builds import build, package_sources
from echoloom.sim.serial_end import serial_end
from echoloom.sim.simulation_error import SimulationError

BOARD_MHZ = 25.0
ENGINE_MHZ = 12.5  # what the link's logic needs to be quicker than the line
FASTEST = 6_250_000  # baud: the receiver needs four board clocks a bit
LIGHTS = 8
SIZES = LinkSizes(window=2048, samples=8192, listed=1024)  # a ULX3S-85F's with the demo's engine


class _Pll(wiring.Component):
    """A PLL whose output comes from outside."""

    input: Any
    passed: Any
    output: Any
    locked: Any

    def __init__(self, made: Any) -> None:
        self._made = made
        super().__init__(PLL_PORTS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [self.passed.eq(self.input), self.output.eq(self._made), self.locked.eq(1)]
        return m


@dataclass(frozen=True, kw_only=True)
class _VirtualBoard(Board):
    made: Any

    def pll(self, output_mhz: float) -> wiring.Component:
        return _Pll(self.made)


PINS = ("clock", "rx", "tx", "button", *(f"lights[{i}]" for i in range(LIGHTS)))


class VirtualTop(wiring.Component):
    """BoardTop with the engine's clock as a port. The button is pressed when it is 0."""

    clock: Any
    engine_clock: Any
    rx: Any
    tx: Any
    button: Any
    lights: Any

    def __init__(self, config: EngineConfig, timing: Timing, baud: int, sizes: LinkSizes) -> None:
        self._content = config, timing, baud, sizes
        super().__init__(
            {
                "clock": In(1),
                "engine_clock": In(1),
                "rx": In(1, init=1),
                "tx": Out(1),
                "button": In(1, init=1),
                "lights": Out(LIGHTS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, timing, baud, sizes = self._content
        board = _VirtualBoard(
            name="virtual",
            clock_mhz=BOARD_MHZ,
            pins=dict.fromkeys(PINS, ("", "")),
            pressed=0,
            made=self.engine_clock,
        )
        # Any clock but the board's own makes it ask for a PLL.
        m.submodules.top = top = BoardTop(board, config, timing, 2 * BOARD_MHZ, baud, sizes)
        m.d.comb += [
            top.clock.eq(self.clock),
            top.rx.eq(self.rx),
            top.button.eq(self.button),
            self.tx.eq(top.tx),
            self.lights.eq(top.lights),
        ]
        return m


@dataclass(frozen=True)
class Served:
    """A virtual board that runs: the port to open, and its process."""

    port: str
    process: subprocess.Popen[bytes]

    def press_button(self) -> None:
        """Reset link and engine, as the board's button does; memories keep their contents."""
        self.process.send_signal(signal.SIGUSR1)

    def wait(self) -> None:
        """Return when the board has ended. Raises SimulationError unless it was stopped."""
        if code := self.process.wait():
            raise SimulationError(f"the virtual board ended with code {code}")


@contextmanager
def virtual_board(
    config: EngineConfig,
    timing: Timing,
    *,
    tcp: int | None = None,
    baud: int = FASTEST,
    clock_mhz: float = ENGINE_MHZ,
    sizes: LinkSizes = SIZES,
) -> Iterator[Served]:
    """A board with an engine of these sizes, for as long as the context lasts.

    It is behind a pseudo-terminal, or a TCP port of this machine (0: any that is free). `baud` and
    `clock_mhz`, the serial line's speed and the engine's clock, count in the board's own time: the
    simulator takes as long as it takes for it. `sizes` are its link's. The first board of its sizes
    is compiled, which takes from ten seconds to minutes.

    Raises ValueError for a speed that the board's clock of 25 MHz cannot make, OSError for a TCP
    port that is taken, SimulationError if the build fails, ToolMissing if it cannot be tried.
    """
    divisor = divisor_for(BOARD_MHZ * 1e6, baud)
    if not 0 < clock_mhz <= 1000:
        raise ValueError(f"the engine's clock is above 0 and at most 1000 MHz, not {clock_mhz:g}")
    with serial_end(tcp) as end:
        identity = f"{package_sources()} {config} {timing} {baud} {sizes}"
        model = build(lambda: VirtualTop(config, timing, baud, sizes), "board", identity)
        periods = [str(round(1e6 / mhz)) for mhz in (BOARD_MHZ, clock_mhz)]
        number, bit = end.far.fileno(), map(str, divisor.as_integer_ratio())
        process = subprocess.Popen(
            [model / "player", "tcp" if end.tcp else "tty", str(number), *periods, *bit],
            pass_fds=[number],
            stdin=subprocess.DEVNULL,
        )
        end.far.close()  # the port ends with the process
        try:
            yield Served(end.port, process)
        finally:
            process.kill()
            process.wait()
