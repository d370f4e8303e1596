"""From the traced functions of a stack to the forward and echo programs, in real numbers.

This is design.md's single sweep spelled out once, for any units: it knows stages of steps, nudges
and contrasts, and nothing about any particular Hamiltonian. Sums over a step's terms
(accumulators) carry the factor that turns them into gradients of the folded coefficients.
"""

from __future__ import annotations

from echoloom.ir.formats import real
from echoloom.ir.ops import Constant, DynamicShift, Op, Read, Shift
from echoloom.ir.passes.contrast import Contrast
from echoloom.ir.passes.graphs import IDENTITY as IDENTITY
from echoloom.ir.passes.graphs import BlockGraphs as BlockGraphs
from echoloom.ir.passes.graphs import StackGraphs as StackGraphs
from echoloom.ir.passes.graphs import coefficients
from echoloom.ir.passes.walk import walk_back, walk_forward
from echoloom.ir.passes.writer import Writer
from echoloom.ir.program import Accumulator, Body, Declaration, Program
from echoloom.ir.sections import Section

COPIES = ("free", "plus", "minus")


class _Assembly:
    def __init__(self, graphs: StackGraphs, epsilons: tuple[float, ...]):
        self.graphs, self.epsilons = graphs, epsilons
        self.coefficients = coefficients(graphs)
        self.runtime: list[Declaration] = []
        self.states: list[Declaration] = []
        self.accumulators: list[Accumulator] = []
        for index, block in enumerate(graphs.blocks):
            for copy in COPIES:
                for letter in "qp":
                    name = f"b{index}.{copy}.{letter}"
                    self.states.append(Declaration(name, real(block.positions)))
        if graphs.classification:
            self.runtime += [
                Declaration("inverse_length", real()),
                Declaration("error", real(graphs.outputs)),
            ]
            self.states.append(Declaration("mean", real(graphs.hidden)))
            self.states.append(Declaration("pulled", real(graphs.hidden)))

    def writer(self, section: Section, *frame: str) -> Writer:
        shapes = {"x": (self.graphs.inputs,), "target": (self.graphs.outputs,), "gain": ()}
        streamed = tuple(Declaration(name, real(*shapes[name])) for name in frame)
        declared = (*self.coefficients, *self.runtime, *self.states)
        return Writer(section, declared, self.accumulators, streamed)

    # Forward

    def forward_prologue(self) -> Body:
        w = self.writer(Section.FORWARD_PROLOGUE)
        for index, block in enumerate(self.graphs.blocks):
            zero = w.put(
                f"b{index}.rest", Op.CONSTANT, shape=(block.positions,), attr=Constant(0.0)
            )
            w.updates += [(f"b{index}.free.q", zero), (f"b{index}.free.p", zero)]
        return w.body()

    def forward_step(self) -> Body:
        w = self.writer(Section.FORWARD_STEP, "x")
        h = w.inline(self.graphs.encode, "encode", {"x": "x", "encoder": "encoder"})["out"]
        for index, block in enumerate(self.graphs.blocks):
            u = w.inline(block.drive, f"b{index}.drive", {"block": f"b{index}", "x": h})["u"]
            q, p = f"b{index}.free.q", f"b{index}.free.p"
            after = walk_forward(w, block, index, q, p, u)
            w.updates += [(q, after.q), (p, after.p)]
            bindings = {"block": f"b{index}", "q": after.q, "u": u, "x": h}
            h = w.inline(block.mix, f"b{index}.mix", bindings)["out"]
        if self.graphs.classification:
            w.accumulate("pool", h, "")
        else:
            prediction = w.inline(self.graphs.head, "head", {"head": "head", "h": h})["out"]
            w.emits.append(prediction)
        return w.body()

    def forward_epilogue(self) -> Body:
        w = self.writer(Section.FORWARD_EPILOGUE)
        if self.graphs.classification:
            shape = (self.graphs.hidden,)
            pool = w.put("pool.sum", Op.READ, shape=shape, attr=Read("pool"))
            near = w.put("pool.near", Op.SHIFT, pool, attr=Shift(DynamicShift.LENGTH))
            mean = w.put("pool.mean", Op.MUL, near, "inverse_length")
            w.updates.append(("mean", mean))
            logits = w.inline(self.graphs.head, "head", {"head": "head", "h": mean})["out"]
            w.emits.append(logits)
        return w.body()

    # Echo

    def echo_prologue(self) -> Body:
        w = self.writer(Section.ECHO_PROLOGUE)
        for index in range(len(self.graphs.blocks)):
            q, p = f"b{index}.free.q", f"b{index}.free.p"
            flipped = w.scale(f"b{index}.flipped", p, -1.0)
            for copy in COPIES:
                if copy != "free":
                    w.updates.append((f"b{index}.{copy}.q", q))
                w.updates.append((f"b{index}.{copy}.p", flipped))
        if self.graphs.classification:
            bindings = {"head": "head", "h": "mean", "g": "error"}
            back = w.inline(self.graphs.head_back, "head.back", bindings)
            w.updates.append(("pulled", back["h"]))
            w.accumulate_leaves(back, "head", "head")
        return w.body()

    def echo_step(self) -> Body:
        regression = not self.graphs.classification
        names = ("x", "target", "gain") if regression else ("x",)
        w = self.writer(Section.ECHO_STEP, *names)
        h = w.inline(self.graphs.encode, "encode", {"x": "x", "encoder": "encoder"})["out"]
        inputs: list[tuple[str, str]] = []
        for index, block in enumerate(self.graphs.blocks):
            own = {"block": f"b{index}"}
            u = w.inline(block.drive, f"b{index}.drive", {**own, "x": h})["u"]
            inputs.append((h, u))
            bindings = {**own, "q": f"b{index}.free.q", "u": u, "x": h}
            h = w.inline(block.mix, f"b{index}.mix", bindings)["out"]
        g = self.regression_error(w, h) if regression else "pulled"
        for index in reversed(range(len(self.graphs.blocks))):
            g = self.echo_block(w, index, *inputs[index], g)
        back = w.inline(
            self.graphs.encode_back, "encode.back", {"encoder": "encoder", "x": "x", "g": g}
        )
        w.accumulate_leaves(back, "encoder", "encoder")
        return w.body()

    def regression_error(self, w: Writer, h: str) -> str:
        # A frame is only ever broadcast; the identity product gives every lane its own target.
        shape = (self.graphs.outputs,)
        target = w.put("head.target", Op.MATVEC, IDENTITY, "target", shape=shape)
        bindings = {"head": "head", "h": h, "target": target, "gain": "gain"}
        back = w.inline(self.graphs.head_back, "head.back", bindings)
        w.accumulate_leaves(back, "head", "head")
        return back["h"]

    def echo_block(self, w: Writer, index: int, x: str, u: str, g: str) -> str:
        block, epsilon = self.graphs.blocks[index], self.epsilons[index]
        name, own = f"b{index}", {"block": f"b{index}"}
        q = {copy: f"{name}.{copy}.q" for copy in COPIES}
        p = {copy: f"{name}.{copy}.p" for copy in COPIES}
        bindings = {**own, "q": q["free"], "u": u, "x": x, "g": g}
        back = w.inline(block.mix_back, f"{name}.back", bindings)
        w.accumulate_leaves(back, "block", name)

        push = w.put(f"{name}.push", Op.MUL, f"{name}.step", back["q"])
        nudge = w.scale(f"{name}.nudge", push, epsilon)
        before = {
            "free": p["free"],
            "plus": w.put(f"{name}.plus.nudged", Op.ADD, p["plus"], nudge),
            "minus": w.put(f"{name}.minus.nudged", Op.SUB, p["minus"], nudge),
        }
        free = walk_back(w, block, index, "free", q["free"], before["free"], u)
        walks = {"free": free}
        for copy in COPIES[1:]:
            walks[copy] = walk_back(w, block, index, copy, q[copy], before[copy], u, free)
        for copy in COPIES:
            w.updates += [(q[copy], walks[copy].q), (p[copy], walks[copy].p)]
        contrast = Contrast(w, block, index, walks, -0.5 / epsilon).write(u)

        g_u = w.total(f"{name}.g_u", [back["u"], *contrast])
        pulled = w.inline(block.drive_back, f"{name}.drive.back", {**own, "x": x, "g": g_u})
        w.accumulate_leaves(pulled, "block", name)
        return w.total(f"{name}.g_x", [back["x"], pulled["x"]])


def assemble(graphs: StackGraphs, epsilons: tuple[float, ...], name: str = "hssm") -> Program:
    """The whole program of a stack in real numbers; epsilons holds one nudge size a block."""
    assembly = _Assembly(graphs, epsilons)
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
    )
