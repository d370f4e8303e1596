"""The level "onnx": exported graphs in ONNX Runtime, held against the program they came from.

Integer graphs must give the NumPy level's integers; float graphs JAX's outputs, and the gradients
of backpropagation, to FLOAT_BOUND. Every tensor in a graph must be the program's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from echoloom.backends.bitstream.tools import ToolMissing
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.raw_gradients import raw_gradient
from echoloom.backends.onnx.export import (
    KINDS,
    PASSES,
    VIEW,
    Kind,
    Passes,
    onnx_model,
    require,
)
from echoloom.backends.onnx.run import Arrays, OnnxModel, integer_result
from echoloom.backends.run.integers import Floats, InputRange
from echoloom.frontend.gradients.bptt import bptt_gradient
from echoloom.frontend.gradients.exact import tensors
from echoloom.frontend.models.hssm import HSSM
from echoloom.frontend.models.stack import float64
from echoloom.sim.first_difference import Difference, Mismatch, first_index, lowest_bit
from echoloom.sim.level import Case, Job, Reals, Run
from echoloom.sim.locate import Key, first_value, numpy_trace

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

LEVEL = "onnx"
FLOAT_BOUND = 1e-5  # relative to the largest element of a sequence's tensor
FLOOR = 1e-5  # of the largest of all tensors: what is smaller, perhaps zero, counts as that
Errors = dict[str, float]
Values = dict[str, Floats]


def onnx_level(job: Job) -> Iterator[Run]:
    for export in exports(job.program, job.onnx):
        job.progress(f"onnx: {export.kind} {export.passes}")
        found = runs(job.program, export, job.cases)
        yield from found if job.onnx is None else _of_a_file(job.onnx, found)


def _of_a_file(path: str | os.PathLike[str], found: Iterator[Run]) -> Iterator[Run]:
    """The runs of a graph that anybody may have written: whatever ONNX Runtime, and who takes its
    outputs for the program's, make of it is the file's fault."""
    try:
        yield from found
    except (Mismatch, ToolMissing, InputRange):
        raise
    except Exception as error:
        said, *_ = str(error).splitlines() or [type(error).__name__]
        raise ValueError(f"{path}: this graph does not run as the program's: {said}") from error


@dataclass(frozen=True, eq=False)
class Export:
    """A graph and what it says it is."""

    kind: Kind
    passes: Passes
    model: ModelProto


def exports(program: CompiledProgram, path: str | os.PathLike[str] | None) -> Iterator[Export]:
    """The four graphs of a program, or the one in a file whose tensors are the program's.

    Raises Mismatch naming the first tensor that is not, ValueError for a file that is not an
    export, OSError for one that cannot be read.
    """
    if path is None:
        for kind in reversed(KINDS):  # what must be identical first
            for passes in PASSES:
                yield Export(kind, passes, onnx_model(program, kind, passes))
        return
    found = read(path)
    own = onnx_model(program, found.kind, found.passes)
    compare_tensors(own, found.model)
    yield found


def read(path: str | os.PathLike[str]) -> Export:
    require("onnx")
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(os.fspath(path), load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{path}: this is not an ONNX file") from error
    # A path in a file leads anywhere, and an export is one file.
    if any(map(_is_elsewhere, _tensors(model.graph))):
        raise ValueError(f"{path}: some of its numbers lie in another file, which no export does")
    said = {p.key: p.value for p in model.metadata_props}
    kind, passes = said.get("echoloom.kind"), said.get("echoloom.passes")
    if kind == VIEW:
        raise ValueError(
            f"{path}: this is a QONNX view, whose operators ONNX Runtime does not have; "
            "QONNX's own executor runs it"
        )
    if kind not in KINDS or passes not in PASSES:
        raise ValueError(f"{path}: this is not a graph that Echoloom exported")
    return Export(kind, passes, model)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """All of a graph and of the graphs in its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _is_elsewhere(tensor: TensorProto) -> bool:
    return tensor.data_location == tensor.EXTERNAL or bool(tensor.external_data)


def compare_tensors(own: ModelProto, found: ModelProto) -> None:
    """Raises Mismatch at the first initializer that is not the program's."""
    from onnx import numpy_helper

    there = {t.name: t for t in found.graph.initializer}
    for tensor in own.graph.initializer:
        wanted = numpy_helper.to_array(tensor)
        name = f"tensor {tensor.name}"
        if tensor.name not in there:
            raise Mismatch(Difference(LEVEL, None, "", name, (), None, "a tensor", "none"))
        actual = numpy_helper.to_array(there[tensor.name])
        if wanted.shape != actual.shape or wanted.dtype != actual.dtype:
            ours, theirs = (f"{a.dtype}{list(a.shape)}" for a in (wanted, actual))
            raise Mismatch(Difference(LEVEL, None, "", name, (), None, ours, theirs))
        both_nan = (wanted != wanted) & (actual != actual)
        at = first_index((wanted != actual) & ~both_nan)
        if at is not None:
            a, b = wanted[at], actual[at]
            bit = lowest_bit(int(a), int(b)) if wanted.dtype == np.int64 else None
            pair = (int(a), int(b)) if bit is not None else (repr(float(a)), repr(float(b)))
            raise Mismatch(Difference(LEVEL, None, "", name, at, bit, *pair))


