"""A handful of hostile inputs for every reader, of which `benchmarks/fuzz.py` feeds thousands."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import jax
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from fuzz_readers import READERS  # type: ignore[import-not-found]
from fuzz_worker import (  # type: ignore[import-not-found]
    Counts,
    Reader,
    Watch,
    feed,
    input_of,
    too_long,
)

WATCH = Watch()
# Of those that take longer than a millisecond or two for an input.
FEW = {"program": 10, "host": 10, "golden-board": 10, "onnx": 5, "ir-text": 20, "checkpoint": 50}
SEED = 1


@pytest.fixture(autouse=True)
def without_cache():
    """JAX would write what it compiles for an input to disk."""
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", True)  # as everywhere


def fed(reader: Reader, name: str, folder: Path, count: int) -> Counts:
    seeds, counts = reader.seeds(folder), Counts()
    path = folder / "fed" / f"input{reader.suffix}"
    path.parent.mkdir()
    for data in seeds:  # what is imported or compiled for good files is not an input's fault
        path.write_bytes(data)
        reader.read(path)
    before = signal.signal(signal.SIGALRM, too_long)
    try:
        for number in range(1, count + 1):
            path.write_bytes(input_of(reader, name, seeds, SEED, number))
            feed(reader, path, number, counts, WATCH)
    finally:
        signal.signal(signal.SIGALRM, before)
    return counts


@pytest.mark.parametrize("name", [name for name in READERS if name != "circuit"])
def test_hostile_inputs_are_refused_or_read(name, tmp_path):
    count = FEW.get(name, 100)
    counts = fed(READERS[name], name, tmp_path, count)
    assert counts.finds == {}
    assert counts.accepted + counts.refused == count


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda path: {}["x"], "KeyError at ?"),
        (lambda path: (path.parent / "y").write_bytes(b""), "writes "),
        (lambda path: sys.audit("pickle.find_class", "os", "system"), "pickle.find_class"),
        (lambda path: (_ for _ in ()).throw(ValueError("")), "ValueError without one sentence"),
        (lambda path: [None for _ in iter(int, 1)], "longer than 0.2 s"),
    ],
)
def test_what_is_wrong_is_seen(wrong, said, tmp_path):
    reader = Reader(lambda _: [], lambda rng, seeds: b"x", wrong, limit_s=0.2)
    counts = fed(reader, "wrong", tmp_path, 1)
    assert any(found.startswith(said) for found in counts.finds), counts.finds
