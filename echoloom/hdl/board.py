"""Boards: an engine behind its host link, with clock, reset and lights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Module,
    ResetInserter,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out, connect

from echoloom.hdl.commands import LinkSizes, identity
from echoloom.hdl.crossing import Crossing
from echoloom.hdl.engine import Engine
from echoloom.hdl.link import Link
from echoloom.hdl.uart import UartReceiver, UartTransmitter, divisor_for
from echoloom.ir.contract import EngineConfig, Timing

BAUD = 1_000_000  # every USB chip makes it exactly, and so do all clocks of whole MHz
START_CYCLES = 1 << 12  # of the board's clock: so long it stays in reset after configuration
LIGHT_SECONDS = 0.05  # a light that shows an event is on for so long
BOARD_CLOCK = "clock"  # what the tools call the board's clock,
ENGINE_CLOCK = "clk"  # and the engine's where a PLL makes it


@dataclass(frozen=True, kw_only=True)
class Board:
    """What the hardware must know of a board; a target adds what the tools must know.

    `pins` maps a port's bit to its site and attributes; `clock`, `rx` and `tx` must be there, the
    others are left out of the design where they are not on the board. The board's clock also times
    the serial line; `baud` is the line's speed unless a design asks for another.
    """

    name: str
    clock_mhz: float
    pins: Mapping[str, tuple[str, str]]
    pressed: int = 1  # the button's level when it is pressed
    lit: int = 1  # the level that lights a light
    baud: int = BAUD

    @property
    def lights(self) -> int:
        """How many lights it has."""
        return sum(pin.startswith("lights[") for pin in self.pins)

    def pll(self, output_mhz: float) -> wiring.Component:
        """A component with PLL_PORTS. Raises ValueError for a clock that it cannot make."""
        raise NotImplementedError


class BoardTop(wiring.Component):
    """The whole content of the FPGA.

    The serial line runs on the board's clock and the engine on its own: the engine's frequency
    is in the PLL's settings and nowhere else, so that it can be chosen when all is routed.

    Parameters: `clock_mhz`, the engine's clock, by the PLL if it is not the board's; `baud`, the
    serial line's speed if it is not the board's; `sizes`, the link's.
    Ports: `clock`; `rx` and `tx`, the serial lines; `button`, resets all; `lights`: 0 engine at
    work, 1 bytes from the host, 2 outputs waiting for the host, 3 break on the line (as many as
    there are), the last slowly blinking: configured and clocked; `stay_on`, constantly high.

    Raises ValueError if the PLL cannot make `clock_mhz`, or the board's clock `baud`.
    """

    clock: Any
    rx: Any
    tx: Any
    button: Any
    lights: Any
    stay_on: Any

    def __init__(
        self,
        board: Board,
        config: EngineConfig,
        timing: Timing,
        clock_mhz: float | None = None,
        baud: int | None = None,
        sizes: LinkSizes | None = None,
    ) -> None:
        self.clock_mhz = board.clock_mhz if clock_mhz is None else clock_mhz
        self._board = board
        self._divisor = divisor_for(board.clock_mhz * 1e6, baud or board.baud)
        self._pll = None
        if self.clock_mhz != board.clock_mhz:
            self._pll = board.pll(self.clock_mhz)
        self._engine = Engine(config, timing)
        self._link = Link(config, identity(config, timing), sizes)
        ports = {"clock": In(1), "rx": In(1, init=1), "tx": Out(1)}
        if "button" in board.pins:
            ports["button"] = In(1, init=1 - board.pressed)
        if board.lights:
            ports["lights"] = Out(board.lights)
        if "stay_on" in board.pins:
            ports["stay_on"] = Out(1)
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = engine_domain()
        m.domains.board = ClockDomain()
        if "stay_on" in self._board.pins:
            m.d.comb += self.stay_on.eq(1)
        stable = Const(1)
        if self._pll is None:
            m.d.comb += [ClockSignal().eq(self.clock), ClockSignal("board").eq(self.clock)]
        else:
            m.submodules.pll = pll = self._pll
            m.d.comb += [pll.input.eq(self.clock), ClockSignal("board").eq(pll.passed)]
            m.d.comb += ClockSignal().eq(pll.output)
            stable = pll.locked
        m.submodules.starter = starter = _Starter()
        starting = Signal(init=1)
        m.submodules.starting = FFSynchronizer(starter.reset, starting, init=1)
        pressed = Const(0)
        if "button" in self._board.pins:
            pressed = self.button == self._board.pressed
        m.d.comb += [starter.hold.eq(pressed | ~stable), ResetSignal("board").eq(starter.reset)]

        # A break stops whatever goes on, also a link that waits for an engine that is stuck.
        broken = Signal()
        # Resets are registers, so that no logic stands before nets to so many places.
        link_reset, engine_reset = Signal(init=1), Signal(init=1)
        engine, link = self._engine, self._link
        m.submodules.link = ResetInserter(link_reset)(link)
        m.submodules.engine = engine
        m.d.comb += engine.clear.eq(engine_reset)
        m.d.sync += [
            link_reset.eq(broken | starting),
            engine_reset.eq(broken | starting | link.reset),
        ]
        break_on_line, received = self._serial(m, starting)
        m.submodules.broken = FFSynchronizer(break_on_line, broken)
        for name in ("request", "response", "samples", "outputs"):
            connect(m, getattr(link, name), getattr(engine, name))
        writes = Signal(len(engine.trace.drains))
        m.d.comb += writes.eq(sum(port.valid << i for i, port in enumerate(engine.trace.drains)))
        if self._board.lights:
            self._light(m, [writes.any(), received, engine.outputs.valid, broken])
        return m

    def _serial(self, m: Module, starting: Signal) -> tuple[Signal, Signal]:
        """The serial line, between the pins and the link: whether there is a break on it, and
        whether the link gets a byte."""
        at_pins = DomainRenamer("board")
        m.submodules.receiver = receiver = at_pins(UartReceiver(self._divisor))
        m.submodules.transmitter = transmitter = at_pins(UartTransmitter(self._divisor))
        inwards, outwards = Crossing(8, "board", "sync"), Crossing(8, "sync", "board")
        both = ResetInserter({"sync": starting})  # the board's domain has its own
        m.submodules.inwards, m.submodules.outwards = both(inwards), both(outwards)
        connect(m, receiver.data, inwards.input)
        connect(m, inwards.output, self._link.rx)
        connect(m, self._link.tx, outwards.input)
        m.d.comb += [
            receiver.line.eq(self.rx),
            self.tx.eq(transmitter.line),
            transmitter.data.payload.eq(outwards.output.payload),
            # What the link said before a break is not sent after it.
            transmitter.data.valid.eq(outwards.output.valid & ~receiver.broken),
            outwards.output.ready.eq(transmitter.data.ready | receiver.broken),
        ]
        return receiver.broken, inwards.output.valid

    def _light(self, m: Module, events: list[Value]) -> None:
        """`lights`: each event of the engine's clock for as long as an eye needs."""
        tick = round(self._board.clock_mhz * 1e6 * LIGHT_SECONDS)
        timer, beat, here, before = Signal(range(tick)), Signal(), Signal(), Signal()
        m.d.board += timer.eq(timer + 1)
        with m.If(timer == tick - 1):
            m.d.board += [timer.eq(0), beat.eq(~beat)]
        m.submodules.beat = FFSynchronizer(beat, here)
        events = events[: self._board.lights - 1]
        blink, seen = Signal(5), Signal(len(events))
        shown = Signal(self._board.lights - 1)
        m.d.sync += before.eq(here)
        for index, event in enumerate(events):
            with m.If(event):
                m.d.sync += seen[index].eq(1)
        with m.If(before != here):
            m.d.sync += [blink.eq(blink + 1), seen.eq(0), shown.eq(seen)]
        dark = 0 if self._board.lit else (1 << self._board.lights) - 1
        m.d.comb += self.lights.eq(Cat(shown, blink[-1]) ^ dark)


def engine_domain() -> ClockDomain:
    """The engine's domain, `sync`, with a clock whose name no tool gives up for another one.

    It has no reset; the parts of the design that need one are told.
    """
    domain = ClockDomain("sync", reset_less=True)
    domain.clk = Signal(name=ENGINE_CLOCK, attrs={"keep": 1})
    return domain


class _Starter(wiring.Component):
    """Holds `reset` for START_CYCLES of the board's clock after configuration and after `hold`
    (asynchronous)."""

    hold: Any
    reset: Any

    def __init__(self) -> None:
        super().__init__({"hold": In(1), "reset": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Its own domain without a reset, on the same clock: it must not be reset by itself.
        m.domains.start = ClockDomain(reset_less=True, local=True)
        m.d.comb += ClockSignal("start").eq(ClockSignal("board"))
        held = Signal()
        left = Signal(range(START_CYCLES), init=START_CYCLES - 1)
        m.submodules.synchronizer = FFSynchronizer(self.hold, held, o_domain="start")
        m.d.start += self.reset.eq(left != 0)
        with m.If(held):
            m.d.start += left.eq(START_CYCLES - 1)
        with m.Elif(left != 0):
            m.d.start += left.eq(left - 1)
        return m
