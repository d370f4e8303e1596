"""Exported programs in ONNX Runtime: the same RunResults as the other levels, and real numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoloom.backends.onnx.export import require
from echoloom.backends.onnx.widths import OUT_OF_RANGE
from echoloom.backends.run.integers import InputRange
from echoloom.ir.host import RunResult
from echoloom.ir.program import Program

if TYPE_CHECKING:
    from onnx import ModelProto

Arrays = dict[str, NDArray[Any]]


class OnnxModel:
    """One model in an ONNX Runtime session on the CPU. Raises ToolMissing without the package."""

    def __init__(self, model: ModelProto | bytes, threads: int = 1):
        require("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of constants that it has folded away
        options.intra_op_num_threads = threads
        data = model if isinstance(model, bytes) else model.SerializeToString()
        self.session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
        self.names = [o.name for o in self.session.get_outputs()]
        self.types = {
            i.name: np.float32 if i.type == "tensor(float)" else np.float64
            for i in self.session.get_inputs()
        }

    def run(self, x: Any, label: Any = None) -> Arrays:
        """All outputs by name for x [batch, T, inputs] and labels [batch] or targets.

        ValueError, in one sentence, for labels that are not whole numbers.
        """
        feeds: Arrays = {"x": np.asarray(x, self.types["x"])}
        if "label" in self.types:
            feeds["label"] = _classes(label)
        if "target" in self.types:
            feeds["target"] = np.asarray(label, np.float64)
        return dict(zip(self.names, self.session.run(None, feeds), strict=True))  # type: ignore[arg-type]


def integer_result(program: Program, found: Mapping[str, NDArray[Any]]) -> RunResult:
    """One sequence's outputs of an integer graph as a RunResult; InputRange where a sample or
    target did not fit its format, or a label is no class."""
    forward, echo = (
        n in found and int(found[n][0]) & OUT_OF_RANGE for n in ("forward_flags", "echo_flags")
    )
    if echo and program.is_classification:
        raise InputRange("a label is none of the classes that this program was compiled for")
    if forward or echo:
        raise InputRange(
            "a sample or target is outside the range that this program was compiled for"
        )

    def under(prefix: str) -> Arrays:
        own = {n.removeprefix(prefix): v for n, v in found.items() if n.startswith(prefix)}
        shapes = {a.name: a.type.shape for a in program.accumulators}
        return {n: v[0].reshape(shapes.get(n, v[0].shape)) for n, v in own.items()}

    zero = np.zeros((), np.int64)
    return RunResult(
        found["outputs"][0],
        under("state/"),
        found["forward_flags"][0],
        under("sum/"),
        under("echo_state/"),
        found["echo_flags"][0] if "echo_flags" in found else zero,
        found["exponent"][0] if "exponent" in found else zero,
    )


def _classes(labels: Any) -> NDArray[np.int64]:
    """Whole numbers of any type as the graph takes them. What is no class is the graph's to flag:
    a number beyond int64 becomes a negative one."""
    found = np.asarray(labels)
    if found.size and found.dtype.kind not in "iu":
        raise ValueError(f"labels: the type is {found.dtype}, but whole numbers are needed.")
    return found.astype(np.int64)
