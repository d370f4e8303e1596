"""One multiply lane: its banks of memory, its operands, its product and its sums."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.carry_select import CarrySelectSum
from echoloom.hdl.contents import EMPTY, Contents
from echoloom.hdl.layouts import ACCESS, addresses, lane_bits, operation, weight_write
from echoloom.hdl.multiplier import Multiplier
from echoloom.hdl.pipeline import delay, memory
from echoloom.ir.contract import EngineConfig, Narrow, Space, Wide, XMode
from echoloom.ir.fields import mac_fields

# An element issued in cycle t, cycle by cycle. In X_WORD its bank's X word is there, in BROADCAST
# the word that all lanes get; in OPERANDS the multiplier's operands are chosen, in ADD its product
# is added, in STORE the sum goes into the slots or the gradient memory.
X_WORD, BROADCAST, OPERANDS = 3, 5, 6
ADD = OPERANDS + Multiplier.latency
STORE = ADD + 1
MEMORY = 3  # cycles from an address at a lane's port to the word, with a register on either side
# Where addresses are there of words that have one register more, on a long way.
WEIGHT, GRADIENT = OPERANDS - MEMORY - 1, ADD - MEMORY - 1


def bank_write(config: EngineConfig) -> data.StructLayout:
    return data.StructLayout(
        {"valid": 1, "address": ceil_log2(config.vector_depth), "value": signed(config.word)}
    )


def read_bits(config: EngineConfig) -> int:
    """Of the longest word that a host reads from a lane."""
    return max(config.narrow, config.gradient_bits)


def tree_result(config: EngineConfig) -> data.StructLayout:
    return data.StructLayout(
        {
            "valid": 1,
            "slot": mac_fields(config)["slot"],
            "row": lane_bits(config),
            "value": signed(config.accumulator),
        }
    )


def wraps(total: Value, width: int) -> Value:
    """Whether a signed value does not fit in `width` bits."""
    top = total[width - 1 :]
    return top.any() & ~top.all()


class Lane(wiring.Component):
    """Lane `index` of the engine.

    Ports by the pipeline's cycle, counted from an element's issue in cycle 0: `x` and `y`
    addresses 0, `x_word` out X_WORD, `weight_address` WEIGHT, `broadcast` BROADCAST,
    `gradient_read` GRADIENT, `gradient_write` STORE - 1; `stage[k]` is the operation in cycle
    k; `product` out ADD. A lane registers whatever it shares with others before it uses it, so
    that no path goes to all lanes and through logic in one cycle.
    `slot` selects the sum that is there as `sum` two cycles later; a slot holds its sum from the
    cycle after STORE. `write` is registered before it reaches the memory, and so is `weight_write`
    of an engine that learns.
    A gradient word that a host writes goes through the adder, beside a product of 0; the engine is
    idle then.
    `product` is word + narrow bits signed, sums are `accumulator` bits,
    gradient words `gradient_bits`.
    `passed` is `access` a cycle later, for other lanes. Words that a host reads go from lane to
    lane: `read_word` is this lane's weight or gradient word if `access` names the lane, else what
    came as `read_before`, a cycle later.
    """

    slot_latency = STORE  # from issue to the first `slot` that asks for the sum
    # Until an element may read the same gradient word again.
    gradient_latency = STORE - GRADIENT

    access: data.View
    passed: data.View
    x: Signal
    y: Signal
    weight_address: Signal
    stage: list[data.View]
    x_word: Signal
    broadcast: Signal
    gradient_read: Signal
    gradient_write: Signal
    product: Signal
    slot: Signal
    sum: Signal
    write: data.View
    weight_write: data.View
    read_before: Signal
    read_word: Signal
    overflow: Signal

    def __init__(self, config: EngineConfig, index: int, contents: Contents = EMPTY) -> None:
        self._config = config
        self._index = index
        self._contents = contents
        bits = addresses(config)
        super().__init__(
            {
                "access": In(ACCESS),
                "passed": Out(ACCESS),
                "x": In(bits["x"].shape),
                "y": In(bits["y"].shape),
                "weight_address": In(bits["weight"].shape),
                "stage": In(operation(config)).array(STORE),
                "x_word": Out(signed(config.word)),
                "broadcast": In(signed(config.word)),
                "gradient_read": In(bits["gradient"].shape),
                "gradient_write": In(bits["gradient"].shape),
                "product": Out(signed(config.word + config.narrow)),
                "slot": In(mac_fields(config)["slot"]),
                "sum": Out(signed(config.accumulator)),
                "write": In(bank_write(config)),
                **({"weight_write": In(weight_write(config))} if config.learns else {}),
                "read_before": In(signed(read_bits(config))),
                "read_word": Out(signed(read_bits(config))),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # Decoded again in every lane: `own[k]` is the operation in cycle k.
        own = [delay(m, stage, 1, name=f"own_{k}")[-1]
               for k, stage in enumerate(self.stage, start=1)]  # fmt: skip
        self._own = dict(enumerate(own, start=1))
        x_local, y_local = self._vectors(m)
        self._given(m)
        weight = self._weights(m)
        self._multiply(m, weight, x_local, y_local)
        total, gradient = self._add(m)
        self._slots(m, total)
        weights, here = Signal(), Signal()
        m.d.sync += [
            weights.eq(self.access.space == Space.WEIGHT),
            here.eq(self.access.lane == self._index),
            self.read_word.eq(Mux(here, Mux(weights, weight, gradient), self.read_before)),
        ]
        return m

    def _vectors(self, m: Module) -> tuple[Signal, Signal]:
        """X and Y of the lane's own bank, in cycle OPERANDS. Both are read in one cycle, so that
        one latency says when a written word may be read."""
        config = self._config
        m.submodules.vectors = vectors = memory(
            signed(config.word), config.vector_depth, self._contents.vectors_of(self._index)
        )
        port, x_read, y_read = vectors.write_port(), vectors.read_port(), vectors.read_port()
        write = delay(m, self.write, 1, name="write")[-1]
        m.d.comb += [
            port.addr.eq(write.address),
            port.data.eq(write.value),
            port.en.eq(write.valid),
            x_read.addr.eq(delay(m, self.x, 1, name="x")[-1]),
            y_read.addr.eq(delay(m, self.y, 1, name="y")[-1]),
        ]
        x = delay(m, x_read.data, OPERANDS - X_WORD + 1, name="x_word")
        y = delay(m, y_read.data, OPERANDS - X_WORD + 1, name="y_word")
        m.d.comb += self.x_word.eq(x[1])
        return x[-1], y[-1]

    def _given(self, m: Module) -> None:
        """What a host writes, registered in every lane."""
        bits = read_bits(self._config)
        address = max(self._config.weight_depth, self._config.gradient_depth)
        self._to = delay(m, self.access.address[: ceil_log2(address)], 2, name="to")
        self._data = delay(m, self.access.data[:bits], 1, name="given")[-1]
        m.d.comb += self.passed.eq(delay(m, self.access, 1, name="passed")[-1])
        here = self.access.write & (self.access.lane == self._index)
        chosen = here & (self.access.space == Space.GRADIENT)
        self._write_gradient = delay(m, chosen, 3, name="write_gradient")

    def _weights(self, m: Module) -> Signal:
        config = self._config
        m.submodules.weights = weights = memory(
            signed(config.narrow), config.weight_depth, self._contents.weights_of(self._index)
        )
        write, read = weights.write_port(), weights.read_port()
        here = (self.access.space == Space.WEIGHT) & (self.access.lane == self._index)
        chosen = delay(m, self.access.write & here, 1, name="write_weight")[-1]
        at, word, valid = self._to[1], self._data, chosen
        if config.learns:
            own = delay(m, self.weight_write, 1, name="own_weight")[-1]
            # The host writes while nothing runs.
            at, word = Mux(own.valid, own.address, at), Mux(own.valid, own.value, word)
            valid = chosen | own.valid
        m.d.comb += [
            write.addr.eq(at),
            write.data.eq(word),
            write.en.eq(valid),
            read.addr.eq(delay(m, self.weight_address, 1, name="weight_address")[-1]),
        ]
        return delay(m, read.data, 2, name="weight")[-1]

    def _multiply(self, m: Module, weight: Signal, x_local: Signal, y_local: Signal) -> None:
        config = self._config
        operands = self._own[OPERANDS]
        broadcast = delay(m, self.broadcast, 1, name="broadcast")[-1]
        x = Mux(operands.x_mode == XMode.LOCAL, x_local, broadcast)
        m.submodules.multiplier = multiplier = Multiplier(config.narrow, config.word)
        m.d.comb += multiplier.wide.eq(Mux(operands.wide == Wide.X, x, y_local))
        with m.Switch(operands.narrow):
            with m.Case(Narrow.X):
                m.d.comb += multiplier.narrow.eq(x)
            with m.Case(Narrow.Y):
                m.d.comb += multiplier.narrow.eq(y_local)
            with m.Default():
                m.d.comb += multiplier.narrow.eq(weight)
        m.d.comb += [
            multiplier.clear.eq(self._own[ADD - 1].no_product | self._write_gradient[1]),
            self.product.eq(multiplier.product),
        ]

    def _add(self, m: Module) -> tuple[Signal, Signal]:
        """The adder serves the accumulator and the gradient memory: its sum, in cycle STORE, and
        the gradient word that it started from."""
        config = self._config
        width = config.accumulator
        add = self._own[ADD]
        kept = signed(config.gradient_bits)
        m.submodules.gradients = gradients = memory(kept, config.gradient_depth)
        write, read = gradients.write_port(), gradients.read_port()
        m.submodules.adder = adder = CarrySelectSum(max(width, len(self.product)))
        total = adder.total
        updated = Signal.like(total, reset_less=True)
        gradient = delay(m, read.data, 1, name="gradient")[-1]
        loaded = Signal(kept, reset_less=True)
        store = self._own[STORE]
        given = Mux(self._write_gradient[1], self._data, 0)
        m.d.sync += loaded.eq(Mux(self._own[ADD - 1].from_gradient, gradient, given))
        to = Mux(self._write_gradient[2], self._to[2], self.gradient_write)
        m.d.comb += [
            read.addr.eq(delay(m, self.gradient_read, 1, name="gradient_read")[-1]),
            # An entry that goes on with a sum follows it at once.
            adder.a.eq(Mux(add.from_accumulator, updated[:width].as_signed(), loaded)),
            adder.b.eq(self.product),
            write.addr.eq(delay(m, to, 1, name="gradient_write")[-1]),
            write.data.eq(updated),
            write.en.eq(store.gradient | self._write_gradient[3]),
        ]
        m.d.sync += [
            updated.eq(total),
            self.overflow.eq(
                (store.accumulate & wraps(updated, width))
                | (store.gradient & wraps(updated, config.gradient_bits))
            ),
        ]
        return updated, gradient

    def _slots(self, m: Module, total: Signal) -> None:
        """Sums that wait for a drain, in LUT RAM."""
        shape, store = signed(self._config.accumulator), self._own[STORE]
        m.submodules.slots = slots = Memory(shape=shape, depth=self._config.slots, init=[])
        write, read = slots.write_port(), slots.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(store.slot),
            write.data.eq(total),
            write.en.eq(store.push),
            read.addr.eq(delay(m, self.slot, 1, name="slot")[-1]),
            self.sum.eq(delay(m, read.data, 1, name="sum")[-1]),
        ]
