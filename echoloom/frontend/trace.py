"""JAX functions to IR graphs: the one file that looks inside a jaxpr.

Numbers that are the same everywhere (0.5, 2.0, a broadcast one) are folded while tracing, so a
gradient's bookkeeping leaves only SCALE behind. A transposed matrix is a view, never an
instruction: W.T @ g becomes TMATVEC, (g x').T becomes OUTER with its operands exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex

from echoloom.frontend.vocabulary import word_of
from echoloom.ir.formats import Type, real
from echoloom.ir.ops import Attribute, Constant, Op, Scale, Table
from echoloom.ir.program import Declaration, Graph, Instr


class Untraceable(ValueError):
    """A function uses something the IR cannot say."""


@dataclass(frozen=True)
class Known:
    """A tensor whose elements are all the same number."""

    value: float
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Ref:
    """A traced value; `shape` is the shape JAX sees, transposed or not."""

    name: str
    shape: tuple[int, ...]
    transposed: bool = False


Operand = Known | Ref


def trace(function: Callable[..., Any], **arguments: Any) -> Graph:
    """Graph of `function(**arguments)`; leaves of arguments and results are named by their path.

    `arguments` are pytrees of arrays or ShapeDtypeStructs: only shapes matter. The result is a
    dict of pytrees. Untraceable names the primitive, and the user's line, that has no IR op.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(arguments)
    shapes = [jax.ShapeDtypeStruct(np.shape(leaf), np.float32) for _, leaf in leaves]

    def flat(*values: Any) -> Any:
        return function(**jax.tree_util.tree_unflatten(treedef, list(values)))

    closed, out_shape = jax.make_jaxpr(flat, return_shape=True)(*shapes)
    tracer = _Tracer()
    inputs = [Ref(path_name(path), s.shape) for (path, _), s in zip(leaves, shapes, strict=True)]
    results = tracer.run(closed.jaxpr, [_known_array(c) for c in closed.consts], inputs)
    names = [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(out_shape)[0]]
    outputs = [(name, tracer.settled(value)) for name, value in zip(names, results, strict=True)]
    declarations = tuple(Declaration(r.name, real(*r.shape)) for r in inputs)
    return Graph(declarations, tuple(tracer.instrs), tuple(outputs))


def path_name(path: tuple[Any, ...]) -> str:
    """Dotted name of a pytree path: ('block', .unit, .drive) -> block.unit.drive."""
    parts = []
    for key in path:
        for attribute in ("key", "name", "idx"):
            if hasattr(key, attribute):
                parts.append(str(getattr(key, attribute)))
                break
    return ".".join(parts)


def _known_array(value: Any) -> Known:
    array = np.asarray(value, np.float64)
    if array.size == 0 or (array != array.flat[0]).any():
        raise Untraceable(
            f"a constant array of shape {array.shape} is written into the function; "
            "make it a field of the module so that the compiler can hold it as a coefficient"
        )
    return Known(float(array.flat[0]), array.shape)


