"""The forward pass for readers of QONNX: one time step from state to state, or a whole sequence.

QONNX has no loop that its readers look into, so a view is straight nodes for a fixed number of
steps and one sequence. docs/onnx.md says what it holds and for whom.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper

from echoloom.backends.onnx.bodies import text
from echoloom.backends.onnx.qonnx_rules import QUANT_NODES
from echoloom.backends.onnx.qonnx_scope import (
    DOMAIN,
    Held,
    NotExpressible,
    Parts,
    QuantScope,
    Words,
)
from echoloom.backends.onnx.writer import element_of, value_info
from echoloom.backends.run.integers import to_words
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.formats import largest
from echoloom.ir.host import forward_states
from echoloom.ir.objective import length_words
from echoloom.ir.ops import Op, Read
from echoloom.ir.program import Declaration
from echoloom.ir.sections import Section

OPSET = 11  # QONNX's own choice


class View:
    """Writes the graph, section by section; `values` holds states, `sums` accumulators."""

    def __init__(self, integer: IntegerProgram):
        self.integer, self.program = integer, integer.program
        self.parts = Parts(integer)
        self.values: dict[str, Held] = {}
        self.sums: dict[str, Held] = {}
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[ValueInfoProto] = []
        self.shift = 0
        # Matrices that stand at the right of a MatMul as they are stored, or the other way round.
        self.coefficients = {d.name for d in self.program.coefficients}

    def input(self, s: QuantScope, name: str, d: Declaration, shape: tuple[int, ...]) -> Held:
        """An input of the graph, rounded and clamped to its format."""
        state = d.name in {state.name for state in self.program.states}
        bound = np.full(d.type.shape, largest(d.type.q.width) + state, np.int64)
        s.held("", d.type.q, bound, f"{d.name} : {d.type}")
        self.parts.shared.names.add(name)
        self.inputs.append(_info(name, shape, f"{d.type}"))
        out = s.quant(name, d.type.q, f"{name}.quant", shape, narrow=not state, doc=f"{d.type}")
        return Held(out, d.type.q, bound)

    def output(
        self, s: QuantScope, name: str, value: str, shape: tuple[int, ...], doc: str
    ) -> None:
        out = s.node("Identity", value, name=name)
        self.outputs.append(_info(out, shape, doc))

    def section(self, s: QuantScope, section: Section, frame: Mapping[str, Held]) -> list[Held]:
        """Writes a section's nodes once: what it emits. Updates states and sums."""
        body = self.program.body(section)
        env = {**self.values, **frame}
        for i in body.instrs:
            if i.op not in QUANT_NODES:
                raise NotExpressible(f"{s.where}: {text(i)} has no QONNX form")
            if isinstance(i.attr, Read):
                env[i.name] = self.sums[i.attr.accumulator]
                continue
            args = [
                s.coefficient(a, i.op is Op.MATVEC and k == 0) if a in self.coefficients else env[a]
                for k, a in enumerate(i.args)
            ]
            env[i.name] = QUANT_NODES[i.op](s, i, args, self.shift)
        for name, value in body.accumulates:
            self.accumulate(s, name, env[value])
        for state, value in body.updates:
            self.values[state] = env[value]
        return [env[value] for value in body.emits]

    def accumulate(self, s: QuantScope, name: str, term: Held) -> None:
        old = self.sums.get(name)
        if old is None:
            self.sums[name] = term
            return
        type_ = next(a.type for a in self.program.accumulators if a.name == name)
        signal = f"accumulator {name} : {type_}"
        value = s.held("", type_.q, old.bound + term.bound, signal)
        if int(value.bound.max()) > largest(type_.q.width):
            raise NotExpressible(f"{s.where}: {signal} could overflow")
        total = s.put("Add", old.name, term.name, name=f"sum/{name}", shape=value.shape, doc=signal)
        self.sums[name] = Held(total, type_.q, value.bound)

    # The two views

    def step(self) -> None:
        """One step: x and states in; states, what the step emits, and its terms of sums out."""
        s = QuantScope(self.parts, Section.FORWARD_STEP, "forward_step/")
        body = self.program.body(Section.FORWARD_STEP)
        frame = {d.name: self.input(s, d.name, d, (1, d.type.size)) for d in body.frame}
        declared = {d.name: d for d in self.program.states}
        for name in forward_states(self.program):
            d = declared[name]
            self.values[name] = self.input(s, f"state/{name}", d, (1, d.type.size))
        emitted = self.section(s, Section.FORWARD_STEP, frame)
        out = QuantScope(self.parts, Section.FORWARD_STEP, "")
        for value in emitted:
            self.output(out, "outputs", value.name, value.shape, f"of this step, {value.q}")
        for name, term in self.sums.items():
            self.output(out, f"term/{name}", term.name, term.shape, f"to be summed, {term.q}")
        for name in forward_states(self.program):
            value = self.values[name]
            self.output(out, f"next/{name}", value.name, value.shape, f"after the step, {value.q}")

    def whole(self, steps: int) -> None:
        """A sequence of `steps` samples: outputs and final states, from rest."""
        s = QuantScope(self.parts, Section.FORWARD_PROLOGUE, "forward_prologue/")
        self.section(s, Section.FORWARD_PROLOGUE, {})
        self.shift, inverse = length_words(steps)
        for d in self.program.runtime:
            if d.name == "inverse_length":
                words: Words = np.atleast_1d(to_words(inverse, d.type.q, d.name))
                real = (words * 2.0**-d.type.q.scalar_frac).astype(np.float32)[None]
                tensor = s.tensor(d.name, real, f"1/T, {d.type}")
                out = s.quant(tensor, d.type.q, f"{d.name}.quant", real.shape)
                self.values[d.name] = s.held(out, d.type.q, words, f"{d.name} : {d.type}")
        (d,) = self.program.body(Section.FORWARD_STEP).frame
        s = QuantScope(self.parts, Section.FORWARD_STEP, "")
        x = self.input(s, d.name, d, (1, steps, d.type.size))
        emitted: list[Held] = []
        for k in range(steps):
            s = QuantScope(self.parts, Section.FORWARD_STEP, f"forward_step.{k}/")
            at = s.constant(k, np.int64)
            one = s.put("Gather", x.name, at, name=d.name, shape=(1, d.type.size), axis=1)
            emitted += self.section(s, Section.FORWARD_STEP, {d.name: Held(one, x.q, x.bound)})
        s = QuantScope(self.parts, Section.FORWARD_EPILOGUE, "forward_epilogue/")
        last = self.section(s, Section.FORWARD_EPILOGUE, {})
        out = QuantScope(self.parts, Section.FORWARD_EPILOGUE, "")
        if self.program.is_classification:
            self.output(out, "outputs", last[0].name, last[0].shape, f"logits, {last[0].q}")
        else:
            self._predictions(out, emitted)
        for name in forward_states(self.program):
            value = self.values[name]
            doc = f"after the last sample, {value.q}"
            self.output(out, f"state/{name}", value.name, value.shape, doc)

    def _predictions(self, s: QuantScope, emitted: list[Held]) -> None:
        every = self.integer.output_step
        kept = emitted[every - 1 :: every]
        size = kept[0].bound.size
        shape = s.constant([1, 1, size], np.int64)
        rows = [
            s.put("Reshape", v.name, shape, name=f"outputs.{k}", shape=(1, 1, size))
            for k, v in enumerate(kept)
        ]
        out = s.put("Concat", *rows, name="outputs.every", shape=(1, len(kept), size), axis=1)
        self.output(s, "outputs", out, (1, len(kept), size), f"predictions, {kept[0].q}")

    def model(self, title: str, doc: str, metadata: Mapping[str, str]) -> ModelProto:
        graph = helper.make_graph(
            self.parts.nodes, title, self.inputs, self.outputs,
            self.parts.shared.initializers, doc, self.parts.infos,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets[:1]),
            producer_name="echoloom", doc_string=doc,
        )  # fmt: skip
        helper.set_model_props(model, dict(metadata))
        return model


def qonnx_view(integer: IntegerProgram, steps: int | None) -> View:
    """The view of one step, or of `steps` from rest. NotExpressible names what QONNX cannot hold;
    ValueError for fewer steps than give an output."""
    fewest = 1 if integer.program.is_classification else integer.output_step
    if steps is not None and steps < fewest:
        raise ValueError(f"steps is {steps}, but a sequence needs at least {fewest}")
    view = View(integer)
    if steps is None:
        view.step()
    else:
        view.whole(steps)
    return view


def _info(name: str, shape: tuple[int, ...], doc: str) -> ValueInfoProto:
    return value_info(name, element_of(np.float32), list(shape), doc)
