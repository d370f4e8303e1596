"""Building ONNX graphs: scopes of named nodes, with constants that are shared by content."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET = 26  # the newest that onnxruntime 1.31 implements
BATCH, TIME = "batch", "T"

Dimensions = list[int | str]


@dataclass(frozen=True)
class Value:
    """A tensor in the graph; `batched` says whether its first axis counts sequences."""

    name: str
    batched: bool


@dataclass
class Shared:
    """What all scopes of one model have in common."""

    initializers: list[TensorProto] = field(default_factory=list)
    constants: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def fresh(self, wanted: str) -> str:
        """`wanted`, or with a number where that is taken: nested graphs must not reuse names."""
        name, count = wanted, 1
        while name in self.names:
            count += 1
            name = f"{wanted}~{count}"
        self.names.add(name)
        return name


class Scope:
    """One graph's nodes. `prefix` begins the names of everything computed here."""

    def __init__(self, shared: Shared, prefix: str = ""):
        self.shared, self.prefix = shared, prefix
        self.nodes: list[NodeProto] = []
        self.vectors: dict[tuple[int, ...], str] = {}

    def node(self, kind: str, *inputs: str, name: str, doc: str = "", **attributes: Any) -> str:
        """Add a node with one output; the output's name, which is also the node's."""
        output = self.shared.fresh(self.prefix + name)
        self.nodes.append(
            helper.make_node(kind, list(inputs), [output], output, doc or None, **attributes)
        )
        return output

    def constant(self, array: Any, dtype: Any = None) -> str:
        """The name of an unnamed constant; equal ones are stored once."""
        value = np.asarray(array, dtype)
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self.shared.constants:
            text = str(value.item()) if value.size == 1 else "x".join(map(str, value.shape))
            name = f"constant/{value.dtype}/{text}" + ("" if value.ndim == 0 else f"[{value.ndim}]")
            self.shared.constants[key] = self.tensor(name, value)
        return self.shared.constants[key]

    def integer(self, value: int) -> str:
        """An int64 scalar."""
        return self.constant(value, np.int64)

    def integers(self, *values: int) -> str:
        """An int64 vector, as shapes and axes are given: a node, because shape inference does not
        look for constants outside of a graph."""
        if values not in self.vectors:
            tensor = numpy_helper.from_array(np.asarray(values, np.int64))
            text = ",".join(map(str, values))
            self.vectors[values] = self.node("Constant", name=f"int64[{text}]", value=tensor)
        return self.vectors[values]

    def swapped(self, rows: str) -> str:
        """[T, batch, n] of [batch, T, n], or the other way round."""
        return self.node("Transpose", rows, name=f"{rows}.swapped", perm=[1, 0, 2])

    def reversed(self, rows: str) -> str:
        """The same rows, last one first."""
        ends = self.integers(-1), self.integers(np.iinfo(np.int64).min)
        first, back = self.integers(0), self.integers(-1)
        return self.node("Slice", rows, *ends, first, back, name=f"{rows}.reversed")

    def tensor(self, name: str, value: NDArray[Any], doc: str = "") -> str:
        """A named initializer: a coefficient or a table."""
        name = self.shared.fresh(name)
        tensor = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        tensor.doc_string = doc
        self.shared.initializers.append(tensor)
        return name


def value_info(name: str, element: int, shape: Dimensions, doc: str = "") -> ValueInfoProto:
    """Declares a graph's input or output."""
    return helper.make_tensor_value_info(name, element, shape, doc)


def element_of(dtype: Any) -> int:
    """ONNX's number for a NumPy type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
