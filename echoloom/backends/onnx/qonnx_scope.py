"""Nodes of a QONNX view: float32 numbers that are words, in units of 2**-frac; only Quant rounds.

float32 holds a word exactly while it is at most 2**24 units. Each value therefore carries a bound
on its words, element by element, that holds for every input; where a value could go beyond,
NotExpressible names its signal. Sums in any order are exact, because the bounds are of magnitudes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto

from echoloom.backends.onnx.bodies import text
from echoloom.backends.onnx.writer import Scope, Shared, value_info
from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.formats import Q, Type
from echoloom.ir.program import Instr
from echoloom.ir.sections import Section

DOMAIN = "qonnx.custom_op.general"
EXACT = 1 << 24  # units up to which float32 has every whole number
EXPONENTS = 100  # of a unit, either way: words of it are normal float32 numbers
ADVICE = "compile with narrower words, such as widths=Widths(word=14, narrow=9)"
Words = NDArray[np.int64]


class NotExpressible(ValueError):
    """What a QONNX view cannot hold exactly; the message names the signal and says why."""


@dataclass(frozen=True)
class Held:
    """A tensor, the format of its words, and the largest magnitude of each word, [n] or [m, n]."""

    name: str
    q: Q
    bound: Words

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor: vectors have a batch axis of one sequence."""
        return self.bound.shape if self.bound.ndim == 2 else (1, self.bound.size)


@dataclass(eq=False)
class Parts:
    """What all scopes of one view share."""

    integer: IntegerProgram
    shared: Shared = field(default_factory=Shared)
    nodes: list[NodeProto] = field(default_factory=list)
    infos: list[ValueInfoProto] = field(default_factory=list)
    known: dict[str, Held] = field(default_factory=dict)  # coefficients that are written already


class QuantScope(Scope):
    """The nodes of one section; in an unrolled view, of one of its steps."""

    def __init__(self, parts: Parts, section: Section, prefix: str):
        super().__init__(parts.shared, prefix)
        self.parts, self.where, self.nodes = parts, section.name.lower(), parts.nodes
        self.types: dict[str, Type] = parts.integer.program.types(
            parts.integer.program.body(section)
        )

    def put(
        self, kind: str, *inputs: str, name: str, shape: tuple[int, ...], **attributes: Any
    ) -> str:
        """A node whose output's shape is written down: shape inference stops at a Quant."""
        element = attributes.pop("element", TensorProto.FLOAT)
        output = self.node(kind, *inputs, name=name, **attributes)
        self.parts.infos.append(value_info(output, element, list(shape)))
        return output

    def number(self, value: Any) -> str:
        return self.constant(value, np.float32)

    def quant(
        self, x: str, q: Q, name: str, shape: tuple[int, ...],
        mode: str = "ROUND", narrow: bool = True, doc: str = "", axis: int = -1,
    ) -> str:  # fmt: skip
        """x rounded and clamped to q's words; `narrow` leaves out the most negative one. One
        exponent an element belongs to the last axis, or to `axis`."""
        unit = np.asarray(2.0**-q.grid)
        if unit.ndim:
            unit = np.moveaxis(unit[None], -1, axis)
        return self.put(
            "Quant", x, self.number(unit), self.number(0.0), self.number(float(q.width)),
            name=name, shape=shape, doc=doc, domain=DOMAIN,
            signed=1, narrow=int(narrow), rounding_mode=mode,
        )  # fmt: skip

    def held(self, name: str, q: Q, bound: Any, signal: str) -> Held:
        """A tensor with the bound on its words; NotExpressible where float32 cannot hold them."""
        value = Held(name, q, np.asarray(bound, np.int64))
        most = int(np.max(value.bound, initial=0))
        if most > EXACT:
            raise NotExpressible(
                f"{self.where}: {signal} can take {most.bit_length() + 1} bits, but QONNX computes "
                f"in float32, which holds words of {EXACT.bit_length()} bits exactly; {ADVICE}"
            )
        if np.any(np.abs(q.grid) > EXPONENTS):
            raise NotExpressible(
                f"{self.where}: {signal} has units outside 2**-{EXPONENTS} to 2**{EXPONENTS}, "
                "where float32, in which QONNX computes, is not exact"
            )
        return value

    def result(self, i: Instr, kind: str, bound: Words, *args: str) -> Held:
        """One exact node for one instruction."""
        signal = text(i)
        value = self.held("", i.type.q, bound, signal)  # before it is written
        name = self.put(kind, *args, name=i.name, shape=value.shape, doc=signal)
        return Held(name, value.q, value.bound)

    def coefficient(self, name: str, transposed: bool = False) -> Held:
        """An initializer and the Quant that tells readers its width; a matrix also the other way
        round, because they want MatMul's second operand as it is stored."""
        label = f"{name}.transposed" if transposed else name
        if label in self.parts.known:
            return self.parts.known[label]
        type_ = self.types[name]
        words, q = np.asarray(self.parts.integer.coefficients[name], np.int64), type_.q
        signal = f"{name} : {type_}"
        self.held("", q, np.abs(words), signal)
        if isinstance(q.frac, tuple) and words.ndim == 2:
            raise NotExpressible(f"{signal} has one exponent a row, which no reader expects")
        real = (words * 2.0**-q.grid).astype(np.float32)
        real = real.T if transposed else real if words.ndim == 2 else real.reshape(1, -1)
        tensor = self.tensor(label, real, f"coefficient, {type_}")
        out = self.quant(tensor, q, f"{label}.quant", real.shape, doc=signal,
                         axis=0 if transposed else -1)  # fmt: skip
        bound = np.abs(words.T if transposed else words if words.ndim == 2 else words.reshape(-1))
        self.parts.known[label] = Held(out, q, bound)
        return self.parts.known[label]
