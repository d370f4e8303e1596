"""From the traced functions of a stack to the forward and echo programs, in real numbers.

This is design.md's single sweep spelled out once, for any units: it knows leapfrog steps, nudges
and contrasts, and nothing about any particular Hamiltonian. Sums over a step's terms
(accumulators) carry the factor that turns them into gradients of the folded coefficients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from echoloom.ir.engine import DynamicShift, Section
from echoloom.ir.formats import Type, real
from echoloom.ir.ops import Attribute, Constant, Op, Read, Scale, Shift
from echoloom.ir.program import Accumulator, Body, Declaration, Graph, Instr, Program

COPIES = ("free", "plus", "minus")
IDENTITY = "identity"  # the coefficient that brings a streamed target into the lanes


@dataclass(frozen=True)
class BlockGraphs:
    """Traced functions of one block. Coefficients are called `block.<path>` in all of them."""

    drive: Graph  # x -> u
    velocity: Graph  # p -> v
    force: Graph  # q, u -> f
    mix: Graph  # q, u, x -> out
    mix_back: Graph  # q, u, x, g -> q, u, x, block.*
    potential_contrast: Graph  # q, u -> u, block.unit.*: derivatives of V
    kinetic_contrast: Graph  # p -> block.unit.*: derivatives of T
    drive_back: Graph  # x, g -> x, block.*
    positions: int


@dataclass(frozen=True)
class StackGraphs:
    """Traced functions of a stack; the head's coefficients are `head.*`, the encoder's `encoder.*`.

    Classification: head: h -> out and head_back: h, g -> h, head.*.
    Regression: head: h -> out and head_back: h, target -> h, head.* of half the squared error.
    """

    encode: Graph  # x -> out
    encode_back: Graph  # x, g -> encoder.*
    blocks: tuple[BlockGraphs, ...]
    head: Graph
    head_back: Graph
    classification: bool
    inputs: int
    outputs: int
    hidden: int


class _Writer:
    """Collects the code of one body; names are made unique by a prefix and a counter."""

    def __init__(self, program: _Assembly, section: Section, frame: tuple[Declaration, ...] = ()):
        self.section, self.frame, self.assembly = section, frame, program
        self.instrs: list[Instr] = []
        self.updates: list[tuple[str, str]] = []
        self.accumulates: list[tuple[str, str]] = []
        self.emits: list[str] = []
        self.types: dict[str, Type] = {d.name: d.type for d in (*program.declared(), *frame)}

    def put(
        self,
        name: str,
        op: Op,
        *args: str,
        shape: tuple[int, ...] | None = None,
        attr: Attribute | None = None,
    ) -> str:
        if shape is None:
            shape = max((self.types[a].shape for a in args), key=len)
        unique, count = name, 1
        while unique in self.types:
            count += 1
            unique = f"{name}_{count}"
        type_ = real(*shape)
        self.instrs.append(Instr(unique, op, args, type_, attr))
        self.types[unique] = type_
        return unique

    def scale(self, name: str, value: str, factor: float) -> str:
        return self.put(name, Op.SCALE, value, attr=Scale(factor))

    def inline(self, graph: Graph, prefix: str, bindings: Mapping[str, str]) -> dict[str, str]:
        """Copy a graph's code; `bindings` maps its inputs to values here, by longest prefix."""
        names = {d.name: _bound(d.name, bindings) for d in graph.inputs}
        for instr in graph.instrs:
            names[instr.name] = self.put(
                f"{prefix}.{instr.name}",
                instr.op,
                *(names[a] for a in instr.args),
                shape=instr.type.shape,
                attr=instr.attr,
            )
        return {result: names[value] for result, value in graph.outputs}

    def accumulate(self, name: str, value: str, target: str, scale: float, divisor: str) -> None:
        accumulator = Accumulator(name, self.types[value], scale, target, divisor)
        self.assembly.accumulators.append(accumulator)
        self.accumulates.append((name, value))

    def body(self) -> Body:
        return Body(
            self.section,
            self.frame,
            tuple(self.instrs),
            tuple(self.updates),
            tuple(self.accumulates),
            tuple(self.emits),
        )


def _bound(name: str, bindings: Mapping[str, str]) -> str:
    if name in bindings:
        return bindings[name]
    for prefix, value in bindings.items():
        if name.startswith(prefix + "."):
            return value + name[len(prefix) :]
    raise KeyError(f"graph input {name} is not bound")


