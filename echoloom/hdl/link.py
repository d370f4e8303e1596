"""The host link: commands in packets of bytes become accesses to the engine's streams.

`docs/host_link.md` explains the protocol; the codes and lengths here are its definition.
Every packet gets exactly one reply with its sequence, also a damaged or unknown one. The link never
waits for the progress of a pass, so it cannot lock up: samples are accepted only as far as there is
room, and outputs are sent only as far as there are any.
"""

from __future__ import annotations

import enum
import hashlib
from typing import Any

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.layouts import HOST_BITS, REQUEST, word_stream
from echoloom.hdl.packets import PacketReader, PacketWriter
from echoloom.hdl.pipeline import RESET_CYCLES
from echoloom.ir.contract import EngineConfig, Timing

WORD_BYTES = HOST_BITS // 8  # a bus word
TARGET_BYTES = 4  # space, lane and address
SAMPLE_BYTES = 4  # a sample or an output, sign-extended
MOST_WORDS = 31  # bus words in one packet
MOST_SAMPLES = 63  # samples or outputs in one packet
DEPTH = 64  # samples, and outputs, held between the packets and the engine
UPTIME_BITS = 48  # of the counter of cycles
IDENTIFY_WORDS = 3


class Command(enum.IntEnum):
    """Codes of the host's packets; the reply to `c` has the code `c | REPLY`."""

    IDENTIFY = 1  # -> 3 words (8 each): identity, mark, engine cycles since the last reset of all
    WRITE = 2  # space, lane, address (2), words (8 each) for consecutive addresses
    READ = 3  # count, space, lane, address (2) -> words (8 each) from consecutive addresses
    PUSH = 4  # samples (4 each) -> 1 byte: how many of them were accepted
    FETCH = 5  # most outputs wanted -> outputs (4 each), as many as there are
    RESET = 6  # stop the engine; clears samples, outputs, registers and sections, no memory
    MARK = 7  # 1 word (8): kept for IDENTIFY until the next MARK, or all is reset, which makes it 0


REPLY = 0x80
ERROR = 0xFF  # the code of an error reply; its payload is one Fault


class Fault(enum.IntEnum):
    """Why a packet was not carried out."""

    CHECK = 1  # the CRC is wrong
    UNKNOWN = 2  # there is no such command
    LENGTH = 3  # a payload of this length does not belong to this command


def identity(config: EngineConfig, timing: Timing) -> int:
    """The 64 bits that IDENTIFY answers: a digest of the engine's sizes and latencies."""
    text = repr((config, timing))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:WORD_BYTES], "little")


