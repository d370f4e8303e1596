"""One multiply lane: its banks of memory, its operands, its product and its sums."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from echoloom.hdl.layouts import ACCESS, addresses, lane_bits, operation
from echoloom.hdl.pipeline import memory
from echoloom.ir.contract import EngineConfig, Narrow, Space, Wide, XMode
from echoloom.ir.fields import mac_fields

# An element issued in cycle t: its memory words are registered in OPERANDS, it multiplies in
# MULTIPLY (the product is there a cycle later) and is added in ADD.
OPERANDS, MULTIPLY, ADD, STORE = 2, 3, 4, 5


def bank_write(config: EngineConfig) -> data.StructLayout:
    return data.StructLayout(
        {"valid": 1, "address": ceil_log2(config.vector_depth), "value": signed(config.word)}
    )


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

    Ports by the pipeline's cycle, counted from an element's issue in cycle 0:
    `address` 0, `x_word` out 1, `broadcast` 2, `gradient_read` 2, `product` out 4,
    `gradient_write` 5; `stage[k]` is the operation in cycle k. `slots` hold the sum in cycle 5
    (`slot_latency`). `product` is word + narrow bits signed, sums are `accumulator` bits,
    gradient words `gradient_bits`.
    `weight` and `gradient` are the words that a host read asked for.
    """

    slot_latency = 5
    gradient_latency = 4  # cycles until an element may read the same gradient word again

    access: data.View
    address: data.View
    stage: list[data.View]
    x_word: Signal
    broadcast: Signal
    gradient_read: Signal
    gradient_write: Signal
    product: Signal
    tree: data.View
    slots: list[Signal]
    write: data.View
    weight: Signal
    gradient: Signal
    overflow: Signal

    def __init__(self, config: EngineConfig, index: int) -> None:
        self._config = config
        self._index = index
        gradient_bits = ceil_log2(config.gradient_depth)
        super().__init__(
            {
                "access": In(ACCESS),
                "address": In(addresses(config)),
                "stage": In(operation(config)).array(STORE + 1),
                "x_word": Out(signed(config.word)),
                "broadcast": In(signed(config.word)),
                "gradient_read": In(gradient_bits),
                "gradient_write": In(gradient_bits),
                "product": Out(signed(config.word + config.narrow)),
                "tree": In(tree_result(config)),
                "slots": Out(signed(config.accumulator)).array(config.slots),
                "write": In(bank_write(config)),
                "weight": Out(signed(config.narrow)),
                "gradient": Out(signed(config.gradient_bits)),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        x_local, y_local = self._read_operands(m)
        self._multiply(m, x_local, y_local)
        self._add(m)
        return m

    def _read_operands(self, m: Module) -> tuple[Signal, Signal]:
        """Cycles 0 to OPERANDS."""
        config = self._config
        m.submodules.weights = weights = memory(signed(config.narrow), config.weight_depth)
        m.submodules.vectors = vectors = memory(signed(config.word), config.vector_depth)
        weight_write, weight_read = weights.write_port(), weights.read_port()
        vector_write, x_read, y_read = (
            vectors.write_port(),
            vectors.read_port(),
            vectors.read_port(),
        )
        x_local = Signal(signed(config.word), reset_less=True)
        y_local = Signal(signed(config.word), reset_less=True)
        m.d.comb += [
            weight_write.addr.eq(self.access.address),
            weight_write.data.eq(self.access.data),
            weight_write.en.eq(
                self.access.write
                & (self.access.space == Space.WEIGHT)
                & (self.access.lane == self._index)
            ),
            vector_write.addr.eq(self.write.address),
            vector_write.data.eq(self.write.value),
            vector_write.en.eq(self.write.valid),
            weight_read.addr.eq(self.address.weight),
            x_read.addr.eq(self.address.x),
            y_read.addr.eq(self.address.y),
            self.x_word.eq(x_read.data),
        ]
        m.d.sync += [
            self.weight.eq(weight_read.data),
            x_local.eq(x_read.data),
            y_local.eq(y_read.data),
        ]
        return x_local, y_local

    def _multiply(self, m: Module, x_local: Signal, y_local: Signal) -> None:
        config = self._config
        operands, multiply = self.stage[OPERANDS], self.stage[MULTIPLY]
        x = Mux(operands.x_mode == XMode.LOCAL, x_local, self.broadcast)
        narrow = Signal(signed(config.narrow), reset_less=True)
        wide = Signal(signed(config.word), reset_less=True)
        m.d.sync += wide.eq(Mux(operands.wide == Wide.X, x, y_local))
        with m.Switch(operands.narrow):
            with m.Case(Narrow.X):
                m.d.sync += narrow.eq(x)
            with m.Case(Narrow.Y):
                m.d.sync += narrow.eq(y_local)
            with m.Default():
                m.d.sync += narrow.eq(self.weight)
        m.d.sync += self.product.eq(narrow * wide)
        with m.If(multiply.no_product):
            m.d.sync += self.product.eq(0)

    def _add(self, m: Module) -> None:
        """The adder serves the accumulator and the gradient memory; slots take its sum."""
        config = self._config
        width = config.accumulator
        add = self.stage[ADD]
        kept = signed(config.gradient_bits)
        m.submodules.gradients = gradients = memory(kept, config.gradient_depth)
        write, read = gradients.write_port(), gradients.read_port()
        accumulator = Signal(signed(width), reset_less=True)
        updated = Signal(kept, reset_less=True)
        total = Signal(signed(max(width, len(self.product)) + 1))
        start = Mux(add.from_gradient, self.gradient, Mux(add.from_accumulator, accumulator, 0))
        m.d.comb += [
            read.addr.eq(self.gradient_read),
            total.eq(start + self.product),
            write.addr.eq(self.gradient_write),
            write.data.eq(updated),
            write.en.eq(self.stage[STORE].gradient),
        ]
        m.d.sync += [
            # A register behind the memory: reading and adding are each a cycle's work.
            self.gradient.eq(read.data),
            updated.eq(total),
            self.overflow.eq(
                (add.accumulate & wraps(total, width))
                | (add.gradient & wraps(total, config.gradient_bits))
            ),
        ]
        with m.If(add.accumulate):
            m.d.sync += accumulator.eq(total)
        for number, slot in enumerate(self.slots):
            tree_here = (self.tree.slot == number) & (self.tree.row == self._index)
            with m.If(self.tree.valid & tree_here):
                m.d.sync += slot.eq(self.tree.value)
            with m.Elif(add.push & (add.slot == number)):
                m.d.sync += slot.eq(total)