class _Tracer:
    def __init__(self) -> None:
        self.instrs: list[Instr] = []
        self.where = ""

    def run(
        self, jaxpr: jex.Jaxpr, consts: list[Known], arguments: list[Operand] | list[Ref]
    ) -> list[Operand]:
        env: dict[Any, Operand] = dict(zip(jaxpr.constvars, consts, strict=True))
        env.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Operand:
            return _known_array(atom.val) if isinstance(atom, jex.Literal) else env[atom]

        for eqn in jaxpr.eqns:
            name = eqn.primitive.name
            rule = RULES.get(name)
            self.where = str(jax._src.source_info_util.summarize(eqn.source_info))  # type: ignore[attr-defined]
            if rule is None:
                raise Untraceable(
                    f"the primitive {name!r} at {self.where} has no operation in the IR; "
                    f"supported are {', '.join(sorted(RULES))}"
                )
            result = rule(self, [read(v) for v in eqn.invars], eqn.params)
            results = result if isinstance(result, list) else [result]
            env.update(zip(eqn.outvars, results, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def emit(
        self, op: Op, args: tuple[str, ...], shape: tuple[int, ...], attr: Attribute | None = None
    ) -> Ref:
        name = f"t{len(self.instrs)}"
        self.instrs.append(Instr(name, op, args, Type(shape, real().format), attr))
        return Ref(name, shape)

    def settled(self, value: Operand) -> str:
        """Name of a value as it stands, materialising numbers; a transposed view is refused."""
        if isinstance(value, Known):
            return self.emit(Op.CONSTANT, (), value.shape, Constant(value.value)).name
        if value.transposed:
            raise Untraceable(
                f"the transposed matrix {value.name} is used as a value ({self.where})"
            )
        return value.name


def _scaled(t: _Tracer, value: Ref, factor: float, shape: tuple[int, ...]) -> Operand:
    if factor == 0.0:
        return Known(0.0, shape)
    if factor == 1.0:
        return value
    scaled = t.emit(Op.SCALE, (value.name,), value.shape[::-1] if value.transposed else value.shape,
                    Scale(factor))  # fmt: skip
    return Ref(scaled.name, value.shape, value.transposed)


def _broadcast_shape(*values: Operand) -> tuple[int, ...]:
    return tuple(np.broadcast_shapes(*(v.shape for v in values)))


def _mul(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
    a, b = args
    shape = _broadcast_shape(a, b)
    if isinstance(a, Known) and isinstance(b, Known):
        return Known(a.value * b.value, shape)
    if isinstance(a, Known):
        a, b = b, a
    assert isinstance(a, Ref)
    if isinstance(b, Known):
        return _scaled(t, a, b.value, shape)
    return t.emit(Op.MUL, (t.settled(a), t.settled(b)), shape)


def _additive(op: Op) -> Any:
    def rule(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
        a, b = args
        shape = _broadcast_shape(a, b)
        if isinstance(a, Known) and isinstance(b, Known):
            return Known(a.value + b.value if op is Op.ADD else a.value - b.value, shape)
        if isinstance(b, Known) and b.value == 0.0:
            return a
        if isinstance(a, Known) and a.value == 0.0:
            assert isinstance(b, Ref)
            return b if op is Op.ADD else _scaled(t, b, -1.0, shape)
        a, b = (Known(v.value, shape) if isinstance(v, Known) else v for v in (a, b))
        return t.emit(op, (t.settled(a), t.settled(b)), shape)

    return rule


def _neg(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
    return _mul(t, [args[0], Known(-1.0, ())], params)


def _integer_pow(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
    power = params.get("y", 2)
    if power < 1:
        raise Untraceable(f"the power {power} at {t.where} is not supported; use a power >= 1")
    result = args[0]
    for _ in range(power - 1):
        result = _mul(t, [result, args[0]], {})
    return result


def _table(function: str) -> Any:
    def rule(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
        return t.emit(Op.TABLE, (t.settled(args[0]),), args[0].shape, Table(function))

    return rule


def _reduce_sum(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
    (a,) = args
    axes = params["axes"]
    if isinstance(a, Known):
        count = int(np.prod([a.shape[i] for i in axes]))
        return Known(a.value * count, tuple(s for i, s in enumerate(a.shape) if i not in axes))
    if not axes:
        return a
    if len(a.shape) != 1:
        raise Untraceable(
            f"a sum over axes {axes} of shape {a.shape} at {t.where} is not supported"
        )
    return t.emit(Op.SUM, (t.settled(a),), ())


def _broadcast_in_dim(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
    a, shape = args[0], tuple(params["shape"])
    if isinstance(a, Known):
        return Known(a.value, shape)
    if a.shape == shape:
        return a
    if a.shape == ():
        return a  # scalars meet vectors by rule
    raise Untraceable(f"broadcasting {a.shape} to {shape} at {t.where} is not supported")


def _transpose(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
    a = args[0]
    if isinstance(a, Known):
        return Known(a.value, tuple(a.shape[i] for i in params["permutation"]))
    if len(a.shape) != 2:
        return a
    return Ref(a.name, a.shape[::-1], not a.transposed)


def _dot_general(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
    a, b = args
    (contract, batch) = params["dimension_numbers"]
    ca, cb = tuple(contract[0]), tuple(contract[1])
    if batch[0]:
        raise Untraceable(f"a batched matrix product at {t.where} is not supported")
    if not ca:
        return _outer(t, a, b)
    if isinstance(a, Known) or isinstance(b, Known):
        return _known_dot(t, a, b, ca, cb)
    if len(a.shape) == 1 and len(b.shape) == 1:
        product = t.emit(Op.MUL, (t.settled(a), t.settled(b)), a.shape)
        return t.emit(Op.SUM, (product.name,), ())
    if len(a.shape) == 1:
        a, b, ca, cb = b, a, cb, ca
    if len(a.shape) != 2 or len(b.shape) != 1:
        raise Untraceable(
            f"a product of shapes {a.shape} and {b.shape} at {t.where} is not supported; "
            "one time step works on vectors"
        )
    straight = (ca[0] == 1) != a.transposed
    rows = a.shape[1 - ca[0]]
    return t.emit(Op.MATVEC if straight else Op.TMATVEC, (a.name, t.settled(b)), (rows,))


def _outer(t: _Tracer, a: Operand, b: Operand) -> Operand:
    shape = a.shape + b.shape
    if len(a.shape) == 1 and len(b.shape) == 1 and isinstance(a, Ref) and isinstance(b, Ref):
        return t.emit(Op.OUTER, (t.settled(a), t.settled(b)), shape)
    if len(shape) <= 1 or a.shape == () or b.shape == ():
        return _mul(t, [a, b], {})
    raise Untraceable(f"an outer product of {a.shape} and {b.shape} at {t.where} is not supported")


def _known_dot(
    t: _Tracer, a: Operand, b: Operand, ca: tuple[int, ...], cb: tuple[int, ...]
) -> Operand:
    known, other, axes = (a, b, cb) if isinstance(a, Known) else (b, a, ca)
    assert isinstance(known, Known)
    total = _reduce_sum(t, [other], {"axes": axes})
    free = tuple(s for i, s in enumerate(a.shape) if i not in ca)
    free += tuple(s for i, s in enumerate(b.shape) if i not in cb)
    if isinstance(total, Known):
        return Known(total.value * known.value, free)
    return _scaled(t, total, known.value, free)


def _same(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
    return args[0]


def _call(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> list[Operand]:
    word = word_of(params.get("name", ""))
    if word is not None:
        return [_table(word)(t, args, {})]
    closed: Any = params.get("jaxpr") or params.get("call_jaxpr")
    consts = [_known_array(c) for c in getattr(closed, "consts", [])]
    return t.run(getattr(closed, "jaxpr", closed), consts, args)


def _reshape(t: _Tracer, args: list[Operand], params: dict[str, Any]) -> Operand:
    a, shape = args[0], tuple(params["new_sizes"])
    if isinstance(a, Known):
        return Known(a.value, shape)
    if a.shape == shape:
        return a
    raise Untraceable(f"reshaping {a.shape} to {shape} at {t.where} is not supported")


RULES: dict[str, Any] = {
    "mul": _mul,
    "add": _additive(Op.ADD),
    "add_any": _additive(Op.ADD),
    "sub": _additive(Op.SUB),
    "neg": _neg,
    "integer_pow": _integer_pow,
    "square": _integer_pow,
    "tanh": _table("tanh"),
    "logistic": _table("sigmoid"),
    "reduce_sum": _reduce_sum,
    "broadcast_in_dim": _broadcast_in_dim,
    "transpose": _transpose,
    "dot_general": _dot_general,
    "reshape": _reshape,
    "squeeze": _reshape,
    "convert_element_type": _same,
    "copy": _same,
    "stop_gradient": _same,
    "jit": _call,
    "pjit": _call,
    "custom_jvp_call": _call,
    "custom_vjp_call": _call,
    "closed_call": _call,
}
