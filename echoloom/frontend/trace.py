"""The compiler's functions (parts, energies, their derivatives) to IR graphs.

Numbers that are the same everywhere (0.5, 2.0, a broadcast one) are folded while tracing, so a
gradient's bookkeeping leaves only SCALE behind. What depends on coefficients alone is computed on
the host and becomes a coefficient of its own. A transposed matrix is a view, never an instruction:
W.T @ g becomes TMATVEC, (g x').T becomes OUTER with its operands exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from echoloom.frontend.canonical import Untraceable as Untraceable
from echoloom.frontend.jaxpr import Equation, Interpreter, path_name, staged
from echoloom.frontend.vocabulary import word_of
from echoloom.ir.formats import Type, real
from echoloom.ir.ops import Attribute, Constant, Op, Scale, Table
from echoloom.ir.program import Declaration, Graph, Instr

Floats = np.ndarray


@dataclass(frozen=True)
class Known:
    """A tensor whose elements are all the same number."""

    value: float
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Held:
    """A coefficient times a number; `name` is empty until an instruction needs one that is not a
    leaf."""

    value: Floats
    name: str = ""
    transposed: bool = False
    factor: float = 1.0

    @property
    def product(self) -> Floats:
        return self.value * self.factor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape


@dataclass(frozen=True)
class Ref:
    """A run-time value; `shape` is the shape JAX sees. One number has the IR shape (1,) and stands
    for a whole vector where JAX has broadcast it; a matrix may be seen transposed."""

    name: str
    shape: tuple[int, ...]
    transposed: bool = False


Operand = Known | Held | Ref


@dataclass(frozen=True)
class Traced:
    """A graph, and the values of the coefficients that its code needs beside the leaves."""

    graph: Graph
    values: Mapping[str, Floats]


def trace(
    function: Callable[..., Any],
    label: str = "",
    coefficients: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Traced:
    """Graph of `function(**coefficients, **arguments)`; leaves are named by their path.

    `coefficients` are pytrees of arrays whose numbers are known, `arguments` pytrees of which only
    shapes matter. The result is a dict of pytrees. Folded coefficients are called
    `<first coefficient>.<label>.<number>`. Untraceable names the primitive, and the line, that has
    no IR op.
    """
    given = dict(coefficients or {})
    everything = {**given, **arguments}
    leaves, treedef = jax.tree_util.tree_flatten_with_path(everything)
    structure: list[Any] = []

    def flat(*values: Any) -> Any:
        result = function(**jax.tree_util.tree_unflatten(treedef, list(values)))
        paths, _ = jax.tree_util.tree_flatten_with_path(result)
        structure[:] = [path_name(path) for path, _ in paths]
        return [leaf for _, leaf in paths]

    jaxpr, consts = staged(flat, *(np.shape(leaf) for _, leaf in leaves))
    tracer = _Tracer(next(iter(given), "fixed"), label)
    operands: list[Operand] = []
    for path, leaf in leaves:
        name = path_name(path)
        if path[0].key in given:
            operands.append(Held(np.asarray(leaf, np.float64), name))
        else:
            operands.append(Ref(name, np.shape(leaf)))
            tracer.ir_shapes[name] = np.shape(leaf)
    with jax.enable_x64(True):
        results = tracer.run(jaxpr, consts, operands)
    outputs = [(n, tracer.settled(value)) for n, value in zip(structure, results, strict=True)]
    declarations = [Declaration(o.name, real(*o.shape)) for o in operands]  # type: ignore[union-attr]
    declarations += [Declaration(n, real(*v.shape)) for n, v in tracer.folded.items()]
    graph = Graph(tuple(declarations), tuple(tracer.instrs), tuple(outputs))
    return Traced(graph, tracer.folded)


@dataclass
class _Tracer(Interpreter):
    owner: str
    label: str
    instrs: list[Instr] = field(default_factory=list)
    folded: dict[str, Floats] = field(default_factory=dict)
    ir_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    where: str = ""

    def constant(self, value: Any) -> Known | Held:
        array = np.asarray(value, np.float64)
        if array.size and (array == array.flat[0]).all():
            return Known(float(array.flat[0]), array.shape)
        return Held(array)

    def equation(self, equation: Equation, operands: list[Any]) -> list[Any]:
        self.where = equation.where or self.where
        word = word_of(equation.params.get("name", "")) if equation.inner is not None else None
        if word is not None:
            return [_table(word)(self, operands, {})]
        if equation.inner is not None:
            return self.run(*equation.inner, operands)
        if any(isinstance(x, Held) for x in operands) and not any(
            isinstance(x, Ref) for x in operands
        ):
            return self.on_host(equation, operands)
        rule = RULES.get(equation.name)
        if rule is None:
            raise self.untraceable(f"the primitive {equation.name!r} has no operation in the IR")
        return [rule(self, operands, equation.params)]

    def untraceable(self, problem: str) -> Untraceable:
        return Untraceable(f"{self.label or 'a function'} at {self.where}: {problem}")

    def on_host(self, equation: Equation, operands: list[Any]) -> list[Operand]:
        """Arithmetic on coefficients; a matrix's transpose stays a view of the matrix."""
        first = operands[0]
        if equation.name == "transpose" and isinstance(first, Held) and first.name:
            return [replace(first, value=first.value.T, transposed=not first.transposed)]
        factor = _numeric_factor(equation, operands)
        if factor is not None:
            return [factor]
        values = [
            np.full(x.shape, x.value) if isinstance(x, Known) else x.product for x in operands
        ]
        results = [np.asarray(r, np.float64) for r in equation.evaluate(*values)]
        same = len(results) == 1 and np.array_equal(results[0], values[0])
        return [first] if same else [Held(r) for r in results]

    def emit(
        self, op: Op, args: tuple[str, ...], shape: tuple[int, ...], attr: Attribute | None = None
    ) -> Ref:
        name = f"t{len(self.instrs)}"
        shape = shape or (1,)
        self.instrs.append(Instr(name, op, args, Type(shape, real().format), attr))
        self.ir_shapes[name] = shape
        return Ref(name, shape)

    def held(self, coefficient: Held) -> str:
        """Name of a coefficient as an operand, its factor aside; declared where it is no leaf."""
        if coefficient.name and not coefficient.transposed:
            return coefficient.name
        for name, value in self.folded.items():
            if np.array_equal(value, coefficient.value):
                return name
        name = ".".join(p for p in (self.owner, self.label, f"w{len(self.folded)}") if p)
        self.folded[name] = coefficient.value
        return name

    def narrowed(self, value: Ref) -> bool:
        """Whether one number stands for a longer vector."""
        return self.ir_shapes[value.name] in ((), (1,)) and value.shape not in ((), (1,))

    def spread(self, value: Ref) -> Ref:
        """A vector of its own, where one number stood for it."""
        if not self.narrowed(value):
            return value
        ones = self.held(Held(np.ones((value.shape[0], 1))))
        return self.emit(Op.MATVEC, (ones, value.name), value.shape)

    def settled(self, value: Operand) -> str:
        """Name of a value of its own, an instruction where there was none."""
        if isinstance(value, Known):
            return self.emit(Op.CONSTANT, (), value.shape, Constant(value.value)).name
        if isinstance(value, Held):
            one = self.emit(Op.CONSTANT, (), (1,), Constant(1.0))
            column = self.held(Held(value.product.reshape(-1, 1)))
            return self.emit(Op.MATVEC, (column, one.name), value.shape).name
        value = self.spread(value)
        if not value.transposed:
            return value.name
        outer = next((i for i in self.instrs if i.name == value.name), None)
        if outer is None or outer.op is not Op.OUTER:
            raise self.untraceable(f"the transposed matrix {value.name} is used as a value")
        return self.emit(Op.OUTER, outer.args[::-1], value.shape).name


