"""QONNX views in QONNX's own executor, as words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from qonnx.core import onnx_exec
from qonnx.core.modelwrapper import ModelWrapper

from echoloom.backends.run.levels import IntegerProgram
from echoloom.ir.formats import Q
from echoloom.ir.parser import parse
from echoloom.ir.tables import program_tables

Arrays = dict[str, np.ndarray]
IR_VERSION = 10  # of ONNX files


@contextmanager
def files_that_onnxruntime_reads() -> Iterator[None]:
    """QONNX runs node by node in files of the newest version that the package onnx knows, which
    may be newer than the newest that ONNX Runtime knows."""
    before = onnx_exec.qonnx_make_model

    def make(graph: onnx.GraphProto, **options: Any) -> onnx.ModelProto:
        return before(graph, ir_version=IR_VERSION, **options)

    onnx_exec.qonnx_make_model = make
    try:
        yield
    finally:
        onnx_exec.qonnx_make_model = before


def execute(model: ModelWrapper, feeds: Mapping[str, np.ndarray], every: bool = False) -> Arrays:
    """All outputs by name; with `every`, all tensors."""
    assert all(v.dtype == np.float32 for v in feeds.values())
    with files_that_onnxruntime_reads():
        return onnx_exec.execute_onnx(model, dict(feeds), every)


def words(real: np.ndarray, q: Q) -> np.ndarray:
    """The words of a tensor [1, ...], which must be whole numbers of units."""
    exact = real[0].astype(np.float64) * 2.0**q.grid
    assert np.array_equal(exact, np.rint(exact))
    return exact.astype(np.int64)


def numbers(words: Any, q: Q) -> np.ndarray:
    """A tensor [1, ...] of words, in float32."""
    real = np.asarray(words) * 2.0**-q.grid
    return real[None].astype(np.float32)


def quantised(text: str) -> IntegerProgram:
    """A program without coefficients, from its text; tables with 9-bit slopes."""
    program = parse(text)
    return IntegerProgram(program, {}, program_tables(program, 9), 1)
