"""From the traced functions of a stack to the forward and echo programs, in real numbers.

This is design.md's single sweep spelled out once, for any units: it knows stages of steps, nudges
and contrasts, and nothing about any particular Hamiltonian. Sums over a step's terms
(accumulators) carry the factor that turns them into gradients of the folded coefficients.
"""

from __future__ import annotations

from itertools import product

from echoloom.ir.formats import real
from echoloom.ir.ops import Constant, DynamicShift, Op, Read, Shift
from echoloom.ir.passes.contrast import Contrast
from echoloom.ir.passes.graphs import IDENTITY as IDENTITY
from echoloom.ir.passes.graphs import BlockGraphs as BlockGraphs
from echoloom.ir.passes.graphs import StackGraphs as StackGraphs
from echoloom.ir.passes.graphs import coefficients
from echoloom.ir.passes.walk import BlockWriter, walk_back, walk_forward
from echoloom.ir.passes.writer import Writer
from echoloom.ir.places import Coordinate, Copy, Label, Letter, block_label
from echoloom.ir.program import Accumulator, Body, Declaration, Program, State, Task
from echoloom.ir.sections import Section

HEAD, POOL = Label("head"), Label("pool")
ENCODE = Label("encode")


def _position(block: int, copy: Copy = Copy.FREE) -> str:
    return str(Coordinate(block, copy, Letter.POSITION))


def _momentum(block: int, copy: Copy = Copy.FREE) -> str:
    return str(Coordinate(block, copy, Letter.MOMENTUM))


