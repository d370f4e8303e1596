"""What each JAX primitive becomes in the IR: one entry a primitive, in INSTRUCTIONS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from echoloom.frontend.energy.trace.operands import Code, Folded, Operand, Ref, Splat, numbers
from echoloom.ir.functions import OPERATIONS
from echoloom.ir.ops import Op, Scale, Table

Shape = tuple[int, ...]
Rule = Callable[[Code, list[Any], Any], Operand]


def _broadcast_shape(*values: Operand) -> Shape:
    return tuple(np.broadcast_shapes(*(v.shape for v in values)))


def _is_one(shape: Shape) -> bool:
    return shape in ((), (1,))


def _scaled(t: Code, value: Ref, factor: float, shape: Shape | None = None) -> Operand:
    """The product, in JAX's eyes of this shape."""
    shape = value.shape if shape is None else shape
    if factor == 0.0:
        return Splat(0.0, shape)
    if factor != 1.0:
        scaled = t.emit(Op.SCALE, (value.name,), t.ir_shapes[value.name], Scale(factor))
        value = Ref(scaled.name, shape, value.transposed)
    return replace(value, shape=shape)


def _mul(t: Code, args: list[Any], params: Any = None) -> Operand:
    a, b = args
    shape = _broadcast_shape(a, b)
    if isinstance(a, Splat) and isinstance(b, Splat):
        return Splat(a.value * b.value, shape)
    if not isinstance(a, Ref):
        a, b = b, a
    if isinstance(b, Splat):
        return _scaled(t, a, b.value, shape)
    if isinstance(b, Folded):
        whole = b if b.shape == shape else b.broadcast(shape)
        if _is_one(t.ir_shapes[a.name]) and not _is_one(shape):
            column = t.coefficient(whole.reshaped(-1, 1))
            return _scaled(t, t.emit(Op.MATVEC, (column, a.name), shape), b.factor)
        if whole is not b or b.shape == ():
            whole = whole.reshaped(*(shape or (1,)))
        product = t.emit(Op.MUL, (t.coefficient(whole), a.name), shape)
        return _scaled(t, product, b.factor, shape)
    if all(_is_one(t.ir_shapes[x.name]) for x in args):
        product = t.emit(Op.MUL, (a.name, b.name), t.ir_shapes[a.name] or t.ir_shapes[b.name])
    else:
        whole_args = [t.materialised(x) if x.transposed else x.name for x in (a, b)]
        product = t.emit(Op.MUL, (whole_args[0], whole_args[1]), shape)
    return replace(product, shape=shape)


def _additive(op: Op) -> Rule:
    sign = 1.0 if op is Op.ADD else -1.0

    def rule(t: Code, args: list[Any], params: Any) -> Operand:
        a, b = args
        shape = _broadcast_shape(a, b)
        if isinstance(a, Splat) and isinstance(b, Splat):
            return Splat(a.value + sign * b.value, shape)
        for zero, other, factor in ((b, a, 1.0), (a, b, sign)):
            if isinstance(zero, Splat) and zero.value == 0.0 and isinstance(other, Ref):
                return _scaled(t, other, factor, shape)
        names = [_addend(t, v, shape) for v in (a, b)]
        return replace(t.emit(op, (names[0], names[1]), shape), shape=shape)

    return rule


def _addend(t: Code, value: Operand, shape: Shape) -> str:
    if isinstance(value, Folded):
        plain = value.plain
        whole = shape or (1,)
        return t.coefficient(plain if plain.shape == whole else plain.broadcast(whole))
    return t.materialised(replace(value, shape=shape))


def _neg(t: Code, args: list[Any], params: Any) -> Operand:
    return _mul(t, [args[0], Splat(-1.0, ())])


def _integer_pow(t: Code, args: list[Any], params: Any) -> Operand:
    power = params.get("y", 2)
    if power < 1:
        raise t.untraceable(f"the power {power} is not supported; use a power >= 1")
    # Squares of squares: fewer products than one factor at a time.
    result: Operand | None = None
    square = args[0]
    while power:
        if power & 1:
            result = square if result is None else _mul(t, [result, square])
        power >>= 1
        if power:
            square = _mul(t, [square, square])
    assert result is not None
    return result


def _table(function: str) -> Rule:
    def rule(t: Code, args: list[Any], params: Any) -> Operand:
        value = args[0]
        name = value.name if isinstance(value, Ref) else t.materialised(value)
        table = t.emit(Op.TABLE, (name,), t.ir_shapes[name], Table(function))
        return replace(table, shape=value.shape)

    return rule


def _reduce_sum(t: Code, args: list[Any], params: Any) -> Operand:
    (a,) = args
    axes = params["axes"]
    rest = tuple(s for i, s in enumerate(a.shape) if i not in axes)
    count = int(np.prod([a.shape[i] for i in axes]))
    if isinstance(a, Splat):
        return Splat(a.value * count, rest)
    if count == 1:
        return replace(a, shape=rest)
    if len(a.shape) != 1:
        raise t.untraceable(f"a sum over axes {axes} of shape {a.shape} is not supported")
    if t.narrowed(a):
        return _scaled(t, a, float(count), ())
    ones = t.coefficient(numbers(np.ones((1, count))))
    return replace(t.emit(Op.MATVEC, (ones, a.name), (1,)), shape=())


