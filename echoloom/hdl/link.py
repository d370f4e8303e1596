"""The host link: commands in packets of numbers become accesses to the engine's streams.

`hdl.commands` defines the protocol. Every packet gets exactly one reply with its sequence, also a
damaged or unknown one, and packets are carried out in their order. The link waits for the progress
of a pass for a bounded time only, so it cannot lock up: COLLECT says what there is after PATIENCE
cycles at the latest.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.checksum import Checksum
from echoloom.hdl.commands import (
    MOST_OUTPUTS,
    MOST_READ,
    PATIENCE,
    TAKES,
    WORD_BITS,
    Command,
    Fault,
    LinkSizes,
    commands_of,
)
from echoloom.hdl.layouts import HOST_BITS, REQUEST, word_stream
from echoloom.hdl.link_numbers import Numbers
from echoloom.hdl.numbers import NUMBER_BITS
from echoloom.hdl.packets import PAYLOAD, PacketReader, PacketWriter
from echoloom.hdl.pipeline import RESET_CYCLES
from echoloom.hdl.store import OUTPUT_BITS, POSITION_BITS, OutputStore, SampleStore
from echoloom.hdl.update_list import UpdateList
from echoloom.ir.contract import EngineConfig, Register, Space
from echoloom.ir.entry_layouts import ADDRESS_BITS

OUTPUTS = 64  # held until the host has them
SETTLED = 64  # cycles without an output, after which those of a pass that is done are all there
UPTIME_BITS = 48  # of the counter of cycles


class Link(wiring.Component):
    """Carries out the host's packets one after another.

    Parameters: `config`, the engine's sizes; `identity`, what IDENTIFY answers; `sizes`;
    `patience`, cycles that a COLLECT waits; `reset_cycles`, how long a reset of the engine lasts;
    `clock_khz`, what IDENTIFY says of the link's clock.
    Ports: `rx` and `tx`, the byte streams from and to the host; `request`, `response`,
    `samples` and `outputs`, to be connected to the engine's ports of these names; `reset`, high
    for `reset_cycles` when the engine is to be reset. Only the link to an engine that learns has
    the list of an update, and only one of sizes that say so checks memories.
    `rx` takes a byte a cycle as long as no more than `sizes.window` wait.

    Raises ValueError if the engine's words have more than WORD_BITS.
    """

    def __init__(
        self,
        config: EngineConfig,
        identity: int,
        sizes: LinkSizes | None = None,
        patience: int = PATIENCE,
        reset_cycles: int = RESET_CYCLES,
        clock_khz: int = 0,
    ) -> None:
        if config.word > WORD_BITS:
            raise ValueError(
                f"the link carries words of {WORD_BITS} bits at most, "
                f"the engine has word={config.word}"
            )
        self._config = config
        self._identity = identity
        self._sizes, self._patience = sizes or LinkSizes(), patience
        self._reset_cycles, self._clock_khz = reset_cycles, clock_khz
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                "request": Out(stream.Signature(REQUEST)),
                "response": In(stream.Signature(HOST_BITS)),
                "samples": Out(word_stream(config)),
                "outputs": In(word_stream(config)),
                "reset": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sizes = self._sizes
        m.submodules.waiting = waiting = fifo.SyncFIFOBuffered(width=8, depth=sizes.window)
        m.submodules.reader = reader = PacketReader()
        m.submodules.writer = writer = PacketWriter(sizes.window)
        store = SampleStore(self._config, sizes.samples)
        outputs = OutputStore(self._config.word, OUTPUTS)
        m.submodules.samples = ResetInserter(self.reset)(store)
        m.submodules.outputs = ResetInserter(self.reset)(outputs)
        wiring.connect(m, wiring.flipped(self.rx), waiting.w_stream)
        wiring.connect(m, waiting.r_stream, reader.data)
        wiring.connect(m, writer.data, wiring.flipped(self.tx))
        wiring.connect(m, store.samples, wiring.flipped(self.samples))
        wiring.connect(m, wiring.flipped(self.outputs), outputs.outputs)

        packet = reader.packet.payload
        numbers = Numbers(m, reader, writer)
        word, order, fault = numbers.word, numbers.order, numbers.fault
        left = Signal(range(PAYLOAD + 1))  # numbers still to be sent
        access = Signal(REQUEST)
        fresh = Signal()  # these samples are the next ones
        wait, done = Signal(), Signal()
        patience, quiet = Signal(range(self._patience)), Signal(range(SETTLED))
        resets, resetting = Signal(), Signal(range(self._reset_cycles))
        m.d.sync += self.reset.eq(resets)
        # What the host has loaded is for the host to say. A link that was reset or has just been
        # configured does not know, however much it looks like the one that was there before.
        mark = Signal(NUMBER_BITS)
        uptime = Signal(UPTIME_BITS)
        m.d.sync += uptime.eq(uptime + 1)
        had = Signal(OUTPUT_BITS)
        held = Signal(range(MOST_OUTPUTS + 1))  # outputs for a reply, as of a cycle ago
        ready = (outputs.made - had)[:OUTPUT_BITS]
        m.d.sync += held.eq(Mux(ready < MOST_OUTPUTS, ready, MOST_OUTPUTS))
        m.d.sync += quiet.eq(Mux(self.outputs.valid, 0, quiet + (quiet != SETTLED - 1)))

        checksum = Checksum() if sizes.checks else None
        if checksum is not None:
            m.submodules.checksum = checksum
        unchecked = Signal(ADDRESS_BITS + 1)  # words that a CHECK has still to read
        request, response, updates = self._bus(m)
        answers: dict[str, Any] = {
            "response": response.payload.as_signed(),
            "own": Const(self._identity, NUMBER_BITS).as_signed(),
            "mark": mark.as_signed(),
            "uptime": uptime,
            "clock": Const(self._clock_khz),
            "window": Const(sizes.window),
            "samples": Const(sizes.samples),
            **({"listed": Const(sizes.listed)} if updates else {}),
            "filled": store.filled,
            "reached": store.reached,
            "made": outputs.made,
            "output": outputs.word,
            **(_of_updates(updates) if updates else {}),
            **({"checksum": checksum.total.as_signed()} if checksum is not None else {}),
        }
        place = {name: at for at, name in enumerate(answers)}
        output = place["output"]

        known, fits = Signal(), Signal()
        with m.Switch(packet.code):
            for command in commands_of(self._config.learns, sizes.checks):
                least, most = TAKES[command]
                with m.Case(command):
                    m.d.comb += known.eq(1)
                    within = (packet.numbers >= least) & (packet.numbers <= most)
                    m.d.comb += fits.eq(packet.whole & within)
        finished = numbers.taken == packet.numbers

        m.d.comb += [
            request.payload.eq(access),
            request.payload.write.eq(packet.code == Command.WRITE),
            request.payload.data.eq(word),
            store.push.payload.eq(word),
            store.what.eq(order),
            store.value.eq(word),
            outputs.had.eq(had),
        ]
        if updates:
            m.d.comb += updates.what.eq(order)
        if checksum is not None:
            m.d.comb += checksum.word.eq(response.payload)

        pick = numbers.moved(m, tuple(answers.values()))
        with m.If(patience != 0):
            m.d.sync += patience.eq(patience - 1)
        with m.FSM():
            with m.State("IDLE"):
                numbers.begin(m)
                with m.If(reader.packet.valid):
                    m.next = "GATHER"
                    with m.If(packet.numbers == 0):
                        m.next = "ACT"
                    with m.If(~fits):
                        m.d.sync += fault.eq(Fault.LENGTH)
                        m.next = "FAULT"
                    with m.If(~known):
                        m.d.sync += fault.eq(Fault.UNKNOWN)
                        m.next = "FAULT"
                    with m.If(~packet.intact):
                        m.d.sync += fault.eq(Fault.CHECK)
                        m.next = "FAULT"
            numbers.take(m)

            with m.State("NUMBER"):
                m.d.sync += order.eq(order + (order != 3))
                m.next = "GATHER"
                with m.If(finished):
                    m.next = "ACT"
                with m.Switch(packet.code):
                    with m.Case(Command.WRITE, Command.READ, Command.CHECK):
                        with m.Switch(order):
                            for at, name in enumerate(("space", "lane", "address")):
                                with m.Case(at):
                                    m.d.sync += access[name].eq(word)
                            with m.Default():
                                m.d.sync += [left.eq(word), fault.eq(Fault.LENGTH)]
                                m.d.sync += unchecked.eq(word)
                                with m.If(packet.code == Command.WRITE):
                                    m.next = "REQUEST"
                    with m.Case(Command.PUSH):
                        with m.If(order == 0):
                            m.d.sync += fresh.eq(word[:POSITION_BITS] == store.filled)
                        m.d.comb += store.push.valid.eq(fresh & (order != 0))
                    with m.Case(Command.COLLECT):
                        with m.If(order == 0):
                            m.d.sync += had.eq(word)
                        m.d.sync += [wait.eq(word[0]), patience.eq(self._patience - 1)]
                    with m.Case(Command.MARK):
                        m.d.sync += mark.eq(word)
                    with m.Case(Command.PLAY):
                        m.d.comb += store.tell.eq(1)
                    if updates:
                        with m.Case(Command.LEARN):
                            m.d.comb += updates.tell.eq(1)
                            m.d.sync += patience.eq(self._patience - 1)

            with m.State("ACT"):
                m.d.sync += order.eq(0)
                m.next = "REPLY"
                with m.Switch(packet.code):
                    with m.Case(Command.IDENTIFY):
                        told = place["filled"] - place["own"]
                        m.d.sync += [left.eq(told), pick.eq(1 << place["own"])]
                        m.next = "NEXT"
                    with m.Case(Command.RESET):
                        m.d.comb += resets.eq(1)
                        m.d.sync += [resetting.eq(resetting + 1), had.eq(0)]
                        with m.If(resetting != self._reset_cycles - 1):
                            m.next = "ACT"
                        with m.Else():
                            m.d.sync += resetting.eq(0)
                    with m.Case(Command.READ):
                        m.next = "NEXT"
                        with m.If((left == 0) | (left > MOST_READ)):
                            m.next = "FAULT"
                    with m.Case(Command.PUSH):
                        m.d.sync += [left.eq(2), pick.eq(1 << place["filled"])]
                        m.next = "NEXT"
                    with m.Case(Command.COLLECT):
                        m.d.sync += access.space.eq(Space.REGISTER)
                        m.d.sync += access.address.eq(Register.STATUS)
                        m.next = "REQUEST"
                    if updates:
                        with m.Case(Command.LEARN):
                            m.d.comb += updates.go.eq(1)
                            m.d.sync += [left.eq(4), pick.eq(1 << place["learnt"])]
                            m.next = "NEXT"
                            with m.If(updates.busy & (patience != 0)):
                                m.next = "ACT"
                    if checksum is not None:
                        with m.Case(Command.CHECK):
                            m.d.comb += checksum.clear.eq(1)
                            m.next = "CHECK"

            if checksum is not None:
                with m.State("CHECK"):
                    m.d.sync += unchecked.eq(unchecked - 1)
                    m.next = "REQUEST"
                    with m.If(unchecked == 0):
                        m.d.sync += [left.eq(1), pick.eq(1 << place["checksum"])]
                        m.next = "NEXT"
            with m.State("REQUEST"):
                m.d.comb += request.valid.eq(1)
                m.d.sync += pick.eq(1 << place["response"])
                with m.If(request.ready):
                    m.d.sync += access.address.eq(access.address + 1)
                    m.next = "RESPONSE"
                    with m.If(packet.code == Command.WRITE):
                        m.next = "GATHER"
                        with m.If(finished):
                            m.next = "REPLY"
            with m.State("RESPONSE"):
                m.d.comb += response.ready.eq(1)
                m.d.comb += numbers.fetch.eq(1)
                m.d.sync += done.eq(response.payload[1])
                with m.If(response.valid):
                    m.next = "JUDGE"
                    with m.If(packet.code == Command.COLLECT):
                        m.next = "STATUS"
                    if checksum is not None:
                        with m.If(packet.code == Command.CHECK):
                            m.d.comb += checksum.valid.eq(1)
                            m.next = "CHECK"
            # The status was read before the outputs are counted: done means that all are there.
            with m.State("STATUS"):
                m.d.sync += outputs.index.eq(had)
                enough = done | ~wait | (held == MOST_OUTPUTS) | (patience == 0)
                with m.If(~enough):
                    m.next = "ACT"
                with m.Elif((quiet == SETTLED - 1) | ~self.outputs.ready):
                    m.d.sync += [left.eq(1 + held), pick.eq(1 << place["made"])]
                    m.next = "JUDGE"

            with m.State("NEXT"):
                m.d.sync += left.eq(left - 1)
                m.next = "FETCH"
                with m.If(packet.code == Command.READ):
                    m.next = "REQUEST"
                with m.If(left == 0):
                    m.d.sync += left.eq(0)
                    m.next = "REPLY"
            with m.State("FETCH"):
                m.d.comb += numbers.fetch.eq(1)
                m.d.sync += pick.eq(pick << 1)
                with m.If(pick[output]):  # as many as there are
                    m.d.sync += [pick.eq(pick), outputs.index.eq(outputs.index + 1)]
                m.next = "JUDGE"
            numbers.give(m)
            numbers.end(m)
        return m

    def _bus(self, m: Module) -> tuple[Any, Any, UpdateList | None]:
        """Requests to the engine and their responses; and the list of an update, which stands
        between them and the engine if that learns."""
        if not self._config.learns:
            return self.request, self.response, None
        updates = UpdateList(self._sizes.listed)
        m.submodules.updates = ResetInserter(self.reset)(updates)
        wiring.connect(m, updates.request, wiring.flipped(self.request))
        wiring.connect(m, wiring.flipped(self.response), updates.response)
        return updates.asked, updates.answered, updates


def _of_updates(updates: UpdateList) -> dict[str, Any]:
    """What LEARN answers."""
    return {
        "learnt": updates.made,
        "busy": updates.busy,
        "cycles": updates.cycles,
        "clamped": updates.clamped,
    }
