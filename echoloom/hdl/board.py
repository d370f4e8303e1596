"""Boards: an engine behind its host link, with clock, reset and lights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Const,
    Module,
    ResetInserter,
    ResetSignal,
    Signal,
)
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out, connect

from echoloom.hdl.engine import Engine
from echoloom.hdl.link import Link, identity
from echoloom.hdl.pll import Pll
from echoloom.hdl.uart import UartReceiver, UartTransmitter, divisor_for
from echoloom.ir.contract import EngineConfig, Timing

BAUD = 1_000_000  # the board's USB chip makes it exactly, and so do all clocks of whole MHz
START_CYCLES = 1 << 12  # the board stays in reset for so long after configuration
LIGHT_SECONDS = 0.05  # a light that shows an event is on for so long


@dataclass(frozen=True)
class Board:
    """What the tools must know of a board; `pins` maps a port's bit to its site and attributes."""

    name: str
    device: str  # the placer's option
    package: str
    speed: int
    clock_mhz: float
    pins: Mapping[str, tuple[str, str]]


def _lights(sites: str) -> dict[str, tuple[str, str]]:
    attributes = "IO_TYPE=LVCMOS33 DRIVE=4"
    return {f"lights[{i}]": (site, attributes) for i, site in enumerate(sites.split())}


ULX3S_85F = Board(
    name="ulx3s-85f",
    device="--85k",
    package="CABGA381",
    speed=6,
    clock_mhz=25.0,
    pins={
        "clock": ("G2", "IO_TYPE=LVCMOS33"),
        "rx": ("M1", "IO_TYPE=LVCMOS33 PULLMODE=UP"),
        "tx": ("L4", "IO_TYPE=LVCMOS33"),
        "button": ("R1", "IO_TYPE=LVCMOS33 PULLMODE=DOWN"),  # FIRE 1
        "stay_on": (
            "L2",
            "IO_TYPE=LVCMOS33 PULLMODE=UP",
        ),  # low would reboot into the ESP32's image
        **_lights("B2 C2 C1 D2 D1 E2 E1 H3"),
    },
)

BOARDS: Mapping[str, Board] = {board.name: board for board in (ULX3S_85F,)}


class BoardTop(wiring.Component):
    """The whole content of the FPGA.

    Parameters: `clock_mhz`, the engine's clock, by the PLL if it is not the board's.
    Ports: `clock`; `rx` and `tx`, the serial lines; `button`, resets all (high is pressed);
    `lights`: 0 engine at work, 1 bytes from the host, 2 outputs waiting for the host,
    3 break on the line, 7 slow blinking: configured and clocked; `stay_on`, constantly high.

    Raises ValueError if the PLL or the UART cannot work with `clock_mhz`.
    """

    clock: Any
    rx: Any
    tx: Any
    button: Any
    lights: Any
    stay_on: Any

    def __init__(
        self, board: Board, config: EngineConfig, timing: Timing, clock_mhz: float | None = None
    ) -> None:
        self.clock_mhz = board.clock_mhz if clock_mhz is None else clock_mhz
        self._divisor = divisor_for(self.clock_mhz * 1e6, BAUD)
        self._pll = None
        if self.clock_mhz != board.clock_mhz:
            self._pll = Pll(board.clock_mhz, self.clock_mhz)
        self._engine = Engine(config, timing)
        self._link = Link(config, identity(config, timing))
        super().__init__(
            {
                "clock": In(1),
                "rx": In(1, init=1),
                "tx": Out(1),
                "button": In(1),
                "lights": Out(8),
                "stay_on": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = ClockDomain()
        stable = Const(1)
        if self._pll is None:
            m.d.comb += ClockSignal().eq(self.clock)
        else:
            m.submodules.pll = self._pll
            m.d.comb += [self._pll.input.eq(self.clock), ClockSignal().eq(self._pll.output)]
            stable = self._pll.locked
        m.submodules.starter = starter = _Starter()
        m.d.comb += [starter.hold.eq(self.button | ~stable), ResetSignal().eq(starter.reset)]

        engine, link = self._engine, self._link
        m.submodules.receiver = receiver = UartReceiver(self._divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self._divisor)
        # A break stops whatever goes on, also a link that waits for an engine that is stuck.
        broken, engine_reset = Signal(), Signal()
        m.d.sync += broken.eq(receiver.broken)
        m.d.sync += engine_reset.eq(receiver.broken | link.reset)
        m.submodules.link = ResetInserter(broken)(link)
        m.submodules.engine = ResetInserter(engine_reset)(engine)
        m.d.comb += [receiver.line.eq(self.rx), self.tx.eq(transmitter.line), self.stay_on.eq(1)]
        connect(m, receiver.data, link.rx)
        connect(m, link.tx, transmitter.data)
        for name in ("request", "response", "samples", "outputs"):
            connect(m, getattr(link, name), getattr(engine, name))

        writes = Signal(len(engine.trace.drains))
        m.d.comb += writes.eq(sum(port.valid << i for i, port in enumerate(engine.trace.drains)))
        events = [writes.any(), receiver.data.valid, engine.outputs.valid, receiver.broken]
        tick = round(self.clock_mhz * 1e6 * LIGHT_SECONDS)
        timer, blink = Signal(range(tick)), Signal(5)
        seen = Signal(len(events))
        m.d.sync += timer.eq(timer + 1)
        for index, event in enumerate(events):
            with m.If(event):
                m.d.sync += seen[index].eq(1)
        with m.If(timer == tick - 1):
            m.d.sync += [timer.eq(0), blink.eq(blink + 1)]
            m.d.sync += [self.lights[:4].eq(seen), self.lights[7].eq(blink[-1]), seen.eq(0)]
        return m


class _Starter(wiring.Component):
    """Holds `reset` for START_CYCLES after configuration and after `hold` (asynchronous)."""

    hold: Any
    reset: Any

    def __init__(self) -> None:
        super().__init__({"hold": In(1), "reset": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Its own domain without a reset, on the same clock: it must not be reset by itself.
        m.domains.start = ClockDomain(reset_less=True, local=True)
        m.d.comb += ClockSignal("start").eq(ClockSignal())
        held = Signal()
        left = Signal(range(START_CYCLES), init=START_CYCLES - 1)
        m.submodules.synchronizer = FFSynchronizer(self.hold, held, o_domain="start")
        m.d.start += self.reset.eq(left != 0)
        with m.If(held):
            m.d.start += left.eq(START_CYCLES - 1)
        with m.Elif(left != 0):
            m.d.start += left.eq(left - 1)
        return m
