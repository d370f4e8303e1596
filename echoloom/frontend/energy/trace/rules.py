"""What each JAX primitive becomes in the IR: one entry a primitive, in RULES."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from echoloom.frontend.energy.trace.operands import Code, Held, Known, Operand, Ref, numbers
from echoloom.ir.functions import OPERATIONS
from echoloom.ir.ops import Op, Scale, Table


def _broadcast_shape(*values: Operand) -> tuple[int, ...]:
    return tuple(np.broadcast_shapes(*(v.shape for v in values)))


def _scaled(t: Code, value: Ref, factor: float) -> Operand:
    if factor == 0.0:
        return Known(0.0, value.shape)
    if factor == 1.0:
        return value
    scaled = t.emit(Op.SCALE, (value.name,), t.ir_shapes[value.name], Scale(factor))
    return Ref(scaled.name, value.shape, value.transposed)


def _mul(t: Code, args: list[Operand], params: Any) -> Operand:
    a, b = args
    shape = _broadcast_shape(a, b)
    if isinstance(a, Known) and isinstance(b, Known):
        return Known(a.value * b.value, shape)
    if not isinstance(a, Ref):
        a, b = b, a
    assert isinstance(a, Ref)
    if isinstance(b, Known):
        return replace(_scaled(t, a, b.value), shape=shape)  # type: ignore[type-var]
    if isinstance(b, Held):
        whole = b if b.shape == shape else Held(b.value, b.origin).broadcast(shape)
        if t.ir_shapes[a.name] in ((), (1,)) and shape not in ((), (1,)):
            column = t.held(Held(whole.value, whole.origin).reshaped(-1, 1))
            return _scaled(t, t.emit(Op.MATVEC, (column, a.name), shape), b.factor)
        own = b if whole is b else whole.reshaped(*(shape or (1,)))
        product = t.emit(Op.MUL, (t.held(_vector(own)), a.name), shape)
        return _scaled(t, replace(product, shape=shape), b.factor)
    short_a, short_b = (t.ir_shapes[x.name] in ((), (1,)) for x in (a, b))
    if short_a and short_b:
        product = t.emit(Op.MUL, (a.name, b.name), t.ir_shapes[a.name] or t.ir_shapes[b.name])
        return replace(product, shape=shape)
    return replace(t.emit(Op.MUL, (_whole(t, a), _whole(t, b)), shape), shape=shape)


def _whole(t: Code, value: Ref) -> str:
    if value.transposed:
        return t.settled(value)
    return value.name


def _vector(held: Held) -> Held:
    return held if held.shape != () else held.reshaped(1)


def _additive(op: Op) -> Any:
    def rule(t: Code, args: list[Operand], params: Any) -> Operand:
        a, b = args
        shape = _broadcast_shape(a, b)
        if isinstance(a, Known) and isinstance(b, Known):
            return Known(a.value + b.value if op is Op.ADD else a.value - b.value, shape)
        for zero, other, sign in ((b, a, 1.0), (a, b, 1.0 if op is Op.ADD else -1.0)):
            if isinstance(zero, Known) and zero.value == 0.0 and isinstance(other, Ref):
                return replace(_scaled(t, other, sign), shape=shape)  # type: ignore[type-var]
        names = [_addend(t, v, shape) for v in (a, b)]
        return replace(t.emit(op, (names[0], names[1]), shape), shape=shape)

    return rule


def _addend(t: Code, value: Operand, shape: tuple[int, ...]) -> str:
    if isinstance(value, Known):
        return t.settled(Known(value.value, shape))
    if isinstance(value, Held):
        plain = value.plain
        return t.held(plain if plain.shape == (shape or (1,)) else plain.broadcast(shape or (1,)))
    return t.settled(Ref(value.name, shape, value.transposed))


def _neg(t: Code, args: list[Operand], params: Any) -> Operand:
    return _mul(t, [args[0], Known(-1.0, ())], params)


def _integer_pow(t: Code, args: list[Operand], params: Any) -> Operand:
    power = params.get("y", 2)
    if power < 1:
        raise t.untraceable(f"the power {power} is not supported; use a power >= 1")
    # Squares of squares: fewer products than one factor at a time.
    result: Operand | None = None
    square = args[0]
    while power:
        if power & 1:
            result = square if result is None else _mul(t, [result, square], {})
        power >>= 1
        if power:
            square = _mul(t, [square, square], {})
    assert result is not None
    return result


def _table(function: str) -> Any:
    def rule(t: Code, args: list[Operand], params: Any) -> Operand:
        value = args[0]
        source = value if isinstance(value, Ref) else Ref(t.settled(value), value.shape)
        table = t.emit(Op.TABLE, (source.name,), t.ir_shapes[source.name], Table(function))
        return replace(table, shape=value.shape)

    return rule


def _reduce_sum(t: Code, args: list[Operand], params: Any) -> Operand:
    (a,) = args
    axes = params["axes"]
    rest = tuple(s for i, s in enumerate(a.shape) if i not in axes)
    count = int(np.prod([a.shape[i] for i in axes]))
    if isinstance(a, Known):
        return Known(a.value * count, rest)
    assert isinstance(a, Ref)
    if count == 1:
        return replace(a, shape=rest)
    if len(a.shape) != 1:
        raise t.untraceable(f"a sum over axes {axes} of shape {a.shape} is not supported")
    if t.narrowed(a):
        return replace(_scaled(t, replace(a, shape=()), float(count)), shape=())  # type: ignore[type-var]
    ones = t.held(numbers(np.ones((1, count))))
    return replace(t.emit(Op.MATVEC, (ones, a.name), (1,)), shape=())


def _broadcast_in_dim(t: Code, args: list[Operand], params: Any) -> Operand:
    a, shape = args[0], tuple(params["shape"])
    if isinstance(a, Known):
        return Known(a.value, shape)
    assert isinstance(a, Ref)
    if a.shape == shape or int(np.prod(a.shape)) == 1:
        return replace(a, shape=shape)
    raise t.untraceable(f"broadcasting {a.shape} to {shape} is not supported")


def _transpose(t: Code, args: list[Operand], params: Any) -> Operand:
    a = args[0]
    if isinstance(a, Known):
        return Known(a.value, tuple(a.shape[i] for i in params["permutation"]))
    assert isinstance(a, Ref)
    if len(a.shape) != 2:
        return a
    return Ref(a.name, a.shape[::-1], not a.transposed)


def _dot_general(t: Code, args: list[Operand], params: Any) -> Operand:
    a, b = args
    (contract, batch) = params["dimension_numbers"]
    ca, cb = tuple(contract[0]), tuple(contract[1])
    if batch[0]:
        raise t.untraceable("a batched matrix product is not supported")
    if not ca:
        return _outer(t, a, b)
    if isinstance(a, Known) or isinstance(b, Known):
        return _known_dot(t, a, b, ca, cb)
    if len(a.shape) == 1 and len(b.shape) == 1:
        return _reduce_sum(t, [_mul(t, [a, b], {})], {"axes": (0,)})
    if len(a.shape) == 1:
        a, b, ca, cb = b, a, cb, ca
    if not isinstance(a, Held) or len(a.shape) != 2 or not isinstance(b, Ref) or len(b.shape) != 1:
        raise t.untraceable(f"a product of shapes {a.shape} and {b.shape} is not supported")
    straight = (ca[0] == 1) != a.transposed
    rows = a.shape[1 - ca[0]]
    name = a.name or t.held(a)
    product = t.emit(Op.MATVEC if straight else Op.TMATVEC, (name, t.settled(b)), (rows,))
    return _scaled(t, product, a.factor)


def _outer(t: Code, a: Operand, b: Operand) -> Operand:
    shape = a.shape + b.shape
    if len(a.shape) == 1 and len(b.shape) == 1:
        if isinstance(a, Known) and isinstance(b, Known):
            return Known(a.value * b.value, shape)
        names = [t.held(x.plain) if isinstance(x, Held) else t.settled(x) for x in (a, b)]
        return t.emit(Op.OUTER, (names[0], names[1]), shape)
    if len(shape) <= 1:
        return _mul(t, [a, b], {})
    raise t.untraceable(f"an outer product of {a.shape} and {b.shape} is not supported")


def _known_dot(
    t: Code, a: Operand, b: Operand, ca: tuple[int, ...], cb: tuple[int, ...]
) -> Operand:
    known, other, axes = (a, b, cb) if isinstance(a, Known) else (b, a, ca)
    assert isinstance(known, Known)
    if isinstance(other, Held):
        factor = known.value
        how = f"sum {axes} times {factor}"
        return other.plain.made(how, lambda v: v.sum(axes) * factor)
    total = _reduce_sum(t, [other], {"axes": axes})
    free = tuple(s for i, s in enumerate(a.shape) if i not in ca)
    free += tuple(s for i, s in enumerate(b.shape) if i not in cb)
    if isinstance(total, Known):
        return Known(total.value * known.value, free)
    assert isinstance(total, Ref)
    return replace(_scaled(t, total, known.value), shape=free)  # type: ignore[type-var]


def _same(t: Code, args: list[Operand], params: Any) -> Operand:
    return args[0]


def _reshape(t: Code, args: list[Operand], params: Any) -> Operand:
    a = args[0]
    new = params.get("new_sizes")
    shape = tuple(s for s in a.shape if s != 1) if new is None else tuple(new)
    if isinstance(a, Known):
        return Known(a.value, shape)
    assert isinstance(a, Ref)
    if a.shape == shape or int(np.prod(shape)) == 1:
        return replace(a, shape=shape)
    raise t.untraceable(f"reshaping {a.shape} to {shape} is not supported")


RULES: dict[str, Any] = {
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