def runs(program: CompiledProgram, export: Export, cases: Sequence[Case]) -> Iterator[Run]:
    """The cases that a graph can run. Raises Mismatch where a float graph is too far from JAX."""
    gradient = export.passes == "gradient"
    cases = [c for c in cases if c.label is not None] if gradient else list(cases)
    session = OnnxModel(export.model)
    run = _integers if export.kind == "integer" else _reals
    for length in dict.fromkeys(len(c.x) for c in cases):
        alike = [c for c in cases if len(c.x) == length]
        labels = [c.label for c in alike] if gradient else None
        found = session.run([c.x for c in alike], labels)
        for index, case in enumerate(alike):
            own = {name: value[index : index + 1] for name, value in found.items()}
            yield run(program, export, case, own)


def _integers(program: CompiledProgram, export: Export, case: Case, own: Arrays) -> Run:
    wanted, actual = case.expected, integer_result(program.ir, own)
    if export.passes == "forward":
        zero = np.zeros((), np.int64)
        wanted = replace(wanted, gradients={}, echo_states={}, echo_flags=zero, exponent=zero)
    expected, found = ({**r.named(), "exponent": r.exponent} for r in (wanted, actual))
    return Run(case, expected, found, partial(_locate, program, export, case))


def _locate(program: CompiledProgram, export: Export, case: Case) -> Difference | None:
    """The first value inside the graph that differs from the NumPy level."""
    from echoloom.backends.onnx.trace import SCANNED, traced

    label = case.label if export.passes == "gradient" else None
    model, signals = traced(export.model, program.ir)
    found = OnnxModel(model).run([case.x], None if label is None else [label])
    wanted = numpy_trace(program.artifact, case.x, label)

    def values() -> Iterator[tuple[Key, Any]]:
        for section, step, name in wanted:
            if (section, name) in signals:
                steps = found[signals[section, name]]
                value = steps[step, 0] if section in SCANNED else steps[0]
                yield (section, step, name), value

    return first_value(LEVEL, wanted, values())


def _reals(program: CompiledProgram, export: Export, case: Case, own: Arrays) -> Run:
    """Holds a float graph's numbers against JAX's. Raises Mismatch."""
    wanted = _jax_values(program, export, case)
    errors = _relative_errors(wanted, _onnx_values(program, export, own))
    for name, error in errors.items():
        if not error <= FLOAT_BOUND:
            found = f"{error:.3g} off{_chaos(program, export, case, own, name)}"
            bound = f"JAX's numbers to {FLOAT_BOUND:g}"
            raise Mismatch(Difference(LEVEL, None, "", f"float {name}", (), None, bound, found))
    compared = sum(int(v.size) for v in wanted.values())
    return Run(case, reals=Reals(f"float {export.passes}", compared, max(errors.values())))


def _relative_errors(wanted: Values, actual: Values) -> Errors:
    """By tensor, the largest difference beside the largest element."""
    errors = {}
    sizes = {name: float(np.max(np.abs(exact), initial=0.0)) for name, exact in wanted.items()}
    for name, exact in wanted.items():
        scale = max(sizes[name], FLOOR * max(sizes.values()))
        error = float(np.max(np.abs(actual[name].reshape(exact.shape) - exact), initial=0.0))
        errors[name] = error / scale if scale > 0.0 else error
    return errors


def _chaos(program: CompiledProgram, export: Export, case: Case, own: Arrays, name: str) -> str:
    """What to add to a failure: whether JAX's own numbers hang on the last bits of the samples, in
    which case no two programs that round in different places can agree."""
    last_bit = float(np.finfo(own["outputs"].dtype).eps)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], case.x.shape)
    moved = replace(case, x=case.x * (1.0 + last_bit * signs))
    exact = _jax_values(program, export, case)
    change = _relative_errors(exact, _jax_values(program, export, moved))[name]
    if not change > FLOAT_BOUND:
        return ""
    return (
        f"; JAX's own numbers change by {change:.3g} where the samples change in their last bit, "
        f"so over {len(case.x)} steps this model is chaotic and no two float programs agree"
    )


def _jax_values(program: CompiledProgram, export: Export, case: Case) -> Values:
    """The model's outputs and, for a graph with an echo, its parameters' gradients by BPTT."""
    with jax.enable_x64(True):
        model, x = float64(program.model), jnp.asarray(case.x)
        values = {"outputs": np.asarray(model(x), np.float64)}
        if export.passes == "gradient":
            label = case.label if program.ir.is_classification else jnp.asarray(case.label)
            values |= _gradients(bptt_gradient(model, x, label))
    return values


def _onnx_values(program: CompiledProgram, export: Export, own: Arrays) -> Values:
    """The same of what a graph gave."""
    values = {"outputs": np.asarray(own["outputs"][0], np.float64)}
    if export.passes == "gradient":
        kinds = [(*n.partition("/"), v[0]) for n, v in own.items()]
        own = {name: value for kind, _, name, value in kinds if kind == "gradient"}
        with jax.enable_x64(True):
            values |= _gradients(raw_gradient(program.folded, program.model, own))
    return values


def _gradients(gradient: HSSM) -> Values:
    return {f"gradient {name}": value for name, value in tensors(gradient).items()}
