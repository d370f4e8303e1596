"""A whole program as one ONNX model: forward pass, or forward pass and echo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, shape_inference

from echoloom.backends.onnx.bodies import Arithmetic, Context, scanned, straight
from echoloom.backends.onnx.functions import Node
from echoloom.backends.onnx.host_nodes import DOUBLE, INT64, Host
from echoloom.backends.onnx.widths import OUT_OF_RANGE
from echoloom.backends.onnx.writer import (
    BATCH,
    OPSET,
    TIME,
    Dimensions,
    Shared,
    Value,
    element_of,
    value_info,
)
from echoloom.backends.run.integers import input_types, output_type
from echoloom.ir.formats import Q
from echoloom.ir.host import forward_states
from echoloom.ir.objective import ERROR, ERROR_STEP
from echoloom.ir.ops import DynamicShift
from echoloom.ir.program import Program
from echoloom.ir.sections import Section

OUTPUTS_TIME = "T_outputs"


@dataclass(frozen=True, eq=False)
class Subject:
    """What is exported: a program, its coefficients, and how it is computed."""

    program: Program
    coefficients: Mapping[str, np.ndarray]
    arithmetic: Arithmetic
    shared: Shared
    output_step: int

    @property
    def exact(self) -> bool:
        return self.arithmetic.dtype is np.int64


class Assembly:
    """Writes the outermost graph, pass by pass."""

    def __init__(self, subject: Subject):
        self.subject, self.program = subject, subject.program
        self.s = Host(subject.shared, "")
        self.types = input_types(self.program)
        self.classification = self.program.is_classification
        self.inputs, self.outputs = [], []
        self.flagged: list[str] = []
        real = DOUBLE if subject.exact else element_of(subject.arithmetic.dtype)
        size = self.types["x"].shape[0]
        self.input("x", real, [BATCH, TIME, size], "samples")
        shape = self.s.put("Shape", "x", name="batch.shape", start=0, end=1)
        self.context = Context(
            self.program, subject.arithmetic, subject.shared, self.s, shape, self._coefficients()
        )

    def input(self, name: str, element: int, shape: Dimensions, doc: str) -> None:
        self.subject.shared.names.add(name)
        self.inputs.append(value_info(name, element, shape, doc))

    def output(self, name: str, value: str, element: int, shape: Dimensions, doc: str) -> None:
        out = self.s.put("Identity", value, name=name)
        self.outputs.append(value_info(out, element, shape, doc))

    def _coefficients(self) -> dict[str, Value]:
        values = {}
        for d in self.program.coefficients:
            array = np.asarray(self.subject.coefficients[d.name], self.subject.arithmetic.dtype)
            doc = f"coefficient, {d.type}"
            values[d.name] = Value(self.s.tensor(d.name, array, doc), False)
        return values

    # From host to words and back

    def words(self, name: str, real: str, label: str) -> str:
        """A host's float64 value as the program's words; outside its range it is flagged."""
        if not self.subject.exact:
            kind = element_of(self.subject.arithmetic.dtype)
            return self.s.put("Cast", real, name=f"{label}.cast", to=kind)
        words, outside = self.s.words(real, self.types[name].q, label)
        self.flagged.append(outside)
        return words

    def reals(self, words: str, q: Q | None, name: str) -> str:
        if q is None:
            return self.s.put("Cast", words, name=f"{name}.double", to=DOUBLE)
        return self.s.reals(words, q, name)

    def format(self, type_: Any) -> Q | None:
        return type_.q if self.subject.exact else None

    # Passes

    def body(self, section: Section, flags: str | None) -> tuple[list[Value], str | None]:
        nodes, emitted, raised = straight(self.context, section)
        self.s.nodes += nodes
        if flags is not None and raised is not None:
            flags = self.s.put("BitwiseOr", flags, raised, name=f"{section.name.lower()}.flags")
        return emitted, flags

    def scan(
        self, section: Section, frames: Mapping[str, str], flags: str | None, reverse: bool
    ) -> tuple[list[Value], str | None]:
        nodes, emitted, flags = scanned(self.context, section, frames, flags, reverse)
        self.s.nodes += nodes
        return emitted, flags

    def no_flags(self) -> str | None:
        if not self.subject.exact:
            return None
        return self.s.put("Expand", self.s.integer(0), self.context.batch, name="flags.none")

    def with_range(self, flags: str | None, rank: int, name: str) -> str | None:
        """The flag word [batch], with OUT_OF_RANGE where an input did not fit."""
        f, axes = self.s.wholes_named(name), self.s.integers(*range(1, rank))
        for outside in self.flagged:
            hits = f.op("ReduceSum", f.node(outside).astype(np.int64), axes, keepdims=0)
            bit = f.where(hits > 0, OUT_OF_RANGE, 0)
            flags = f.op("BitwiseOr", flags or bit, bit).name
        self.flagged = []
        return flags

    def forward(self) -> None:
        s, c, step = self.s, self.context, self.subject.output_step
        self.steps, shift, inverse = s.length("x")
        c.registers[DynamicShift.LENGTH] = shift
        if self.classification:
            c.values["inverse_length"] = Value(self.words("inverse_length", inverse, "1/T"), False)
            self.flagged = []  # 1/T always fits
        self.x = self.words("x", "x", "x")
        self.rows = s.swapped(self.x)
        _, flags = self.body(Section.FORWARD_PROLOGUE, self.no_flags())
        emitted, flags = self.scan(Section.FORWARD_STEP, {"x": self.rows}, flags, False)
        last, flags = self.body(Section.FORWARD_EPILOGUE, flags)
        flags = self.with_range(flags, 3, "forward_flags")
        if self.classification:
            self.emitted = last[0].name
        else:
            limits = s.integers(step - 1), s.integers(np.iinfo(np.int64).max)
            every = s.put("Slice", emitted[0].name, *limits, s.integers(0), s.integers(step),
                          name="outputs.every")  # fmt: skip
            self.emitted = s.swapped(every)
        kind = output_type(self.program)
        self.real_outputs = self.reals(self.emitted, self.format(kind), "outputs")
        self._forward_outputs(kind.size, flags)

    def _forward_outputs(self, size: int, flags: str | None) -> None:
        element = element_of(self.subject.arithmetic.dtype)
        middle: Dimensions = [] if self.classification else [OUTPUTS_TIME]
        what = "logits" if self.classification else "predictions"
        shape: Dimensions = [BATCH, *middle, size]
        self.output("outputs", self.emitted, element, shape,
                    f"{what}, {output_type(self.program)}")  # fmt: skip
        if self.classification and not self.subject.exact:
            soft = self.s.put("Softmax", self.emitted, name="softmax.probabilities", axis=-1)
            self.output("probabilities", soft, element, shape, "softmax of the outputs")
        if flags is not None:
            self.output("real_outputs", self.real_outputs, DOUBLE, shape, f"{what} as numbers")
            self.output("forward_flags", flags, INT64, [BATCH], "1 state, 2 clamped, "
                        "4 accumulator overflowed, 8 a sample out of range")  # fmt: skip
        for name in forward_states(self.program):
            type_ = next(d.type for d in self.program.states if d.name == name)
            self.output(f"state/{name}", self.context.values[name].name, element,
                        [BATCH, *type_.shape], f"after the last sample, {type_}")  # fmt: skip

    def error(self) -> dict[str, str]:
        """Sets the echo's error, or returns its further frames."""
        s, c, size = self.s, self.context, output_type(self.program).size
        if self.classification:
            self.input("label", INT64, [BATCH], f"the class of each sequence, 0 to {size - 1}")
            label, outside = s.class_of("label", size)
            error = s.softmax_error(self.real_outputs, label, size)
            if not self.subject.exact:  # which has no flags
                column = s.put("Unsqueeze", outside, s.integers(1), name="label.outside_column")
                error = s.put("Where", column, s.real(np.nan), error, name="error.told")
            error, self.exponent = s.normalised(error)
            told = Value(self.words(ERROR, error, ERROR), True)
            # One sequence alone: where a program has the two apart, they are the same words.
            c.values |= {
                d.name: told for d in self.program.runtime if d.name in (ERROR, ERROR_STEP)
            }
            # |error| <= 1 always fits.
            self.flagged = [s.put("Unsqueeze", outside, s.integers(1, 2), name="label.flagged")]
            return {}
        every = self.subject.output_step
        self.input("target", DOUBLE, [BATCH, OUTPUTS_TIME, size], "wanted predictions")
        gain, f = (
            s.gain(s.put("Sub", self.real_outputs, "target", name="error")),
            s.reals_named("gain"),
        )
        self.exponent = (-f.node(gain)).name
        power = f.op("Reshape", f.power_of_two(gain, -70, 70), s.integers(-1, 1, 1))
        like = f.op("Slice", "target", s.integers(0), s.integers(1), s.integers(2))
        ones = f.op("Expand", power, f.op("Shape", like)).name
        target = self.words("target", "target", "target")
        held = self.flagged
        gain_words = self.words("gain", ones, "gain")
        self.flagged = held
        return {
            "target": s.swapped(s.spread(target, self.steps, every, "target")),
            "gain": s.swapped(s.spread(gain_words, self.steps, every, "gain")),
        }

    def echo(self) -> None:
        frames = {"x": self.rows} | self.error()
        _, flags = self.body(Section.ECHO_PROLOGUE, self.no_flags())
        _, flags = self.scan(Section.ECHO_STEP, frames, flags, True)
        _, flags = self.body(Section.ECHO_EPILOGUE, flags)
        flags = self.with_range(flags, 3, "echo_flags")
        element = element_of(self.subject.arithmetic.dtype)
        if flags is not None:
            what = "label that is no class" if self.classification else "target out of range"
            self.output("echo_flags", flags, INT64, [BATCH], f"as forward_flags, but 8 a {what}")
            self.output("exponent", self.exponent, INT64, [BATCH],
                        "the loss gradient was divided by 2**exponent")  # fmt: skip
            for a in self.program.accumulators:
                if a.target:
                    self.output(f"sum/{a.name}", self.context.accumulators[a.name].name, element,
                                [BATCH, *a.type.shape], f"{a.type}: scale {a.scale!r}, a part of "
                                f"the gradient of {a.target}")  # fmt: skip
        for d in self.program.states:
            if d.coordinate is not None:
                self.output(f"echo_state/{d.name}", self.context.values[d.name].name, element,
                            [BATCH, *d.type.shape], f"after the echo, {d.type}")  # fmt: skip
        self.gradients()

    def gradients(self) -> None:
        """CompiledProgram.coefficient_gradients: every coefficient's gradient, in float64."""
        f = self.s.reals_named("gradient")
        common = f.power_of_two(self.exponent, -1000, 70)
        if self.classification:
            per_step = common / f.node(self.steps).astype(np.float64)
        else:
            count = f.op("ReduceProd", f.op("Shape", self.emitted, start=1), keepdims=0)
            common = per_step = common * (2.0 / count.astype(np.float64))
        streamed = {name for name, _ in self.program.body(Section.ECHO_STEP).accumulates}
        totals: dict[str, Node] = {}
        shapes = {a.target: a.type.shape for a in self.program.accumulators}
        for a in self.program.accumulators:
            if not a.target:
                continue
            name, rank = f"gradient.part/{a.name}", len(a.type.shape or (1,))
            sums = self.context.accumulators[a.name].name
            value = f.node(self.reals(sums, self.format(a.type), name)) * a.scale
            if a.divisor:
                divisor = next(d for d in self.program.coefficients if d.name == a.divisor)
                value = value / self.reals(a.divisor, self.format(divisor.type), f"{name}.divisor")
            factor = per_step if a.name in streamed else common
            value = value * f.op("Reshape", factor, self.s.integers(-1, *[1] * rank))
            known = totals.get(a.target)
            totals[a.target] = value if known is None else known + value
        for target, total in totals.items():
            shape: Dimensions = [BATCH, *(shapes[target] or (1,))]
            doc = f"of the loss of each sequence, by {target}"
            self.output(f"gradient/{target}", total.name, DOUBLE, shape, doc)

    def model(self, title: str, doc: str, metadata: Mapping[str, str]) -> ModelProto:
        used = set(_names_read(self.s.nodes))
        held = [t for t in self.subject.shared.initializers if t.name in used]
        graph = helper.make_graph(self.s.nodes, title, self.inputs, self.outputs, held, doc)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="echoloom", doc_string=doc,
        )  # fmt: skip
        helper.set_model_props(model, dict(metadata))
        return shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )


def _names_read(nodes: Iterable[NodeProto]) -> Iterator[str]:
    """All that nodes read, also in the graphs inside of them."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _names_read(attribute.g.node)
