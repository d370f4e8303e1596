"""`el.export_onnx`: a model or a compiled program as one ONNX file."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, get_args

import jax
import numpy as np

from echoloom.backends.bitstream.tools import ToolMissing
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.stages import probed, real_program, traced
from echoloom.backends.run.levels import IntegerProgram
from echoloom.frontend.data.arrays import real_array
from echoloom.frontend.data.files import write_whole
from echoloom.frontend.models.check import check
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.passes.assemble import StackGraphs
from echoloom.ir.program import Program

if TYPE_CHECKING:
    from onnx import ModelProto

    from echoloom.backends.onnx.graph import Subject

Kind = Literal["float", "integer", "qonnx"]
Passes = Literal["forward", "gradient"]
KINDS: tuple[Kind, ...] = ("float", "integer")  # of standard operators
VIEW: Kind = "qonnx"
PASSES: tuple[Passes, ...] = get_args(Passes)

# A curved unit's contrast has an error of the nudge squared; in float64 the rounding that a small
# nudge costs is far below it.
FINER_THAN_WIDEST, FINER_THAN_COMPILED = 2.0**-17, 2.0**-14
PROBE_STEPS = 64
LIMIT = 1 << 31  # bytes; protobuf reads no larger message


def export_onnx(
    source: CompiledProgram | HSSM,
    path: str | os.PathLike[str],
    kind: Kind = "float",
    passes: Passes = "forward",
    samples: Any = None,
    steps: int | None = None,
) -> None:
    """Write one ONNX file, whole or not at all; docs/onnx.md explains it.

    kind "float" is the model in real numbers, "integer" the compiled program word for word in
    int64. passes "forward" takes x [batch, T, inputs]; "gradient" also label [batch] or target
    [batch, T', outputs] and adds the echo, with the gradient by every coefficient. The nudge of a
    float gradient is chosen on `samples` [n, T, inputs]; a compiled program knows its own, and
    noise of unit deviation stands in for an uncompiled model's if none are given.

    kind "qonnx" is a compiled program's forward pass with QONNX's Quant nodes, for one sequence:
    of `steps` samples, or without `steps` one time step from states to states.

    Raises ValueError in one sentence for another kind, an export of words from a model that is not
    compiled or whose words int64 (for "qonnx": float32) cannot carry, naming the signal;
    ToolMissing without the package onnx; OSError for a path that cannot be written.
    """
    data = onnx_model(source, kind, passes, samples, steps).SerializeToString()
    write_whole(path, data)


def onnx_model(
    source: CompiledProgram | HSSM,
    kind: Kind,
    passes: Passes,
    samples: Any = None,
    steps: int | None = None,
) -> ModelProto:
    """The checked model that `export_onnx` writes."""
    for what, value, known in (("kind", kind, (*KINDS, VIEW)), ("passes", passes, PASSES)):
        if value not in known:
            raise ValueError(f"{what} is {value!r}, but it must be {_one_of(known)}")
    if steps is not None and kind != VIEW:
        raise ValueError(f"steps is {steps}, but a graph of kind {kind} takes any length")
    require("onnx")
    import onnx

    task = (source.model if isinstance(source, CompiledProgram) else source).task
    doc = _doc(task, kind, passes)
    if kind == VIEW:
        model = _view(source, passes, steps, doc)
    else:
        model = _graph(_subject(source, kind, passes, samples), kind, passes, doc)
    if model.ByteSize() >= LIMIT:
        raise ValueError(
            f"the model takes {model.ByteSize():,} bytes, but an ONNX file holds 2 GiB"
        )
    onnx.checker.check_model(model, full_check=True)
    return model


def _one_of(known: Sequence[str]) -> str:
    return f"{', '.join(known[:-1])} or {known[-1]}"


def _graph(subject: Subject, kind: Kind, passes: Passes, doc: str) -> ModelProto:
    """A graph of standard operators."""
    from echoloom.backends.onnx.graph import Assembly

    assembly = Assembly(subject)
    assembly.forward()
    if passes == "gradient":
        assembly.echo()
    title = f"{subject.program.name}_{kind}_{passes}"
    return assembly.model(title, doc, _metadata(subject, kind, passes))


def _view(
    source: CompiledProgram | HSSM, passes: Passes, steps: int | None, doc: str
) -> ModelProto:
    """A graph with QONNX's operators."""
    from echoloom.backends.onnx.qonnx_view import qonnx_view

    if passes != "forward":
        raise ValueError("a QONNX view holds the forward pass only; passes must be forward")
    integer = _compiled(source, VIEW).artifact
    metadata = _metadata(integer, VIEW, passes)
    metadata["echoloom.steps"] = "one" if steps is None else str(steps)
    return qonnx_view(integer, steps).model(f"{integer.program.name}_{VIEW}", doc, metadata)


def require(package: str) -> None:
    """Raises ToolMissing unless the package is installed."""
    if importlib.util.find_spec(package) is None:
        raise ToolMissing(
            f"ONNX needs the Python package {package}; install it with "
            "`pip install 'echoloom[onnx]'`"
        )


def _subject(source: CompiledProgram | HSSM, kind: Kind, passes: Passes, samples: Any) -> Subject:
    if kind == "float":
        return _real_subject(source, passes, samples)
    return integer_subject(_compiled(source, kind).artifact)


def _compiled(source: CompiledProgram | HSSM, kind: Kind) -> CompiledProgram:
    if isinstance(source, CompiledProgram):
        return source
    raise ValueError(
        f"an export of kind {kind} needs a compiled program, because a model has no formats yet; "
        "compile it first"
    )


def integer_subject(integer: IntegerProgram) -> Subject:
    """An integer program with its coefficients and tables; TooWide names what does not fit."""
    from echoloom.backends.onnx.graph import Subject
    from echoloom.backends.onnx.integer_rules import IntegerArithmetic
    from echoloom.backends.onnx.widths import check_widths
    from echoloom.backends.onnx.writer import Scope, Shared

    check_widths(integer.program, integer.tables)
    shared = Shared()
    scope = Scope(shared)
    lines = {}
    for key, table in integer.tables.items():
        arrays = {"base": table.base, "slope": table.slope}
        lines[key] = tuple(
            scope.tensor(f"{part}/{key}", np.asarray(words, np.int64), f"table {key}: {part}")
            for part, words in arrays.items()
        )
    arithmetic = IntegerArithmetic(integer.tables, lines)
    return Subject(integer.program, integer.coefficients, arithmetic, shared, integer.output_step)


def _real_subject(source: CompiledProgram | HSSM, passes: Passes, samples: Any) -> Subject:
    from echoloom.backends.onnx.graph import Subject
    from echoloom.backends.onnx.real_rules import RealArithmetic
    from echoloom.backends.onnx.writer import Shared

    model = source.model if isinstance(source, CompiledProgram) else source
    # Differences of echoes have no digits left in float32.
    dtype = np.float64 if passes == "gradient" else model.encoder.weight.dtype.type
    check(model)
    with jax.enable_x64(True):
        noise = np.random.default_rng(0).normal(size=(1, PROBE_STEPS, model.inputs))
        given = real_array("samples", noise if samples is None else samples)
        traced_model = traced(model, given.astype(np.float64))
        graphs = traced_model.graphs
        if passes == "forward":
            epsilons = (1.0,) * len(graphs.blocks)
        elif isinstance(source, CompiledProgram):
            epsilons = _finer(graphs, source.epsilons, FINER_THAN_COMPILED)
        else:
            epsilons = _finer(graphs, probed(traced_model)[1], FINER_THAN_WIDEST)
        real = real_program(traced_model, epsilons)
    arithmetic = RealArithmetic(dtype)
    return Subject(real.program, real.coefficients, arithmetic, Shared(), model.output_step)


def _finer(graphs: StackGraphs, epsilons: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """The nudge sizes, smaller for units whose contrast is not exact at any."""
    return tuple(
        e * factor if block.curved else e for e, block in zip(epsilons, graphs.blocks, strict=True)
    )


def program_hash(program: Program, coefficients: Any) -> str:
    """SHA-256 of a program's text and its coefficients' bytes, in the order of declaration."""
    found = hashlib.sha256(str(program).encode())
    for d in program.coefficients:
        found.update(np.ascontiguousarray(coefficients[d.name]).tobytes())
    return found.hexdigest()


def _metadata(of: Subject | IntegerProgram, kind: Kind, passes: Passes) -> dict[str, str]:
    program = of.program
    declared = (*program.coefficients, *program.runtime, *program.states, *program.accumulators)
    formats = {d.name: str(d.type) for d in declared}
    return {
        "echoloom.version": version("echoloom"),
        "echoloom.kind": kind,
        "echoloom.passes": passes,
        "echoloom.program": program.name,
        "echoloom.sha256": program_hash(program, of.coefficients),
        "echoloom.output_step": str(of.output_step),
        "echoloom.formats": json.dumps(formats),
    }


def _doc(task: str, kind: Kind, passes: Passes) -> str:
    words = {
        "float": "real numbers",
        "integer": "fixed-point words in int64",
        "qonnx": "fixed-point words in float32, with QONNX's Quant",
    }[kind]
    what = "forward pass" if passes == "forward" else "forward pass and echo (gradients by RHEL)"
    return f"Hamiltonian state-space model, {task}: {what} in {words}. Written by Echoloom."