class _Assembly:
    def __init__(self, graphs: StackGraphs, epsilons: tuple[float, ...]):
        self.graphs, self.epsilons = graphs, epsilons
        self.coefficients = tuple(_coefficients(graphs))
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

    def declared(self) -> Iterable[Declaration]:
        return (*self.coefficients, *self.runtime, *self.states)

    def frame(self, *names: str) -> tuple[Declaration, ...]:
        shapes = {"x": (self.graphs.inputs,), "target": (self.graphs.outputs,), "gain": ()}
        return tuple(Declaration(name, real(*shapes[name])) for name in names)

    # Forward

    def forward_prologue(self) -> Body:
        w = _Writer(self, Section.FORWARD_PROLOGUE)
        for index, block in enumerate(self.graphs.blocks):
            zero = w.put(
                f"b{index}.rest", Op.CONSTANT, shape=(block.positions,), attr=Constant(0.0)
            )
            w.updates += [(f"b{index}.free.q", zero), (f"b{index}.free.p", zero)]
        return w.body()

    def forward_step(self) -> Body:
        w = _Writer(self, Section.FORWARD_STEP, self.frame("x"))
        h = w.inline(self.graphs.encode, "encode", {"x": "x", "encoder": "encoder"})["out"]
        for index, block in enumerate(self.graphs.blocks):
            u = w.inline(block.drive, f"b{index}.drive", {"block": f"b{index}", "x": h})["u"]
            q, p = f"b{index}.free.q", f"b{index}.free.p"
            after = _leapfrog(w, block, index, "free", q, p, u)
            w.updates += [(q, after.q), (p, after.p)]
            bindings = {"block": f"b{index}", "q": after.q, "u": u, "x": h}
            h = w.inline(block.mix, f"b{index}.mix", bindings)["out"]
        if self.graphs.classification:
            w.accumulate("pool", h, "", 1.0, "")
        else:
            prediction = w.inline(self.graphs.head, "head", {"head": "head", "h": h})["out"]
            w.emits.append(prediction)
        return w.body()

    def forward_epilogue(self) -> Body:
        w = _Writer(self, Section.FORWARD_EPILOGUE)
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
        w = _Writer(self, Section.ECHO_PROLOGUE)
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
            _accumulate_leaves(w, back, "head", "head", "", 1.0)
        return w.body()

    def echo_step(self) -> Body:
        regression = not self.graphs.classification
        names = ("x", "target", "gain") if regression else ("x",)
        w = _Writer(self, Section.ECHO_STEP, self.frame(*names))
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
        _accumulate_leaves(w, back, "encoder", "encoder", "", 1.0)
        return w.body()

    def regression_error(self, w: _Writer, h: str) -> str:
        # A frame is only ever broadcast; the identity product gives every lane its own target.
        shape = (self.graphs.outputs,)
        target = w.put("head.target", Op.MATVEC, IDENTITY, "target", shape=shape)
        bindings = {"head": "head", "h": h, "target": target, "gain": "gain"}
        back = w.inline(self.graphs.head_back, "head.back", bindings)
        _accumulate_leaves(w, back, "head", "head", "", 1.0)
        return back["h"]

    def echo_block(self, w: _Writer, index: int, x: str, u: str, g: str) -> str:
        block, epsilon = self.graphs.blocks[index], self.epsilons[index]
        name, own = f"b{index}", {"block": f"b{index}"}
        q = {copy: f"{name}.{copy}.q" for copy in COPIES}
        p = {copy: f"{name}.{copy}.p" for copy in COPIES}
        bindings = {**own, "q": q["free"], "u": u, "x": x, "g": g}
        back = w.inline(block.mix_back, f"{name}.back", bindings)
        _accumulate_leaves(w, back, "block", name, "", 1.0)

        push = w.put(f"{name}.push", Op.MUL, f"{name}.step", back["q"])
        nudge = w.scale(f"{name}.nudge", push, epsilon)
        before = {
            "free": p["free"],
            "plus": w.put(f"{name}.plus.nudged", Op.ADD, p["plus"], nudge),
            "minus": w.put(f"{name}.minus.nudged", Op.SUB, p["minus"], nudge),
        }
        steps = {c: _leapfrog(w, block, index, c, q[c], before[c], u) for c in COPIES}
        for copy in COPIES:
            w.updates += [(q[copy], steps[copy].q), (p[copy], steps[copy].p)]

        factor = -0.5 / epsilon
        contrast = self.potential_contrast(w, index, steps["plus"], steps["minus"], u, factor)
        self.kinetic_contrast(w, index, before, {c: steps[c].p for c in COPIES}, factor)
        self.step_contrast(w, index, before, steps, factor)

        g_u = _sum(w, f"{name}.g_u", [back["u"], *contrast])
        pulled = w.inline(block.drive_back, f"{name}.drive.back", {**own, "x": x, "g": g_u})
        _accumulate_leaves(w, pulled, "block", name, "", 1.0)
        return _sum(w, f"{name}.g_x", [back["x"], pulled["x"]])

    def potential_contrast(
        self, w: _Writer, index: int, plus: _Step, minus: _Step, u: str, factor: float
    ) -> list[str]:
        graph = self.graphs.blocks[index].potential_contrast
        sides = [
            w.inline(graph, f"b{index}.{copy}.dV", {"block": f"b{index}", "q": step.half, "u": u})
            for copy, step in (("plus", plus), ("minus", minus))
        ]
        drive: list[str] = []
        for leaf, value in sides[0].items():
            if _vanishes(w, value):
                continue
            difference = w.put(f"b{index}.contrast.{leaf}", Op.SUB, value, sides[1][leaf])
            if leaf == "u":
                drive.append(w.scale(f"b{index}.contrast.drive", difference, factor))
            else:
                target = _renamed(leaf, "block", f"b{index}")
                w.accumulate(target + "/potential", difference, target, factor, "")
        return drive

    def kinetic_contrast(
        self,
        w: _Writer,
        index: int,
        before: Mapping[str, str],
        after: Mapping[str, str],
        factor: float,
    ) -> None:
        graph = self.graphs.blocks[index].kinetic_contrast
        for moment, momenta in (("before", before), ("after", after)):
            sides = [
                w.inline(graph, f"b{index}.{copy}.dT", {"block": f"b{index}", "p": momenta[copy]})
                for copy in ("plus", "minus")
            ]
            for leaf, value in sides[0].items():
                if _vanishes(w, value):
                    continue
                difference = w.put(f"b{index}.contrast.{leaf}", Op.SUB, value, sides[1][leaf])
                target = _renamed(leaf, "block", f"b{index}")
                name = f"{target}/kinetic.{moment}"
                w.accumulate(name, difference, target, 0.5 * factor, "")

    def step_contrast(
        self,
        w: _Writer,
        index: int,
        before: Mapping[str, str],
        steps: Mapping[str, _Step],
        factor: float,
    ) -> None:
        # dL/dh_i pairs the free copy's force and velocities with the echoes' differences. The
        # nudge carries a factor h_i, so the host divides by it.
        target = f"b{index}.step"
        free = steps["free"]
        terms = (
            ("potential", free.force, steps["plus"].half, steps["minus"].half, 1.0),
            ("kinetic.before", free.velocity_before, before["plus"], before["minus"], 0.5),
            ("kinetic.after", free.velocity_after, steps["plus"].p, steps["minus"].p, 0.5),
        )
        for term, rate, plus, minus, weight in terms:
            difference = w.put(f"b{index}.difference.{term}", Op.SUB, plus, minus)
            product = w.put(f"b{index}.contrast.step.{term}", Op.MUL, difference, rate)
            w.accumulate(f"{target}/{term}", product, target, weight * factor, target)


