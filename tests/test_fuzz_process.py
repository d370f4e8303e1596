"""The fuzzer finds what is planted in readers, whether branches lead it or not, and outlives it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from fuzz_process import fuzz  # type: ignore[import-not-found]
from fuzz_worker import Counts, Job  # type: ignore[import-not-found]


def fed(folder: Path, name: str, end: int, seed: int = 0, **options: Any) -> Counts:
    counts, _ = fuzz(Job(name, seed, 0, end, folder / "finds", **options))
    return counts


@pytest.mark.long
def test_a_guided_run_finds_what_two_branches_hide(tmp_path):
    """Two runs in three find it; inputs without a guide did not in 450,000."""
    pytest.importorskip("atheris")
    counts = Counts()
    for seed in range(10):
        counts = fed(tmp_path, "planted-header", 20_000, seed, guided=True)
        assert counts.inputs == 20_000
        if counts.finds:
            break
    ((what, (number, _)),) = counts.finds.items()
    assert what.startswith("KeyError")
    kept = tmp_path / "finds" / f"planted-header-{number}"
    assert fed(tmp_path, "planted-header", 1, files=(kept,)).finds.keys() == {what}


def written(folder: Path, words: str) -> tuple[Path, ...]:
    files = []
    for number, word in enumerate(words.split()):
        files.append(folder / str(number))
        files[-1].write_text(word)
    return tuple(files)


def test_a_guided_run_keeps_the_limits(tmp_path):
    """libFuzzer would handle the alarm and limit memory itself, if it were let."""
    pytest.importorskip("atheris")
    files = written(tmp_path, "Long Much Written")
    finds = fed(tmp_path, "planted-harm", 5, guided=True, files=files).finds
    assert finds.keys() >= {"longer than 0.2 s", "MemoryError at ?", "left a file behind"}


def test_the_next_process_goes_on_after_what_kills_one(tmp_path):
    files = written(tmp_path, "nothing Long DIE Much nothing DIE Written")
    counts = fed(tmp_path, "planted-harm", len(files), files=files)
    assert counts.finds["the process died"] == (2, 2)
    assert counts.finds["longer than 0.2 s"] == (1, 1)
    assert counts.finds["MemoryError at ?"] == (3, 1)
    assert counts.finds["left a file behind"] == (6, 1)
    assert (tmp_path / "finds" / "planted-harm-2").read_text() == "DIE"