def _array(x: Known | Held) -> Floats:
    return np.full(x.shape, x.value) if isinstance(x, Known) else x.product


def _numeric_factor(equation: Equation, operands: list[Any]) -> Held | None:
    """A coefficient of the same name times another number, where that is all that happens."""
    if equation.name == "neg":
        return replace(operands[0], factor=-operands[0].factor)
    if equation.name != "mul" or len(operands) != 2:
        return None
    known, held = operands if isinstance(operands[0], Known) else operands[::-1]
    if not isinstance(known, Known) or not isinstance(held, Held) or known.shape not in (
        (), held.shape,
    ):  # fmt: skip
        return None
    return replace(held, factor=held.factor * known.value) if known.value else None


def _broadcast_shape(*values: Operand) -> tuple[int, ...]:
    return tuple(np.broadcast_shapes(*(v.shape for v in values)))


def _scaled(t: _Tracer, value: Ref, factor: float) -> Operand:
    if factor == 0.0:
        return Known(0.0, value.shape)
    if factor == 1.0:
        return value
    scaled = t.emit(Op.SCALE, (value.name,), t.ir_shapes[value.name], Scale(factor))
    return Ref(scaled.name, value.shape, value.transposed)


def _mul(t: _Tracer, args: list[Operand], params: Any) -> Operand:
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
        value = np.broadcast_to(b.value, shape)
        if t.ir_shapes[a.name] in ((), (1,)) and shape not in ((), (1,)):
            column = t.held(Held(value.reshape(-1, 1)))
            return _scaled(t, t.emit(Op.MATVEC, (column, a.name), shape), b.factor)
        own = b if value.shape == b.value.shape else Held(value.reshape(shape or (1,)))
        product = t.emit(Op.MUL, (t.held(_vector(own)), a.name), shape)
        return _scaled(t, replace(product, shape=shape), b.factor)
    short_a, short_b = (t.ir_shapes[x.name] in ((), (1,)) for x in (a, b))
    if short_a and short_b:
        product = t.emit(Op.MUL, (a.name, b.name), t.ir_shapes[a.name] or t.ir_shapes[b.name])
        return replace(product, shape=shape)
    return replace(t.emit(Op.MUL, (_whole(t, a), _whole(t, b)), shape), shape=shape)


