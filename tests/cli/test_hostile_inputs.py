"""Commands that read what was made to harm them: one sentence, and no half-written output."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest
from published_files import published_file
from runner import echoloom

from echoloom.cli.outcome import Exit

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from fuzz_arrays import arrays, npz  # type: ignore[import-not-found]
from fuzz_bytes import raw  # type: ignore[import-not-found]
from fuzz_texts import json_text  # type: ignore[import-not-found]

COUNT = 6


def published(folder: Path) -> tuple[Path, Path]:
    return published_file().write(folder)


@pytest.mark.parametrize(
    ("command", "mutate"),
    [
        (("report", "{program.elp}", "--html", "{out}"), raw),
        (("export-onnx", "{model.eqx}", "-o", "{out}"), raw),
        (("export-onnx", "{program.elp}", "-o", "{out}"), raw),
        (("compile", "model.eqx", "{data.npz}", "-o", "{out}"), npz),
        (("train", "{data.npz}", "--epochs", "1", "--hidden", "2", "-o", "{out}"), npz),
        (("verify", "program.elp", "{data.npz}", "--levels", "jax", "--report", "{out}"), npz),
        (("compile", "{model.eqx}", "data.npz", "-o", "{out}"), raw),
        (("import-rhel", "{m.eqx}", "m.json", "-o", "{out}"), arrays),
        (("import-rhel", "m.eqx", "{m.json}", "-o", "{out}"), json_text),
    ],
)
def test_no_output_of_an_input_that_is_refused(command, mutate, shelf, tmp_path, monkeypatch):
    published(tmp_path)
    for name in ("data.npz", "model.eqx", "program.elp"):
        (tmp_path / name).write_bytes((shelf / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    (hostile,) = {word[1:-1] for word in command if word.startswith("{")} - {"out"}
    good, rng = (tmp_path / hostile).read_bytes(), Random(str(command))
    before = set(tmp_path.iterdir())
    refused = 0
    while refused < COUNT:
        (tmp_path / hostile).write_bytes(mutate(rng, [good]))
        said = echoloom(*(word.strip("{}") for word in command))
        if said.code == Exit.DONE:
            (tmp_path / "out").unlink()
            continue
        refused += 1
        assert said.code in (Exit.INPUT, Exit.MISMATCH) and not said.out
        assert said.err.splitlines()[-1].startswith(f"echoloom {command[0]}: ")
        assert set(tmp_path.iterdir()) == before