class Link(wiring.Component):
    """Carries out the host's packets one after another.

    Parameters: `config`, the engine's sizes; `identity`, what IDENTIFY answers.
    Ports: `rx` and `tx`, the byte streams from and to the host; `request`, `response`,
    `samples` and `outputs`, to be connected to the engine's ports of these names; `reset`, high
    for RESET_CYCLES when the engine is to be reset.

    Raises ValueError if the engine's words do not fit in SAMPLE_BYTES.
    """

    def __init__(self, config: EngineConfig, identity: int) -> None:
        if config.word > 8 * SAMPLE_BYTES:
            raise ValueError(
                f"the link carries words of {8 * SAMPLE_BYTES} bits at most, "
                f"the engine has word={config.word}"
            )
        self._word = config.word
        self._identity = identity
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
        m.submodules.reader = reader = PacketReader()
        m.submodules.writer = writer = PacketWriter()
        samples = fifo.SyncFIFOBuffered(width=self._word, depth=DEPTH)
        outputs = fifo.SyncFIFOBuffered(width=self._word, depth=DEPTH)
        m.submodules.samples = ResetInserter(self.reset)(samples)
        m.submodules.outputs = ResetInserter(self.reset)(outputs)
        wiring.connect(m, wiring.flipped(self.rx), reader.data)
        wiring.connect(m, writer.data, wiring.flipped(self.tx))
        m.d.comb += [
            self.samples.payload.eq(samples.r_data),
            self.samples.valid.eq(samples.r_rdy),
            samples.r_en.eq(self.samples.ready),
            outputs.w_data.eq(self.outputs.payload),
            outputs.w_en.eq(self.outputs.valid),
            self.outputs.ready.eq(outputs.w_rdy),
        ]

        packet = reader.packet.payload
        word = Signal(HOST_BITS)  # bytes enter at the top and leave at the bottom
        gather = Signal(range(WORD_BYTES + 1))  # bytes still to enter
        emit = Signal(range(WORD_BYTES + 1))  # bytes still to leave
        left = Signal(range(MOST_SAMPLES + 1))  # words or outputs still to send
        accepted = Signal(8)  # samples of this packet
        addressed = Signal()  # a WRITE's target has been gathered, the rest are its words
        access = Signal(REQUEST)
        fault = Signal(Fault)
        resets, resetting = Signal(), Signal(range(RESET_CYCLES))
        m.d.sync += self.reset.eq(resets)
        byte = Signal.like(reader.byte, reset_less=True)  # of the packet
        output = Signal.like(outputs.r_data, reset_less=True)
        m.d.sync += [byte.eq(reader.byte), output.eq(outputs.r_data)]
        # What the host has loaded is for the host to say. A link that was reset or has just been
        # configured does not know, however much it looks like the one that was there before.
        mark = Signal(HOST_BITS)
        uptime = Signal(UPTIME_BITS)
        m.d.sync += uptime.eq(uptime + 1)

        known, fits = Signal(), Signal()
        first = Signal.like(gather)  # bytes to gather before the first thing can be done
        m.d.comb += known.eq(1)
        with m.Switch(packet.code):
            with m.Case(Command.IDENTIFY, Command.RESET):
                m.d.comb += fits.eq(packet.length == 0)
            with m.Case(Command.WRITE):
                whole = packet.length[:3] == TARGET_BYTES % WORD_BYTES
                m.d.comb += fits.eq(whole & (packet.length > TARGET_BYTES))
                m.d.comb += first.eq(TARGET_BYTES)
            with m.Case(Command.READ):
                m.d.comb += fits.eq(packet.length == 1 + TARGET_BYTES)
                m.d.comb += first.eq(1 + TARGET_BYTES)
            with m.Case(Command.MARK):
                m.d.comb += fits.eq(packet.length == WORD_BYTES)
                m.d.comb += first.eq(WORD_BYTES)
            with m.Case(Command.PUSH):
                m.d.comb += fits.eq((packet.length[:2] == 0) & (packet.length != 0))
                m.d.comb += first.eq(SAMPLE_BYTES)
            with m.Case(Command.FETCH):
                m.d.comb += fits.eq(packet.length == 1)
                m.d.comb += first.eq(1)
            with m.Default():
                m.d.comb += known.eq(0)
        finished = reader.index == packet.length  # every byte of the payload has been gathered

        m.d.comb += [
            self.request.payload.eq(access),
            self.request.payload.write.eq(packet.code == Command.WRITE),
            self.request.payload.data.eq(word),
            samples.w_data.eq(word[-8 * SAMPLE_BYTES :]),
            writer.payload.payload.eq(word[:8]),
        ]

        # Outputs that were there a cycle ago: none has left since.
        waiting = Signal(range(MOST_SAMPLES + 1))
        m.d.sync += waiting.eq(Mux(outputs.level < MOST_SAMPLES, outputs.level, MOST_SAMPLES))
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [gather.eq(first), reader.index.eq(0), addressed.eq(0)]
                m.d.sync += [accepted.eq(0), left.eq(0)]
                with m.If(reader.packet.valid):
                    m.next = "GATHER"
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
            # own, because a memory is slow: three cycles a byte.
            with m.State("GATHER"):
                m.next = "READ BYTE"
                with m.If(gather == 0):
                    m.next = "GATHERED"
            with m.State("READ BYTE"):
                m.next = "TAKE BYTE"
            with m.State("TAKE BYTE"):
                m.d.sync += word.eq(Cat(word[8:], byte))
                m.d.sync += reader.index.eq(reader.index + 1)
                m.d.sync += gather.eq(gather - 1)
                m.next = "GATHER"

            with m.State("GATHERED"), m.Switch(packet.code):
                with m.Case(Command.IDENTIFY):
                    m.d.sync += left.eq(IDENTIFY_WORDS)
                    m.next = "REPLY"
                with m.Case(Command.MARK):
                    m.d.sync += mark.eq(word)
                    m.next = "REPLY"
                with m.Case(Command.RESET):
                    m.d.comb += resets.eq(1)
                    m.d.sync += resetting.eq(resetting + 1)
                    with m.If(resetting == RESET_CYCLES - 1):
                        m.d.sync += resetting.eq(0)
                        m.next = "REPLY"
                with m.Case(Command.WRITE):
                    m.next = "REQUEST"
                    with m.If(~addressed):
                        m.d.sync += self._target(access, word)
                        m.d.sync += [addressed.eq(1), gather.eq(WORD_BYTES)]
                        m.next = "GATHER"
                with m.Case(Command.READ):
                    wanted = word[-8 * (1 + TARGET_BYTES) :][:8]
                    m.d.sync += self._target(access, word)
                    m.d.sync += [left.eq(wanted), fault.eq(Fault.LENGTH)]
                    m.next = "REPLY"
                    with m.If((wanted == 0) | (wanted > MOST_WORDS)):
                        m.next = "FAULT"
                with m.Case(Command.PUSH):
                    m.next = "REPLY"
                    m.d.comb += samples.w_en.eq(1)
                    with m.If(samples.w_rdy):
                        m.d.sync += accepted.eq(accepted + 1)
                        with m.If(~finished):
                            m.d.sync += gather.eq(SAMPLE_BYTES)
                            m.next = "GATHER"
                with m.Case(Command.FETCH):
                    m.d.sync += left.eq(Mux(word[-8:] < waiting, word[-8:], waiting))
                    m.next = "REPLY"

            with m.State("REQUEST"):
                m.d.comb += self.request.valid.eq(1)
                m.d.sync += gather.eq(WORD_BYTES)
                with m.If(self.request.ready):
                    m.d.sync += access.address.eq(access.address + 1)
                    with m.If(packet.code == Command.READ):
                        m.next = "RESPONSE"
                    with m.Elif(finished):
                        m.next = "REPLY"
                    with m.Else():
                        m.next = "GATHER"
            with m.State("RESPONSE"):
                m.d.comb += self.response.ready.eq(1)
                m.d.sync += [word.eq(self.response.payload), emit.eq(WORD_BYTES)]
                with m.If(self.response.valid):
                    m.next = "EMIT"

            with m.State("REPLY"):
                m.d.comb += writer.header.valid.eq(1)
                m.d.comb += writer.header.payload.code.eq(packet.code | REPLY)
                m.d.comb += writer.header.payload.sequence.eq(packet.sequence)
                with m.Switch(packet.code):
                    with m.Case(Command.IDENTIFY, Command.READ):
                        m.d.comb += writer.header.payload.length.eq(left * WORD_BYTES)
                    with m.Case(Command.FETCH):
                        m.d.comb += writer.header.payload.length.eq(left * SAMPLE_BYTES)
                    with m.Case(Command.PUSH):
                        m.d.comb += writer.header.payload.length.eq(1)
                        m.d.sync += [word.eq(accepted), emit.eq(1)]
                with m.If(writer.header.ready):
                    m.next = "NEXT"
                    with m.If(packet.code == Command.PUSH):
                        m.next = "EMIT"
            with m.State("FAULT"):
                m.d.comb += writer.header.valid.eq(1)
                m.d.comb += writer.header.payload.code.eq(ERROR)
                m.d.comb += writer.header.payload.sequence.eq(packet.sequence)
                m.d.comb += writer.header.payload.length.eq(1)
                m.d.sync += [word.eq(fault), emit.eq(1), left.eq(0)]
                with m.If(writer.header.ready):
                    m.next = "EMIT"

            with m.State("NEXT"):
                m.d.sync += [left.eq(left - 1), emit.eq(WORD_BYTES)]
                with m.Switch(packet.code):
                    with m.Case(Command.READ):
                        m.next = "REQUEST"
                    with m.Case(Command.FETCH):
                        m.next = "TAKE OUTPUT"
                    with m.Case(Command.IDENTIFY):
                        answers = (self._identity, mark, uptime)
                        for index, answer in enumerate(answers):
                            with m.If(left == IDENTIFY_WORDS - index):
                                m.d.sync += word.eq(answer)
                        m.next = "EMIT"
                    with m.Default():
                        m.next = "EMIT"
                with m.If(left == 0):
                    m.d.sync += left.eq(0)
                    m.next = "DONE"
            with m.State("TAKE OUTPUT"):
                m.d.comb += outputs.r_en.eq(1)
                with m.If(outputs.r_rdy):
                    m.next = "TAKE WORD"
            with m.State("TAKE WORD"):
                m.d.sync += [word.eq(output.as_signed()), emit.eq(SAMPLE_BYTES)]
                m.next = "EMIT"
            with m.State("EMIT"):
                m.d.comb += writer.payload.valid.eq(emit != 0)
                with m.If(emit == 0):
                    m.next = "NEXT"
                with m.Elif(writer.payload.ready):
                    m.d.sync += [word.eq(word[8:]), emit.eq(emit - 1)]
            with m.State("DONE"):
                m.d.comb += reader.packet.ready.eq(1)
                m.next = "IDLE"
        return m

    @staticmethod
    def _target(access: Any, word: Any) -> Any:
        """Space, lane and address from the last bytes gathered."""
        target = word[-8 * TARGET_BYTES :]
        return [
            access.space.eq(target[:8]),
            access.lane.eq(target[8:16]),
            access.address.eq(target[16:]),
        ]
