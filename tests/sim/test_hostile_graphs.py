"""ONNX files that somebody made to harm their reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from small_models import tiny

import echoloom as el
from echoloom.backends.onnx.export import onnx_model
from echoloom.sim.level_onnx import read

PROGRAM, X = tiny()
GRAPH = onnx_model(PROGRAM, "integer", "forward").SerializeToString()


def elsewhere(tensor: onnx.TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def in_a_node(model: onnx.ModelProto) -> None:
    node = onnx.helper.make_node("Constant", [], ["x"])
    attribute = node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    attribute.t.CopyFrom(model.graph.initializer[0])
    elsewhere(attribute.t)
    body = onnx.helper.make_graph([node], "body", [], [])
    model.graph.node[0].attribute.add(name="body", g=body, type=onnx.AttributeProto.GRAPH)


@pytest.mark.parametrize(
    "place", [lambda model: elsewhere(model.graph.initializer[0]), in_a_node], ids=["graph", "body"]
)
def test_numbers_in_another_file_are_not_read(
    place: Callable[[onnx.ModelProto], None], tmp_path: Path
) -> None:
    model = onnx.ModelProto.FromString(GRAPH)
    place(model)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="lie in another file, which no export does"):
        read(tmp_path / "m.onnx")


def without_an_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "x"


def without_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def with_another_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "y"


def with_no_end(model: onnx.ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("Identity", ["q"], ["q"]))


@pytest.mark.parametrize(
    "change", [without_an_operator, without_outputs, with_another_input, with_no_end]
)
def test_graphs_that_do_not_run(change: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    path, model = tmp_path / "m.onnx", onnx.ModelProto.FromString(GRAPH)
    change(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"m\.onnx: this graph does not run as the program's: .+"):
        el.verify(PROGRAM, X, None, levels=("onnx",), onnx=path)