class _Assembly:
    def __init__(self, graphs: StackGraphs, epsilons: tuple[float, ...], learns: bool):
        self.graphs, self.epsilons = graphs, epsilons
        self.coefficients = coefficients(graphs)
        self.runtime: list[Declaration] = []
        self.states: list[State] = []
        self.accumulators: list[Accumulator] = []
        for index, block in enumerate(graphs.blocks):
            for copy, letter in product(Copy, Letter):
                own = Coordinate(index, copy, letter)
                self.states.append(State(str(own), real(block.positions), own))
        if graphs.classification:
            self.pulled = "error_step" if learns else "error"
            self.runtime.append(Declaration("inverse_length", real()))
            self.runtime += [
                Declaration(name, real(graphs.outputs))
                for name in dict.fromkeys(("error", self.pulled))
            ]
            self.states += [State(name, real(graphs.hidden)) for name in ("mean", "pulled")]

    def writer(self, section: Section, *frame: str) -> Writer:
        shapes = {"x": (self.graphs.inputs,), "target": (self.graphs.outputs,), "gain": ()}
        streamed = tuple(Declaration(name, real(*shapes[name])) for name in frame)
        declared = (*self.coefficients, *self.runtime, *self.states)
        return Writer(section, declared, self.accumulators, streamed)

    # Forward

    def forward_prologue(self) -> Body:
        w = self.writer(Section.FORWARD_PROLOGUE)
        for index, block in enumerate(self.graphs.blocks):
            rest, shape = block_label(index).part("rest"), (block.positions,)
            zero = w.put(rest, Op.CONSTANT, shape=shape, attr=Constant(0.0))
            w.updates += [(_position(index), zero), (_momentum(index), zero)]
        return w.body()

    def forward_step(self) -> Body:
        w = self.writer(Section.FORWARD_STEP, "x")
        h = w.inline(self.graphs.encode, ENCODE, {"x": "x", "encoder": "encoder"})["out"]
        for index, block in enumerate(self.graphs.blocks):
            own = BlockWriter(w, block, index)
            u = own.inline(block.drive, own.label("drive"), x=h)["u"]
            q, p = _position(index), _momentum(index)
            after = walk_forward(own, q, p, u)
            w.updates += [(q, after.q), (p, after.p)]
            h = own.inline(block.mix, own.label("mix"), q=after.q, u=u, x=h)["out"]
        if self.graphs.classification:
            w.accumulate("pool", h, "")
        else:
            prediction = w.inline(self.graphs.head, HEAD, {"head": "head", "h": h})["out"]
            w.emits.append(prediction)
        return w.body()

    def forward_epilogue(self) -> Body:
        w = self.writer(Section.FORWARD_EPILOGUE)
        if self.graphs.classification:
            shape = (self.graphs.hidden,)
            pool = w.put(POOL.part("sum"), Op.READ, shape=shape, attr=Read("pool"))
            near = w.put(POOL.part("near"), Op.SHIFT, pool, attr=Shift(DynamicShift.LENGTH))
            mean = w.put(POOL.part("mean"), Op.MUL, near, "inverse_length")
            w.updates.append(("mean", mean))
            logits = w.inline(self.graphs.head, HEAD, {"head": "head", "h": mean})["out"]
            w.emits.append(logits)
        return w.body()

    # Echo

    def echo_prologue(self) -> Body:
        w = self.writer(Section.ECHO_PROLOGUE)
        for index in range(len(self.graphs.blocks)):
            flipped = w.scale(block_label(index).part("flipped"), _momentum(index), -1.0)
            for copy in Copy:
                if copy is not Copy.FREE:
                    w.updates.append((_position(index, copy), _position(index)))
                w.updates.append((_momentum(index, copy), flipped))
        if self.graphs.classification:
            bindings = {"head": "head", "h": "mean", "g": self.pulled}
            back = w.inline(self.graphs.head_back, HEAD.part("back"), bindings)
            w.updates.append(("pulled", back["h"]))
            if self.pulled != "error":
                bindings["g"] = "error"
                back = w.inline(self.graphs.head_back, HEAD.part("own"), bindings)
            w.accumulate_leaves(self.graphs.head_back, back, "head")
        return w.body()

    def echo_step(self) -> Body:
        regression = not self.graphs.classification
        names = ("x", "target", "gain") if regression else ("x",)
        w = self.writer(Section.ECHO_STEP, *names)
        h = w.inline(self.graphs.encode, ENCODE, {"x": "x", "encoder": "encoder"})["out"]
        inputs: list[tuple[str, str]] = []
        for index, block in enumerate(self.graphs.blocks):
            own = BlockWriter(w, block, index)
            u = own.inline(block.drive, own.label("drive"), x=h)["u"]
            inputs.append((h, u))
            h = own.inline(block.mix, own.label("mix"), q=_position(index), u=u, x=h)["out"]
        g = self.regression_error(w, h) if regression else "pulled"
        for index in reversed(range(len(self.graphs.blocks))):
            g = self.echo_block(w, index, *inputs[index], g)
        bindings = {"encoder": "encoder", "x": "x", "g": g}
        back = w.inline(self.graphs.encode_back, ENCODE.part("back"), bindings)
        w.accumulate_leaves(self.graphs.encode_back, back, "encoder")
        return w.body()

    def regression_error(self, w: Writer, h: str) -> str:
        # A frame is only ever broadcast; the identity product gives every lane its own target.
        shape = (self.graphs.outputs,)
        target = w.put(HEAD.part("target"), Op.MATVEC, IDENTITY, "target", shape=shape)
        bindings = {"head": "head", "h": h, "target": target, "gain": "gain"}
        back = w.inline(self.graphs.head_back, HEAD.part("back"), bindings)
        w.accumulate_leaves(self.graphs.head_back, back, "head")
        return back["h"]

    def echo_block(self, w: Writer, index: int, x: str, u: str, g: str) -> str:
        block, epsilon = self.graphs.blocks[index], self.epsilons[index]
        own = BlockWriter(w, block, index)
        q = {copy: _position(index, copy) for copy in Copy}
        p = {copy: _momentum(index, copy) for copy in Copy}
        back = own.inline(block.mix_back, own.label("back"), q=q[Copy.FREE], u=u, x=x, g=g)
        w.accumulate_leaves(block.mix_back, back, own.name)

        push = w.put(own.label("push"), Op.MUL, own.step, back["q"])
        nudge = w.scale(own.label("nudge"), push, epsilon)
        nudged = {
            copy: w.put(own.label("nudged", copy), op, p[copy], nudge)
            for copy, op in ((Copy.PLUS, Op.ADD), (Copy.MINUS, Op.SUB))
        }
        free = walk_back(own, Copy.FREE, q[Copy.FREE], p[Copy.FREE], u)
        walks = {Copy.FREE: free}
        for copy, momentum in nudged.items():
            walks[copy] = walk_back(own, copy, q[copy], momentum, u, free)
        for copy in Copy:
            w.updates += [(q[copy], walks[copy].q), (p[copy], walks[copy].p)]
        contrast = Contrast(own, walks, -0.5 / epsilon).write(u)

        g_u = w.total(own.label("g_u"), [back["u"], *contrast])
        pulled = own.inline(block.drive_back, own.label("drive").part("back"), x=x, g=g_u)
        w.accumulate_leaves(block.drive_back, pulled, own.name)
        return w.total(own.label("g_x"), [back["x"], pulled["x"]])


def assemble(
    graphs: StackGraphs, epsilons: tuple[float, ...], name: str = "hssm", *, learns: bool = False
) -> Program:
    """The whole program of a stack in real numbers; epsilons holds one nudge size a block.

    The echo of a classification that `learns` is told its error twice: `error` for the head's own
    gradients, and `error_step` for what goes back into every step, which the host may weigh by the
    sequence's length.
    """
    assembly = _Assembly(graphs, epsilons, learns)
    bodies = (
        assembly.forward_prologue(),
        assembly.forward_step(),
        assembly.forward_epilogue(),
        assembly.echo_prologue(),
        assembly.echo_step(),
        Body(Section.ECHO_EPILOGUE),
    )
    return Program(
        name,
        assembly.coefficients,
        tuple(assembly.runtime),
        tuple(assembly.states),
        tuple(assembly.accumulators),
        bodies,
        Task.CLASSIFICATION if graphs.classification else Task.REGRESSION,
    )
