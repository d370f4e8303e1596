"""An exported engine by its AXI ports, under cocotb: the program's numbers, with random stalls."""

from __future__ import annotations

from pathlib import Path

import equinox as eqx
import numpy as np
import pytest
from axi_runs import run, run_axi
from small_models import tiny

import echoloom as el
from echoloom.backends.engine.requests import PassRequest, PassResult
from echoloom.backends.engine.sweeps import pass_request, swept
from echoloom.backends.link.image_writes import image_writes

STEPS = 6


@pytest.fixture(scope="module", params=["stream", "axi"])
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built export that starts by itself."""
    folder = tmp_path_factory.mktemp(request.param) / "export"
    el.export_verilog(tiny()[0], folder, interface=request.param, length=STEPS, module="tiny")
    run("build", folder, folder)
    return folder


def passes_of(program: el.CompiledProgram, x: np.ndarray, label: int) -> list[PassRequest]:
    """Forward and echo of a sequence, whose error is that of the outputs which are to come."""
    artifact = program.artifact
    host, expected = artifact.host, program.run(x, label)
    forward = host.forward(x)
    echo = host.echo(forward, expected.outputs, label)
    return [pass_request(artifact, program.image, sweep) for sweep in (forward, echo)]


def check(program: el.CompiledProgram, x: np.ndarray, label: int, found: list[PassResult]) -> None:
    """All integers of a run, and its cycles."""
    artifact = program.artifact
    host, expected = artifact.host, program.run(x, label)
    forward = host.forward(x)
    echo = host.echo(forward, expected.outputs, label)
    after = [swept(artifact, s, one) for s, one in zip((forward, echo), found, strict=True)]
    got = host.result(after[0], after[1], echo).named()
    for name, words in expected.named().items():
        np.testing.assert_array_equal(got[name], words, name)
    cycles = [artifact.mapped.cycles(forward=kind, length=len(x)) for kind in (True, False)]
    assert [one.cycles for one in found] == cycles


@pytest.mark.parametrize("seed", [None, 3])
def test_runs_are_the_programs(export: Path, tmp_path: Path, seed: int | None) -> None:
    program, xs = tiny()
    asked = [one for x in xs for one in passes_of(program, x, 1)]
    size = program.model.outputs
    found = run_axi(export, tmp_path / "job", asked, stall_seed=seed, output_words=size)
    for number, x in enumerate(xs):
        check(program, x, 1, found[2 * number : 2 * number + 2])
    assert (sum(one.stalls for one in found) > 100) == (seed is not None)


@pytest.mark.parametrize("seed", [None, 4])
def test_without_a_host(export: Path, tmp_path: Path, seed: int | None) -> None:
    """Samples in, outputs out."""
    program, xs = tiny()
    asked = [passes_of(program, x, 0)[0] for x in xs]
    found = run_axi(
        export, tmp_path / "job", asked, stall_seed=seed, host=False,
        output_words=program.model.outputs,
    )  # fmt: skip
    for x, one in zip(xs, found, strict=True):
        np.testing.assert_array_equal(one.outputs, program.run(x).outputs)


def test_another_program_over_the_bus(export: Path, tmp_path: Path) -> None:
    program, xs = tiny()
    other = program.with_parameters(
        eqx.tree_at(lambda m: m.encoder.weight, program.model, replace_fn=lambda w: 0.9 * w)
    )
    asked = passes_of(other, xs[0], 0)
    load = image_writes(other.image, clear=True)
    size = program.model.outputs
    found = run_axi(export, tmp_path / "job", asked, stall_seed=5, load=load, output_words=size)
    check(other, xs[0], 0, found)
    assert not np.array_equal(found[0].outputs, program.run(xs[0]).outputs)