def _broadcast_in_dim(t: Code, args: list[Any], params: Any) -> Operand:
    a, shape = args[0], tuple(params["shape"])
    if isinstance(a, Splat):
        return Splat(a.value, shape)
    if a.shape == shape or int(np.prod(a.shape)) == 1:
        return replace(a, shape=shape)
    raise t.untraceable(f"broadcasting {a.shape} to {shape} is not supported")


def _transpose(t: Code, args: list[Any], params: Any) -> Operand:
    a = args[0]
    if isinstance(a, Splat):
        return Splat(a.value, tuple(a.shape[i] for i in params["permutation"]))
    if len(a.shape) != 2:
        return a
    return Ref(a.name, a.shape[::-1], not a.transposed)


def _dot_general(t: Code, args: list[Any], params: Any) -> Operand:
    a, b = args
    (contract, batch) = params["dimension_numbers"]
    ca, cb = tuple(contract[0]), tuple(contract[1])
    if batch[0]:
        raise t.untraceable("a batched matrix product is not supported")
    if not ca:
        return _outer(t, a, b)
    if isinstance(a, Splat) or isinstance(b, Splat):
        return _splat_dot(t, a, b, ca, cb)
    if len(a.shape) == 1 and len(b.shape) == 1:
        return _reduce_sum(t, [_mul(t, [a, b])], {"axes": (0,)})
    if len(a.shape) == 1:
        a, b, ca, cb = b, a, cb, ca
    if (
        not isinstance(a, Folded)
        or len(a.shape) != 2
        or not isinstance(b, Ref)
        or len(b.shape) != 1
    ):
        raise t.untraceable(f"a product of shapes {a.shape} and {b.shape} is not supported")
    straight = (ca[0] == 1) != a.transposed
    rows = a.shape[1 - ca[0]]
    name = a.name or t.coefficient(a)
    product = t.emit(Op.MATVEC if straight else Op.TMATVEC, (name, t.materialised(b)), (rows,))
    return _scaled(t, product, a.factor)


def _outer(t: Code, a: Operand, b: Operand) -> Operand:
    shape = a.shape + b.shape
    if len(a.shape) == 1 and len(b.shape) == 1:
        if isinstance(a, Splat) and isinstance(b, Splat):
            return Splat(a.value * b.value, shape)
        names = [
            t.coefficient(x.plain) if isinstance(x, Folded) else t.materialised(x) for x in (a, b)
        ]
        return t.emit(Op.OUTER, (names[0], names[1]), shape)
    if len(shape) <= 1:
        return _mul(t, [a, b])
    raise t.untraceable(f"an outer product of {a.shape} and {b.shape} is not supported")


def _splat_dot(t: Code, a: Operand, b: Operand, ca: Shape, cb: Shape) -> Operand:
    splat, other, axes = (a, b, cb) if isinstance(a, Splat) else (b, a, ca)
    assert isinstance(splat, Splat)
    factor = splat.value
    if isinstance(other, Folded):
        return other.plain.made(f"sum {axes} times {factor}", lambda v: v.sum(axes) * factor)
    total = _reduce_sum(t, [other], {"axes": axes})
    free = tuple(s for i, s in enumerate(a.shape) if i not in ca)
    free += tuple(s for i, s in enumerate(b.shape) if i not in cb)
    if isinstance(total, Splat):
        return Splat(total.value * factor, free)
    assert isinstance(total, Ref)
    return _scaled(t, total, factor, free)


def _same(t: Code, args: list[Any], params: Any) -> Operand:
    return args[0]


def _reshape(t: Code, args: list[Any], params: Any) -> Operand:
    a = args[0]
    new = params.get("new_sizes")
    shape = tuple(s for s in a.shape if s != 1) if new is None else tuple(new)
    if isinstance(a, Splat):
        return Splat(a.value, shape)
    if a.shape == shape or int(np.prod(shape)) == 1:
        return replace(a, shape=shape)
    raise t.untraceable(f"reshaping {a.shape} to {shape} is not supported")


INSTRUCTIONS: dict[str, Rule] = {
    **{operation: _table(name) for operation, name in OPERATIONS.items()},
    "mul": _mul,
    "add": _additive(Op.ADD),
    "add_any": _additive(Op.ADD),
    "sub": _additive(Op.SUB),
    "neg": _neg,
    "integer_pow": _integer_pow,
    "square": _integer_pow,
    "reduce_sum": _reduce_sum,
    "broadcast_in_dim": _broadcast_in_dim,
    "transpose": _transpose,
    "dot_general": _dot_general,
    "reshape": _reshape,
    "squeeze": _reshape,
    "convert_element_type": _same,
    "copy": _same,
}
