"""Small ONNX graphs around single pieces of the exporter, and the two runtimes that run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, helper
from onnx.reference import ReferenceEvaluator

from echoloom.backends.onnx.host_nodes import Host
from echoloom.backends.onnx.writer import OPSET, Shared, element_of


def run(
    write: Callable[[Host], list[str]], accuracy: float = 0.0, **feeds: np.ndarray
) -> list[np.ndarray]:
    """What `write` computes from the feeds, which are inputs of their names.

    onnx's own evaluator must find the same, to `accuracy` of the larger of 1 and the number.
    """
    shared = Shared(names=set(feeds))
    scope = Host(shared)
    outputs = write(scope)
    inputs = [
        helper.make_tensor_value_info(name, element_of(v.dtype), list(v.shape))
        for name, v in feeds.items()
    ]
    known = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(scope.nodes, "test", inputs, known, shared.initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets)
    )
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = list(session.run(None, dict(feeds)))
    for ours, theirs in zip(found, reference(model, feeds).values(), strict=True):
        assert isinstance(ours, np.ndarray) and ours.dtype == theirs.dtype
        np.testing.assert_allclose(theirs, ours, rtol=accuracy, atol=accuracy)
    return found  # type: ignore[return-value]


def reference(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All outputs by name, as the evaluator of the package onnx computes them."""
    names = [output.name for output in model.graph.output]
    found = ReferenceEvaluator(model).run(None, dict(feeds))
    return dict(zip(names, found, strict=True))  # type: ignore[arg-type]


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and the bodies in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


def edited(model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """A copy with other contents in some initializers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values[tensor.name], tensor.name))
    return copy
