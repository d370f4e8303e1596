"""A QONNX view's rules: one per operation of a forward pass.

QONNX has one way to narrow, the Quant: it rounds and saturates. What else a program needs is
spelled in exact float32 operations around it. Wrap-around takes whole ranges of the word off
before, where the bound does not prove that there are none to take off. A table is a Gather of its
result for every word. What no such spelling is known for is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from onnx import TensorProto

from echoloom.backends.onnx.bodies import text
from echoloom.backends.onnx.qonnx_scope import Held, NotExpressible, QuantScope, Words
from echoloom.ir.arithmetic import Overflow, Rounding, piecewise_linear
from echoloom.ir.formats import Q, largest
from echoloom.ir.ops import Constant, DynamicShift, Op, Requant, Scale
from echoloom.ir.program import Instr
from echoloom.ir.tables import table_key

Rule = Callable[[QuantScope, Instr, list[Held], int], Held]

TABLE_BITS = 16  # of the widest word that a table is spelled out for
FAR = 36  # bits: a word that is lifted further is refused either way
# The others have a namesake of another meaning, or none.
MODES = {Rounding.HALF_EVEN: "ROUND", Rounding.TO_ZERO: "DOWN", Rounding.FLOOR: "FLOOR"}


def _constant(s: QuantScope, i: Instr, args: list[Held], shift: int) -> Held:
    assert isinstance(i.attr, Constant)
    q = i.type.q
    words = np.full(i.type.shape or (1,), round(i.attr.value * 2.0**q.scalar_frac), np.int64)
    name = s.number((words * 2.0**-q.scalar_frac)[None])
    return s.held(name, q, np.abs(words), text(i))


def _sum(kind: str) -> Rule:
    def rule(s: QuantScope, i: Instr, args: list[Held], shift: int) -> Held:
        lifts = [i.type.q.scalar_frac - a.q.scalar_frac for a in args]
        lifted = [a.bound << min(n, FAR) for a, n in zip(args, lifts, strict=True)]
        return s.result(i, kind, lifted[0] + lifted[1], *(a.name for a in args))

    return rule


def _mul(s: QuantScope, i: Instr, args: list[Held], shift: int) -> Held:
    return s.result(i, "Mul", args[0].bound * args[1].bound, *(a.name for a in args))


def _scale(s: QuantScope, i: Instr, args: list[Held], shift: int) -> Held:
    assert isinstance(i.attr, Scale)
    return s.result(i, "Mul", args[0].bound, args[0].name, s.number(i.attr.factor))


def _matrix(s: QuantScope, i: Instr, args: list[Held], shift: int) -> Held:
    """A vector times a matrix that lies as MatMul wants it. The bound is a sum of magnitudes, so
    that it holds for partial sums in any order."""
    matrix, x = args
    return s.result(i, "MatMul", x.bound @ matrix.bound, x.name, matrix.name)


def _table(s: QuantScope, i: Instr, args: list[Held], shift: int) -> Held:
    source, target = args[0].q, i.type.q
    if source.width > TABLE_BITS:
        raise NotExpressible(
            f"{s.where}: {text(i)} looks up words of {source.width} bits; a QONNX view lists every "
            f"result, for words of at most {TABLE_BITS} bits"
        )
    half = 1 << (source.width - 1)
    key = table_key(i, source)
    listed = _listed(s, key, target, half)
    shape = args[0].shape
    position = s.put("Mul", args[0].name, s.number(2.0**source.scalar_frac), name=f"{i.name}.word",
                     shape=shape)  # fmt: skip
    position = s.put("Add", position, s.number(float(half)), name=f"{i.name}.place", shape=shape)
    index = s.put("Cast", position, name=f"{i.name}.index", shape=shape, to=TensorProto.INT64,
                  element=TensorProto.INT64)  # fmt: skip
    bound = np.full(args[0].bound.shape, listed.bound.max())
    return s.result(i, "Gather", bound, listed.name, index)


def _listed(s: QuantScope, key: str, target: Q, half: int) -> Held:
    """A table's result for every word, the most negative first."""
    label = f"table/{key}"
    if label not in s.parts.known:
        t = s.parts.integer.tables[key]
        words, _ = piecewise_linear(
            np.arange(-half, half), t.base, t.slope, segment_bits=t.segment_bits,
            fraction_bits=t.fraction_bits, slope_shift=t.slope_shift, word=target.width,
        )  # fmt: skip
        value = s.held(label, target, np.abs(words), f"{label} : {target}")
        real = (words * 2.0**-target.scalar_frac).astype(np.float32)
        tensor = s.tensor(label, real, f"for every word from {-half} units on")
        out = s.quant(tensor, target, f"{label}.quant", real.shape, doc=f"{target}")
        s.parts.known[label] = Held(out, target, value.bound)
    return s.parts.known[label]


