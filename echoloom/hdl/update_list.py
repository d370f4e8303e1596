"""The list of an update: what a host writes for it, kept beside the engine and written from there.

An entry of the list is a write of the host bus, as one number: space, lane, address and data. The
link plays a range of the list when it is asked to LEARN: it makes the writes in their order, and
after one of COMMAND waits until the pass has ended. So an update is one short packet, however many
passes it has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.host_port import COUNTER_BITS
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
    def signed(data: int) -> int:
        """Data of which the list keeps DATA_BITS."""
        half = 1 << DATA_BITS - 1
        return (data + half) % (2 * half) - half


CLAMPS = Entry(LIST, 0, 0, 0)


class UpdateList(wiring.Component):
    """Stands between a link and its engine: carries the link's requests, and plays the list.

    While the list is played the link's requests go between its own, so neither waits for the other
    for long, even if a pass never ends.

    Parameters: `depth` of the list in entries, a power of two.
    Ports: `asked` and `answered`, the link's requests and their responses, of which those of the
    space LIST end here; `request` and `response`, the engine's. `tell`: `value` is the number of a
    LEARN at place `what` (3 for all that follow); `go`, when all of them are told. `made`: number
    of the next update; `busy`: one is made, or told; `cycles`, of the passes of the one that was
    made last; `clamped`, what its entries of the space LIST counted.
    Latency: a request of the link is at the engine's in the same cycle, unless the list is just
    making one; a write takes 5 cycles and the engine's, a pass about 20 beside its own.

    Raises ValueError for a depth that is no power of two.
    """

    asked: Any
    answered: Any
    request: Any
    response: Any
    tell: Signal
    what: Signal
    value: Signal
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
                "value": In(ENTRY_BITS),
                "go": In(1),
                "made": Out(range(NUMBERS)),
                "busy": Out(1),
                "cycles": Out(COUNTER_BITS),
                "clamped": Out(CLAMPED_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = memory(ENTRY_BITS, self._depth)
        write, read = words.write_port(), words.read_port()
        entry = Signal(ENTRY)
        place = Signal(ceil_log2(self._depth))  # of `entry`, or of the next one that is told
        fresh, playing, waiting = Signal(), Signal(), Signal()
        following, end = Signal(ceil_log2(self._depth) + 1), Signal(ceil_log2(self._depth) + 1)
        told = self.tell & fresh & (self.what == 3)
        keeps = Signal()  # `entry` goes into the list
        m.d.comb += [
            self.busy.eq(fresh | playing),
            read.addr.eq(place),
            write.addr.eq(place),
            write.en.eq(keeps | told),
            write.data.eq(Mux(keeps, entry.as_value(), self.value)),
        ]
        # A LEARN that comes again, or out of turn, tells nothing.
        with m.If(self.tell):
            with m.Switch(self.what):
                with m.Case(0):
                    m.d.sync += fresh.eq((self.value[: len(self.made)] == self.made) & ~playing)
                with m.Case(1), m.If(fresh):
                    m.d.sync += [place.eq(self.value), following.eq(self.value)]
                with m.Case(2), m.If(fresh):
                    m.d.sync += end.eq(self.value)
                with m.Default(), m.If(fresh):
                    m.d.sync += place.eq(place + 1)
        with m.If(self.go & fresh):
            m.d.sync += [fresh.eq(0), playing.eq(1), self.made.eq(self.made + 1)]
            m.d.sync += [self.cycles.eq(0), self.clamped.eq(0)]
        self._serve(m, entry, place, read.data, keeps, playing, waiting, following, end)
        return m

    def _serve(
        self,
        m: Module,
        entry: data.View,
        place: Signal,
        stored: Value,
        keeps: Signal,
        playing: Signal,
        waiting: Signal,
        following: Signal,
        end: Signal,
    ) -> None:
        """Requests of the link, and those that the list makes."""
        own = self.asked.payload.space == LIST
        asks = Signal()  # the entry is read for the link
        served = Signal()  # the link has had its turn
        access = Signal(REQUEST)
        found = Signal(HOST_BITS)

        def look(register: Register) -> None:
            m.d.sync += [access.write.eq(0), access.space.eq(Space.REGISTER)]
            m.d.sync += access.address.eq(register)

        m.d.comb += self.request.payload.eq(access)
        m.d.comb += self.answered.payload.eq(self.response.payload)
        with m.FSM():
            with m.State("SERVE"):
                m.d.comb += self.request.payload.eq(self.asked.payload)
                mine = playing & (served | ~self.asked.valid)
                m.d.sync += served.eq(~mine & (served | self.asked.ready))
                with m.If(mine & waiting):
                    look(Register.STATUS)
                    m.next = "SEND"
                with m.Elif(mine & (following == end)):
                    m.d.sync += playing.eq(0)
                with m.Elif(mine):
                    m.d.sync += [place.eq(following), following.eq(following + 1), asks.eq(0)]
                    m.next = "READ"
                with m.Elif(self.asked.valid & own):
                    m.d.comb += self.asked.ready.eq(1)
                    m.d.sync += [place.eq(self.asked.payload.address), asks.eq(1)]
                    m.d.sync += entry.eq(self.asked.payload.data)
                    m.next = "READ"
                    with m.If(self.asked.payload.write):
                        m.next = "KEEP"
                with m.Elif(self.asked.valid):
                    m.d.comb += self.request.valid.eq(1)
                    m.d.comb += self.asked.ready.eq(self.request.ready)
                    with m.If(self.request.ready & ~self.asked.payload.write):
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.answered.valid.eq(self.response.valid)
                m.d.comb += self.response.ready.eq(self.answered.ready)
                with m.If(self.response.valid & self.answered.ready):
                    m.next = "SERVE"

            with m.State("READ"):  # the memory answers a cycle later, and into a register
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.sync += entry.eq(stored)
                m.next = "DO"
                with m.If(asks):
                    m.next = "TELL"
            with m.State("TELL"):
                m.d.comb += self.answered.valid.eq(1)
                m.d.comb += self.answered.payload.eq(entry.as_value())
                with m.If(self.answered.ready):
                    m.next = "SERVE"
            with m.State("KEEP"):
                m.d.comb += keeps.eq(1)
                m.next = "SERVE"

            with m.State("DO"):
                number = entry.data.as_signed()
                m.d.sync += [access.write.eq(1), access.data.eq(number)]
                m.d.sync += [access[name].eq(entry[name]) for name in ("space", "lane", "address")]
                starts = (entry.space == Space.REGISTER) & (entry.address == Register.COMMAND)
                m.d.sync += waiting.eq(starts)
                with m.If(entry.space == LIST):
                    look(Register.CLAMPED)
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.request.valid.eq(1)
                with m.If(self.request.ready):
                    m.next = "RECEIVE"
                    with m.If(access.write):
                        m.next = "SERVE"
            with m.State("RECEIVE"):
                m.d.comb += self.response.ready.eq(1)
                m.d.sync += found.eq(self.response.payload)
                with m.If(self.response.valid):
                    m.next = "TAKE"
            with m.State("TAKE"):
                m.next = "SERVE"
                with m.Switch(access.address):
                    with m.Case(Register.STATUS):
                        with m.If(found[DONE]):
                            m.d.sync += waiting.eq(0)
                            look(Register.CYCLES)
                            m.next = "SEND"
                    with m.Case(Register.CYCLES):
                        m.d.sync += self.cycles.eq(self.cycles + found)
                    with m.Default():
                        m.d.sync += self.clamped.eq(self.clamped + found)
                        m.d.sync += entry.data.eq(found)
                        m.next = "KEEP"
