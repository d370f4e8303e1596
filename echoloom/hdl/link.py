"""The host link: commands in packets of numbers become accesses to the engine's streams.

`hdl.commands` defines the protocol. Every packet gets exactly one reply with its sequence, also a
damaged or unknown one, and packets are carried out in their order. The link waits for the progress
of a pass for a bounded time only, so it cannot lock up: COLLECT says what there is after PATIENCE
cycles at the latest.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.commands import (
    ERROR,
    MOST_OUTPUTS,
    MOST_READ,
    PATIENCE,
    REPLY,
    TAKES,
    WORD_BITS,
    Command,
    Fault,
    LinkSizes,
)
from echoloom.hdl.layouts import HOST_BITS, REQUEST, word_stream
from echoloom.hdl.numbers import DIGIT_BITS, DIGITS, NUMBER_BITS
from echoloom.hdl.packets import PAYLOAD, PacketReader, PacketWriter
from echoloom.hdl.pipeline import RESET_CYCLES
from echoloom.hdl.store import OUTPUT_BITS, POSITION_BITS, OutputStore, SampleStore
from echoloom.ir.contract import EngineConfig, Register, Space

OUTPUTS = 64  # held until the host has them
SETTLED = 64  # cycles without an output, after which those of a pass that is done are all there
UPTIME_BITS = 48  # of the counter of cycles


def extended(value: Value, bits: int) -> Value:
    """A number in so many bits."""
    sign = value[-1] if value.shape().signed else Const(0)
    return Cat(value, sign.replicate(bits - len(value)))


class Link(wiring.Component):
    """Carries out the host's packets one after another.

    Parameters: `config`, the engine's sizes; `identity`, what IDENTIFY answers; `sizes`;
    `patience`, cycles that a COLLECT waits; `reset_cycles`, how long a reset of the engine lasts;
    `clock_khz`, what IDENTIFY says of the link's clock.
    Ports: `rx` and `tx`, the byte streams from and to the host; `request`, `response`,
    `samples` and `outputs`, to be connected to the engine's ports of these names; `reset`, high
    for `reset_cycles` when the engine is to be reset.
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
        word = Signal(DIGITS * DIGIT_BITS)  # a number that comes or goes, digit by digit
        digit = Signal(range(DIGITS + 1))
        shift, entering, fetch = Signal(), Signal(DIGIT_BITS), Signal()
        order = Signal(2)  # of the number, in its packet or reply; 3 for all that follow
        taken = Signal(8)  # numbers of the packet that have come
        left = Signal(range(PAYLOAD + 1))  # numbers still to be sent
        last = Signal()  # the digit that goes is its number's last
        access = Signal(REQUEST)
        fault = Signal(Fault)
        fresh = Signal()  # these samples are the next ones
        wait, done = Signal(), Signal()
        patience, quiet = Signal(range(self._patience)), Signal(range(SETTLED))
        resets, resetting = Signal(), Signal(range(self._reset_cycles))
        m.d.sync += self.reset.eq(resets)
        byte = Signal.like(reader.byte, reset_less=True)
        m.d.sync += byte.eq(reader.byte)
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

        answers = (
            self.response.payload.as_signed(),
            Const(self._identity, NUMBER_BITS).as_signed(),
            mark.as_signed(),
            uptime,
            Const(self._clock_khz),
            Const(sizes.window),
            Const(sizes.samples),
            store.filled,
            store.reached,
            outputs.made,
            outputs.word,
        )
        response, own, _, _, _, _, samples, filled, _, made, output = range(len(answers))
        # One of them is ored into the word, chosen a cycle before: that is how it takes few LUTs.
        pick = Signal(len(answers))
        wide = [Mux(pick[at], extended(answer, len(word)), 0) for at, answer in enumerate(answers)]

        known, fits = Signal(), Signal()
        with m.Switch(packet.code):
            for command, (least, most) in TAKES.items():
                with m.Case(command):
                    m.d.comb += known.eq(1)
                    within = (packet.numbers >= least) & (packet.numbers <= most)
                    m.d.comb += fits.eq(packet.whole & within)
        finished = taken == packet.numbers

        m.d.comb += [
            self.request.payload.eq(access),
            self.request.payload.write.eq(packet.code == Command.WRITE),
            self.request.payload.data.eq(word),
            store.push.payload.eq(word),
            store.what.eq(order),
            store.value.eq(word),
            outputs.had.eq(had),
            writer.payload.payload.eq(Cat(word[:DIGIT_BITS], ~last)),
            writer.header.payload.code.eq(packet.code | REPLY),
            writer.header.payload.sequence.eq(packet.sequence),
        ]

        m.d.comb += entering.eq(word[-1].replicate(DIGIT_BITS))
        with m.If(fetch):
            m.d.sync += word.eq(reduce(or_, wide))
        with m.If(shift):
            m.d.sync += word.eq(Cat(word[DIGIT_BITS:], entering))
        with m.If(patience != 0):
            m.d.sync += patience.eq(patience - 1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [reader.index.eq(0), digit.eq(0), order.eq(0), taken.eq(0)]
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
            # The reader's memory answers a cycle after its index is set, and into a register of its
            # own, because a memory is slow: three cycles a byte. Digits enter at the top, and after
            # the last one its sign, until the first is at the bottom.
            with m.State("GATHER"):
                m.next = "READ BYTE"
            with m.State("READ BYTE"):
                m.next = "TAKE BYTE"
            with m.State("TAKE BYTE"):
                m.d.comb += [shift.eq(1), entering.eq(byte)]
                m.d.sync += [reader.index.eq(reader.index + 1), digit.eq(digit + 1)]
                m.next = "GATHER"
                with m.If(~byte[-1]):
                    m.d.sync += taken.eq(taken + 1)
                    m.next = "FILL"
            with m.State("FILL"):
                m.d.sync += digit.eq(digit + 1)
                with m.If(digit == DIGITS):
                    m.d.sync += digit.eq(0)
                    m.next = "NUMBER"
                with m.Else():
                    m.d.comb += shift.eq(1)

            with m.State("NUMBER"):
                m.d.sync += order.eq(order + (order != 3))
                m.next = "GATHER"
                with m.If(finished):
                    m.next = "ACT"
                with m.Switch(packet.code):
                    with m.Case(Command.WRITE, Command.READ):
                        with m.Switch(order):
                            for at, name in enumerate(("space", "lane", "address")):
                                with m.Case(at):
                                    m.d.sync += access[name].eq(word)
                            with m.Default():
                                m.d.sync += [left.eq(word), fault.eq(Fault.LENGTH)]
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

            with m.State("ACT"):
                m.d.sync += order.eq(0)
                m.next = "REPLY"
                with m.Switch(packet.code):
                    with m.Case(Command.IDENTIFY):
                        m.d.sync += [left.eq(samples - own + 1), pick.eq(1 << own)]
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
                        m.d.sync += [left.eq(2), pick.eq(1 << filled)]
                        m.next = "NEXT"
                    with m.Case(Command.COLLECT):
                        m.d.sync += access.space.eq(Space.REGISTER)
                        m.d.sync += access.address.eq(Register.STATUS)
                        m.next = "REQUEST"

            with m.State("REQUEST"):
                m.d.comb += self.request.valid.eq(1)
                m.d.sync += pick.eq(1 << response)
                with m.If(self.request.ready):
                    m.d.sync += access.address.eq(access.address + 1)
                    m.next = "RESPONSE"
                    with m.If(packet.code == Command.WRITE):
                        m.next = "GATHER"
                        with m.If(finished):
                            m.next = "REPLY"
            with m.State("RESPONSE"):
                m.d.comb += self.response.ready.eq(1)
                m.d.comb += fetch.eq(1)
                m.d.sync += done.eq(self.response.payload[1])
                with m.If(self.response.valid):
                    m.next = "JUDGE"
                    with m.If(packet.code == Command.COLLECT):
                        m.next = "STATUS"
            # The status was read before the outputs are counted: done means that all are there.
            with m.State("STATUS"):
                m.d.sync += outputs.index.eq(had)
                enough = done | ~wait | (held == MOST_OUTPUTS) | (patience == 0)
                with m.If(~enough):
                    m.next = "ACT"
                with m.Elif((quiet == SETTLED - 1) | ~self.outputs.ready):
                    m.d.sync += [left.eq(1 + held), pick.eq(1 << made)]
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
                m.d.comb += fetch.eq(1)
                m.d.sync += pick.eq(pick << 1)
                with m.If(pick[output]):  # as many as there are
                    m.d.sync += [pick.eq(pick), outputs.index.eq(outputs.index + 1)]
                m.next = "JUDGE"
            with m.State("JUDGE"):
                rest = word[DIGIT_BITS - 1 : -1]
                m.d.sync += last.eq(rest == word[-1].replicate(len(rest)))
                m.next = "EMIT"
            with m.State("EMIT"):
                m.d.comb += writer.payload.valid.eq(1)
                with m.If(writer.payload.ready):
                    m.d.comb += shift.eq(1)
                    m.next = "JUDGE"
                    with m.If(last):
                        m.next = "NEXT"
            with m.State("REPLY"):
                m.d.comb += writer.header.valid.eq(1)
                with m.If(writer.header.ready):
                    m.next = "DONE"

            with m.State("FAULT"):
                m.d.comb += [writer.payload.valid.eq(1), writer.payload.payload.eq(fault)]
                with m.If(writer.payload.ready):
                    m.next = "REFUSE"
            with m.State("REFUSE"):
                m.d.comb += [writer.header.valid.eq(1), writer.header.payload.code.eq(ERROR)]
                with m.If(writer.header.ready):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += reader.packet.ready.eq(1)
                m.next = "IDLE"
        return m
