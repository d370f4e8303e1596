"""The list of an update: what a host writes for it, kept beside the engine and written from there.

An entry of the list is a write of the host bus, as one number: space, lane, address and data. The
link plays a range of the list when it is asked to LEARN: it makes the writes in their order, and
after one of COMMAND waits until the pass has ended. So an update is one short packet, however many
passes it has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.layouts import HOST_BITS, REQUEST, struct
from echoloom.hdl.pipeline import memory
from echoloom.hdl.tally import CLAMPED_BITS
from echoloom.ir.contract import Register, Space
from echoloom.ir.entry_layouts import ADDRESS_BITS, LANE_BITS

# The link's own space on the host bus, where the list is; no engine has it. An entry that names it
# as its target is no write: it takes what CLAMPED reads when it is played, and keeps it as data.
LIST = 15
SPACE_BITS, DATA_BITS = 4, 32
TARGET_BITS = SPACE_BITS + LANE_BITS + ADDRESS_BITS
ENTRY_BITS = TARGET_BITS + DATA_BITS
ENTRY = struct({"space": SPACE_BITS, "lane": LANE_BITS, "address": ADDRESS_BITS, "data": DATA_BITS})
NUMBERS = 256  # of updates, before they begin again at 0
DONE = 1  # bit of STATUS


class Entry(NamedTuple):
    """An entry of the list; `data` is signed."""

    space: int
    lane: int
    address: int
    data: int

    @property
    def word(self) -> int:
        """The entry as the line carries it. Raises ValueError for data that do not fit."""
        if not -(1 << DATA_BITS - 1) <= self.data < 1 << DATA_BITS - 1:
            raise ValueError(
                f"an entry of an update's list carries {DATA_BITS} signed bits, got {self.data}"
            )
        target = self.space | (self.lane | self.address << LANE_BITS) << SPACE_BITS
        return self.data << TARGET_BITS | target

    @classmethod
    def of(cls, word: int) -> Entry:
        """The entry that a word of the list is, whatever stands above its ENTRY_BITS."""
        lane, address = word >> SPACE_BITS, word >> SPACE_BITS + LANE_BITS
        return cls(
            word % (1 << SPACE_BITS),
            lane % (1 << LANE_BITS),
            address % (1 << ADDRESS_BITS),
            cls.signed(word >> TARGET_BITS),
        )

    @staticmethod
    def signed(number: int) -> int:
        """Data of which the list keeps DATA_BITS."""
        half = 1 << DATA_BITS - 1
        return (number + half) % (2 * half) - half


CLAMPS = Entry(LIST, 0, 0, 0)


class UpdateList(wiring.Component):
    """Stands between a link and its engine: carries the link's requests, and plays the list.

    While the list is played the link's requests go between its own, so neither waits for the other
    for long, even if a pass never ends.

    Parameters: `depth` of the list in entries, a power of two.
    Ports: `asked` and `answered`, the link's requests and their responses, of which those of the
    space LIST end here; `request` and `response`, the engine's. `tell`: the data of
    `asked` are the number of a LEARN at place `what` (3 for all that follow); `go`, when all of
    them are told. `made`: number
    of the next update; `busy`: one is made, or told; `cycles`, of the passes of the one that was
    made last; `clamped`, what its entries of the space LIST counted.
    Latency: a request of the link is at the engine's in the same cycle, unless the list is just
    making one; a write of the list takes 4 cycles, and those that the engine is not ready.

    Raises ValueError for a depth that is no power of two.
    """

    asked: Any
    answered: Any
    request: Any
    response: Any
    tell: Signal
    what: Signal
    go: Signal
    made: Signal
    busy: Signal
    cycles: Signal
    clamped: Signal

    def __init__(self, depth: int) -> None:
        if depth < 2 or depth & (depth - 1) or depth > 1 << ADDRESS_BITS:
            raise ValueError(f"a list of an update has 2, 4, 8 ... entries, not {depth:,}")
        self._depth = depth
        super().__init__(
            {
                "asked": In(stream.Signature(REQUEST)),
                "answered": Out(stream.Signature(HOST_BITS)),
                "request": Out(stream.Signature(REQUEST)),
                "response": In(stream.Signature(HOST_BITS)),
                "tell": In(1),
                "what": In(2),
                "go": In(1),
                "made": Out(range(NUMBERS)),
                "busy": Out(1),
                "cycles": Out(DATA_BITS),
                "clamped": Out(CLAMPED_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = memory(ENTRY_BITS, self._depth)
        write, read = words.write_port(), words.read_port()
        asked, answered, request, response = self.asked, self.answered, self.request, self.response
        entry = data.View(ENTRY, read.data)
        place = Signal(ceil_log2(self._depth))  # of `entry`, and of what is written
        asks = Signal()  # the entry is read for the link
        served = Signal()  # the link has had its turn
        fresh, playing = Signal(), Signal()
        following, end = Signal(ceil_log2(self._depth) + 1), Signal(ceil_log2(self._depth) + 1)
        waiting = Signal()  # for the end of a pass
        looks, register = Signal(), Signal(Register)  # what is read, if the entry is not written

        def look(at: Register) -> None:
            m.d.sync += [looks.eq(1), register.eq(at)]
            m.next = "SEND"

        m.d.comb += [
            self.busy.eq(fresh | playing),
            read.addr.eq(place),
            write.addr.eq(place),
            write.data.eq(asked.payload.data),
            answered.payload.eq(response.payload),
            request.payload.write.eq(~looks),
            request.payload.space.eq(Mux(looks, Space.REGISTER, entry.space)),
            request.payload.lane.eq(entry.lane),
            request.payload.address.eq(Mux(looks, register, entry.address)),
            request.payload.data.eq(entry.data.as_signed()),
        ]
        with m.FSM():
            with m.State("SERVE"):
                m.d.comb += request.payload.eq(asked.payload)
                mine = playing & (served | ~asked.valid)
                m.d.sync += [served.eq(~mine & (served | asked.ready)), asks.eq(~mine)]
                with m.If(mine & waiting):
                    look(Register.STATUS)
                with m.Elif(mine & (following == end)):
                    m.d.sync += playing.eq(0)
                with m.Elif(mine):
                    m.d.sync += [place.eq(following), following.eq(following + 1)]
                    m.next = "READ"
                with m.Elif(asked.valid & (asked.payload.space == LIST)):
                    m.d.sync += [place.eq(asked.payload.address), served.eq(1)]
                    m.next = "READ"
                    with m.If(asked.payload.write):
                        m.next = "KEEP"
                with m.Elif(asked.valid):
                    m.d.comb += [request.valid.eq(1), asked.ready.eq(request.ready)]
                    with m.If(request.ready & ~asked.payload.write):
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [answered.valid.eq(response.valid), response.ready.eq(answered.ready)]
                with m.If(response.valid & answered.ready):
                    m.next = "SERVE"
            with m.State("KEEP"):
                m.d.comb += [write.en.eq(1), asked.ready.eq(1)]
                m.next = "SERVE"

            with m.State("READ"):  # the memory answers a cycle later
                m.d.comb += asked.ready.eq(asks)
                m.next = "DO"
                with m.If(asks):
                    m.next = "TELL"
            with m.State("TELL"):
                m.d.comb += [answered.valid.eq(1), answered.payload.eq(read.data)]
                with m.If(answered.ready):
                    m.next = "SERVE"
            with m.State("DO"):
                m.d.sync += looks.eq(0)
                m.d.sync += waiting.eq(
                    (entry.space == Space.REGISTER) & (entry.address == Register.COMMAND)
                )
                m.next = "SEND"
                with m.If(entry.space == LIST):
                    look(Register.CLAMPED)
            with m.State("SEND"):
                m.d.comb += request.valid.eq(1)
                with m.If(request.ready):
                    m.next = "SERVE"
                    with m.If(looks):
                        m.next = "RECEIVE"
            with m.State("RECEIVE"):
                m.d.comb += response.ready.eq(1)
                m.d.comb += write.data.eq(Cat(read.data[:TARGET_BITS], response.payload))
                with m.If(response.valid):
                    m.next = "SERVE"
                    with m.Switch(register):
                        with m.Case(Register.STATUS), m.If(response.payload[DONE]):
                            m.d.sync += waiting.eq(0)
                            look(Register.CYCLES)
                        with m.Case(Register.CYCLES):
                            m.d.sync += self.cycles.eq(self.cycles + response.payload)
                        with m.Default():
                            m.d.sync += self.clamped.eq(self.clamped + response.payload)
                            m.d.comb += write.en.eq(1)

        # A LEARN that comes again, or out of turn, tells nothing; what another tells comes while
        # the list is at rest.
        number = asked.payload.data
        with m.If(self.tell & (self.what == 0)):
            m.d.sync += fresh.eq((number[: len(self.made)] == self.made) & ~playing)
        with m.If(self.tell & fresh):
            with m.Switch(self.what):
                with m.Case(1):
                    m.d.sync += [place.eq(number), following.eq(number)]
                with m.Case(2):
                    m.d.sync += end.eq(number)
                with m.Case(3):
                    m.d.comb += write.en.eq(1)
                    m.d.sync += place.eq(place + 1)
        with m.If(self.go & fresh):
            m.d.sync += [fresh.eq(0), playing.eq(1), self.made.eq(self.made + 1)]
            m.d.sync += [self.cycles.eq(0), self.clamped.eq(0)]
        return m
