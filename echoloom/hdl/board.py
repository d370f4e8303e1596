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
from echoloom.hdl.pipeline import RESET_CYCLES
from echoloom.hdl.uart import UartReceiver, UartTransmitter, divisor_for
from echoloom.ir.contract import EngineConfig, Timing

BAUD = 1_000_000  # every USB chip makes it exactly, and so do all clocks of whole MHz
SLOWEST = 4  # an engine's clock is at least the board's divided by this
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

    The serial line and the link run on the board's clock and the engine on its own, quicker one:
    the link's decisions are no limit to it. The engine's frequency is in the PLL's settings and
    nowhere else, so that it can be chosen when all is routed.

    Parameters: `clock_mhz`, the engine's clock, by the PLL if it is not the board's; `baud`, the
    serial line's speed if it is not the board's; `sizes`, the link's.
    Ports: `clock`; `rx` and `tx`, the serial lines; `button`, resets all; `lights`: 0 engine at
    work, 1 bytes from the host, 2 outputs waiting for the host, 3 break on the line (as many as
    there are), the last slowly blinking: configured and clocked; `stay_on`, constantly high.

    Raises ValueError if the PLL cannot make `clock_mhz`, or the board's clock `baud`, or if the
    engine is too slow to be reset by the link.
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
        if self.clock_mhz * SLOWEST < board.clock_mhz:
            raise ValueError(
                f"an engine on {board.name} runs at {board.clock_mhz / SLOWEST:g} MHz or more, "
                f"not at {self.clock_mhz:g}"
            )
        self._engine = Engine(config, timing)
        self._link = Link(
            config,
            identity(config, timing),
            sizes,
            reset_cycles=SLOWEST * RESET_CYCLES,
            clock_khz=round(1000 * board.clock_mhz),
        )
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
        broken, received = self._serial(m)
        engine, link = self._engine, self._link
        # Resets are registers, so that no logic stands before nets to so many places.
        stopping, engine_reset = Signal(init=1), Signal(init=1)
        asked, unplugged = Signal(init=1), Signal()
        m.d.board += stopping.eq(broken | link.reset)
        m.submodules.asked = FFSynchronizer(stopping, asked, init=1)
        m.submodules.unplugged = FFSynchronizer(broken, unplugged)
        m.d.sync += engine_reset.eq(asked | starting)
        m.submodules.engine = engine
        m.d.comb += engine.clear.eq(engine_reset)
        both = ResetInserter({"board": stopping, "sync": engine_reset})
        for name, (inwards, port) in self._streams().items():
            source, sink = ("board", "sync") if inwards else ("sync", "board")
            crossing = Crossing(port.payload.shape(), source, sink)
            m.submodules[f"{name}_crossing"] = both(crossing)
            sides = getattr(link, name), getattr(engine, name)
            given, taken = sides if inwards else sides[::-1]
            connect(m, given, crossing.input)
            connect(m, crossing.output, taken)
        if self._board.lights:
            writes = Signal(len(engine.trace.drains))
            m.d.comb += writes.eq(Cat(port.valid for port in engine.trace.drains))
            self._light(m, [writes.any(), received, engine.outputs.valid, unplugged])
        return m

    def _streams(self) -> dict[str, tuple[bool, Any]]:
        """The streams between link and engine, and whether they lead into the engine."""
        names = {"request": True, "response": False, "samples": True, "outputs": False}
        return {name: (inwards, getattr(self._engine, name)) for name, inwards in names.items()}

    def _serial(self, m: Module) -> tuple[Signal, Signal]:
        """The serial line, from the pins to the link: whether there is a break on it, and whether
        a byte came, which the engine's clock sees too."""
        at_pins = DomainRenamer("board")
        m.submodules.receiver = receiver = at_pins(UartReceiver(self._divisor))
        m.submodules.transmitter = transmitter = at_pins(UartTransmitter(self._divisor))
        link = self._link
        m.submodules.link = at_pins(ResetInserter(receiver.broken)(link))
        connect(m, receiver.data, link.rx)
        m.d.comb += [
            receiver.line.eq(self.rx),
            self.tx.eq(transmitter.line),
            transmitter.data.payload.eq(link.tx.payload),
            # What the link said before a break is not sent after it.
            transmitter.data.valid.eq(link.tx.valid & ~receiver.broken),
            link.tx.ready.eq(transmitter.data.ready | receiver.broken),
        ]
        flips, here, before = Signal(), Signal(), Signal()
        with m.If(receiver.data.valid):
            m.d.board += flips.eq(~flips)
        m.submodules.received = FFSynchronizer(flips, here)
        m.d.sync += before.eq(here)
        return receiver.broken, here ^ before

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
