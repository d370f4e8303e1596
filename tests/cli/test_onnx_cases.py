"""All four exported graphs of four models, each by one command: benchmarks/onnx_cases.py."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import pytest
from runner import echoloom

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODELS = ("linear", "nonlinear", "duffing", "regression")


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("onnx_cases")


def check(said: dict[str, Any]) -> None:
    level = said["levels"]["onnx"]
    assert (level["mismatches"], said["overflowed"]) == (0, 0)
    assert level["compared"] > 500
    assert said["floats"].keys() == {"float forward", "float gradient"}
    assert max(said["floats"].values()) < 1e-5


@pytest.fixture
def compile_in_haste() -> Iterator[None]:
    """Short runs, each of which is compiled anew."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.usefixtures("compile_in_haste")
@pytest.mark.parametrize("name", MODELS)
def test_one_step_and_a_hundred(cases: ModuleType, name: str, tmp_path: Path) -> None:
    cases.prepare(tmp_path, name, (1, 100), blocks=1)
    for steps in (1, 100):
        said = echoloom(*cases.arguments(tmp_path, name, steps), "--json")
        assert said.code == 0, said.err
        check(said.json)


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_five_thousand_steps(cases: ModuleType, name: str, tmp_path: Path) -> None:
    cases.prepare(tmp_path, name, (5000,))
    said = echoloom(*cases.arguments(tmp_path, name, 5000), "--json")
    assert said.code == 0, said.err
    check(said.json)