def _requant(s: QuantScope, i: Instr, args: list[Held], shift: int) -> Held:
    """`shift` is what the length of the sequence adds, known because the view has one length."""
    assert isinstance(i.attr, Requant)
    x, q, value = args[0].name, args[0].q, args[0]
    if i.attr.register is not DynamicShift.NONE:
        x = s.put("Mul", x, s.number(2.0**-shift), name=f"{i.name}.scaled", shape=value.shape)
        q = q.shifted(shift)
    finer = np.asarray(q.frac, np.int64) - i.type.q.scalar_frac
    if i.attr.rounding not in MODES and np.any(finer > 0):
        raise NotExpressible(
            f"{s.where}: {text(i)} rounds {i.attr.rounding.value}, which a Quant does not know"
        )
    mode = MODES.get(i.attr.rounding, "ROUND")
    least = np.clip(finer, 0, FAR)
    bound = (((value.bound - 1) >> least) + 1) << np.clip(-finer, 0, FAR)  # rounded up
    limit = largest(i.type.q.width)
    if i.attr.overflow is Overflow.SATURATE or np.all(bound <= limit):
        s.held("", i.type.q, np.minimum(bound, limit), text(i))
        out = s.quant(x, i.type.q, i.name, value.shape, mode, doc=text(i))
        return Held(out, i.type.q, np.minimum(bound, limit))
    return _wrapped(s, i, x, bound, mode, np.any(finer > 0))


def _wrapped(
    s: QuantScope, i: Instr, x: str, bound: Words, mode: str, rounds: bool | np.bool_
) -> Held:
    """x - R * floor((x + R/2) / R) for the whole range R of the word, after rounding."""
    q, shape = i.type.q, (1, bound.size)
    lifted = s.held("", q, bound + (1 << (q.width - 1)), text(i))
    if rounds:
        any_word = Q(int(bound.max()).bit_length() + 1, q.frac)
        x = s.quant(x, any_word, f"{i.name}.rounded", shape, mode)
    middle = s.number(2.0 ** (q.width - 1 - q.scalar_frac))
    above = s.put("Add", x, middle, name=f"{i.name}.lifted", shape=shape)
    turns = (int(lifted.bound.max()) >> q.width) + 1
    ranges = Q(turns.bit_length() + 1, q.scalar_frac - q.width)
    excess = s.quant(above, ranges, f"{i.name}.excess", shape, "FLOOR", narrow=False)
    kept = s.put("Sub", x, excess, name=f"{i.name}.kept", shape=shape)
    out = s.quant(kept, q, i.name, shape, narrow=False, doc=text(i))
    return s.held(out, q, np.minimum(bound, 1 << (q.width - 1)), text(i))


QUANT_NODES: Mapping[Op, Rule] = {
    Op.CONSTANT: _constant,
    Op.READ: lambda s, i, args, shift: args[0],
    Op.ADD: _sum("Add"),
    Op.SUB: _sum("Sub"),
    Op.MUL: _mul,
    Op.SCALE: _scale,
    Op.MATVEC: _matrix,
    Op.TMATVEC: _matrix,
    Op.TABLE: _table,
    Op.REQUANT: _requant,
}