def _whole(t: _Tracer, value: Ref) -> str:
    if value.transposed:
        return t.settled(value)
    return value.name


def _vector(held: Held) -> Held:
    return held if held.shape != () else Held(held.value.reshape(1))


def _plain(held: Held) -> Held:
    return held if held.factor == 1.0 else Held(held.product)


def _additive(op: Op) -> Any:
    def rule(t: _Tracer, args: list[Operand], params: Any) -> Operand:
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


def _addend(t: _Tracer, value: Operand, shape: tuple[int, ...]) -> str:
    if isinstance(value, Known):
        return t.settled(Known(value.value, shape))
    if isinstance(value, Held):
        full = np.broadcast_to(value.product, shape or (1,))
        plain = full.shape == value.shape and value.factor == 1.0
        return t.held(value if plain else Held(full))
    return t.settled(Ref(value.name, shape, value.transposed))


def _neg(t: _Tracer, args: list[Operand], params: Any) -> Operand:
    return _mul(t, [args[0], Known(-1.0, ())], params)


def _integer_pow(t: _Tracer, args: list[Operand], params: Any) -> Operand:
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
    def rule(t: _Tracer, args: list[Operand], params: Any) -> Operand:
        value = args[0]
        source = value if isinstance(value, Ref) else Ref(t.settled(value), value.shape)
        table = t.emit(Op.TABLE, (source.name,), t.ir_shapes[source.name], Table(function))
        return replace(table, shape=value.shape)

    return rule


def _reduce_sum(t: _Tracer, args: list[Operand], params: Any) -> Operand:
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
    ones = t.held(Held(np.ones((1, count))))
    return replace(t.emit(Op.MATVEC, (ones, a.name), (1,)), shape=())


def _broadcast_in_dim(t: _Tracer, args: list[Operand], params: Any) -> Operand:
    a, shape = args[0], tuple(params["shape"])
    if isinstance(a, Known):
        return Known(a.value, shape)
    assert isinstance(a, Ref)
    if a.shape == shape or int(np.prod(a.shape)) == 1:
        return replace(a, shape=shape)
    raise t.untraceable(f"broadcasting {a.shape} to {shape} is not supported")


def _transpose(t: _Tracer, args: list[Operand], params: Any) -> Operand:
    a = args[0]
    if isinstance(a, Known):
        return Known(a.value, tuple(a.shape[i] for i in params["permutation"]))
    assert isinstance(a, Ref)
    if len(a.shape) != 2:
        return a
    return Ref(a.name, a.shape[::-1], not a.transposed)


def _dot_general(t: _Tracer, args: list[Operand], params: Any) -> Operand:
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


def _outer(t: _Tracer, a: Operand, b: Operand) -> Operand:
    shape = a.shape + b.shape
    if len(a.shape) == 1 and len(b.shape) == 1:
        if isinstance(a, Known) and isinstance(b, Known):
            return Known(a.value * b.value, shape)
        names = [t.held(_plain(x)) if isinstance(x, Held) else t.settled(x) for x in (a, b)]
        return t.emit(Op.OUTER, (names[0], names[1]), shape)
    if len(shape) <= 1:
        return _mul(t, [a, b], {})
    raise t.untraceable(f"an outer product of {a.shape} and {b.shape} is not supported")


def _known_dot(
    t: _Tracer, a: Operand, b: Operand, ca: tuple[int, ...], cb: tuple[int, ...]
) -> Operand:
    known, other, axes = (a, b, cb) if isinstance(a, Known) else (b, a, ca)
    assert isinstance(known, Known)
    if isinstance(other, Held):
        return Held(other.product.sum(axes) * known.value)
    total = _reduce_sum(t, [other], {"axes": axes})
    free = tuple(s for i, s in enumerate(a.shape) if i not in ca)
    free += tuple(s for i, s in enumerate(b.shape) if i not in cb)
    if isinstance(total, Known):
        return Known(total.value * known.value, free)
    assert isinstance(total, Ref)
    return replace(_scaled(t, total, known.value), shape=free)  # type: ignore[type-var]


def _same(t: _Tracer, args: list[Operand], params: Any) -> Operand:
    return args[0]


def _reshape(t: _Tracer, args: list[Operand], params: Any) -> Operand:
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
    "mul": _mul,
    "add": _additive(Op.ADD),
    "add_any": _additive(Op.ADD),
    "sub": _additive(Op.SUB),
    "neg": _neg,
    "integer_pow": _integer_pow,
    "square": _integer_pow,
    "exp": _table("exp"),
    "tanh": _table("tanh"),
    "logistic": _table("sigmoid"),
    "sin": _table("sin"),
    "cos": _table("cos"),
    "sinh": _table("sinh"),
    "cosh": _table("cosh"),
    "erf": _table("erf"),
    "reduce_sum": _reduce_sum,
    "broadcast_in_dim": _broadcast_in_dim,
    "transpose": _transpose,
    "dot_general": _dot_general,
    "reshape": _reshape,
    "squeeze": _reshape,
    "convert_element_type": _same,
    "copy": _same,
}