@dataclass(frozen=True)
class _Step:
    q: str
    p: str
    half: str
    force: str
    velocity_before: str
    velocity_after: str


def _leapfrog(
    w: _Writer, block: BlockGraphs, index: int, copy: str, q: str, p: str, u: str
) -> _Step:
    """Drift, kick, drift; every increment is one product by the step, rounded on its own."""
    own, name, step = {"block": f"b{index}"}, f"b{index}.{copy}", f"b{index}.step"

    def half_drift(label: str, position: str, momentum: str) -> tuple[str, str]:
        v = w.inline(block.velocity, f"{name}.{label}", {**own, "p": momentum})["v"]
        moved = w.scale(f"{name}.{label}.half", w.put(f"{name}.{label}.hv", Op.MUL, step, v), 0.5)
        return w.put(f"{name}.{label}.q", Op.ADD, position, moved), v

    half, velocity_before = half_drift("first", q, p)
    f = w.inline(block.force, f"{name}.force", {**own, "q": half, "u": u})["f"]
    kick = w.put(f"{name}.kick.hf", Op.MUL, step, f)
    momentum = w.put(f"{name}.kick.p", Op.SUB, p, kick)
    position, velocity_after = half_drift("second", half, momentum)
    return _Step(position, momentum, half, f, velocity_before, velocity_after)


def _vanishes(w: _Writer, value: str) -> bool:
    return any(
        i.name == value and isinstance(i.attr, Constant) and i.attr.value == 0.0 for i in w.instrs
    )


def _sum(w: _Writer, name: str, values: list[str]) -> str:
    present = [v for v in values if not _vanishes(w, v)] or values[:1]
    total = present[0]
    for value in present[1:]:
        total = w.put(name, Op.ADD, total, value)
    return total


def _renamed(leaf: str, prefix: str, target: str) -> str:
    return target + leaf[len(prefix) :]


def _accumulate_leaves(
    w: _Writer, results: Mapping[str, str], prefix: str, target: str, divisor: str, scale: float
) -> None:
    for leaf, value in results.items():
        if leaf.startswith(prefix + ".") and not _vanishes(w, value):
            name = _renamed(leaf, prefix, target)
            w.accumulate(name, value, name, scale, divisor)


def _coefficients(graphs: StackGraphs) -> Iterable[Declaration]:
    seen: dict[str, Declaration] = {}
    sources = [(graphs.encode, "encoder", "encoder"), (graphs.head, "head", "head")]
    for index, block in enumerate(graphs.blocks):
        traced = (block.drive, block.velocity, block.force, block.mix)
        sources += [(graph, "block", f"b{index}") for graph in traced]
    for graph, prefix, target in sources:
        for declaration in graph.inputs:
            if declaration.name.startswith(prefix + "."):
                name = _renamed(declaration.name, prefix, target)
                seen.setdefault(name, Declaration(name, declaration.type))
    if not graphs.classification:
        identity = Declaration(IDENTITY, real(graphs.outputs, graphs.outputs))
        seen[identity.name] = identity
    return seen.values()


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
