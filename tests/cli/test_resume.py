"""A training that is killed at any moment and started again comes to the same bits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from runner import CHANNELS, STEPS, write_data

import echoloom

RUN = """
[data]
source = "data.npz"
validation = 0.25

[model]
hidden = 3
state = 2
blocks = 1

[optimiser]
learning_rate = 0.001

[training]
gradient = "{gradient}"
steps = {steps}
batch = 5
evaluate_every = 30
checkpoint_every = {checkpoint_every}
patience = 10000
"""
LIMIT_S, POLL_S = 300, 0.002


@dataclass(frozen=True)
class Killed:
    """What a kill left: the step of the state that is there, and whether a write was cut off."""

    step: int
    torn: bool


def write_run(folder: Path, gradient: str, steps: int, checkpoint_every: int) -> Path:
    rng = np.random.default_rng(0)
    y = np.arange(14) % 2
    X = rng.standard_normal((14, STEPS, CHANNELS)) + y[:, None, None]
    write_data(folder / "data.npz", X=X, y=y)
    path = folder / "run.toml"
    text = RUN.format(gradient=gradient, steps=steps, checkpoint_every=checkpoint_every)
    path.write_text(text)
    return path


def start(run: Path, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "JAX_ENABLE_X64": "0"}
    environment["PYTHONPATH"] = str(Path(echoloom.__file__).parents[1])
    command = [sys.executable, "-c", "from echoloom.cli import main; main()"]
    arguments = ["train", str(run), "-o", str(folder)]
    return subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(run: Path, folder: Path) -> str:
    process = start(run, folder)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said.decode()
    return said.decode()


def state_step(folder: Path) -> int:
    try:
        header = (folder / "seed-0" / "state.bin").read_bytes().partition(b"\n")[0]
    except FileNotFoundError:
        return 0
    return int(json.loads(header)["counters"]["step"])


def kill_when(run: Path, folder: Path, ready: Callable[[], bool], delay: float) -> Killed:
    """Starts the run, waits for `ready` and `delay` seconds more, and kills it without warning."""
    process = start(run, folder)
    deadline = time.monotonic() + LIMIT_S
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    time.sleep(delay)
    process.kill()
    _, said = process.communicate()
    assert process.returncode == -9, f"it ended before it was killed: {said.decode()}"
    torn = any((folder / "seed-0").glob("*.partial"))
    return Killed(state_step(folder), torn)


def kill_and_resume(
    tmp_path: Path, gradient: str, kills: int, steps: int, checkpoint_every: int, seed: int
) -> list[Killed]:
    """Kills a run `kills` times, lets it end, and compares it with one that was left alone."""
    run = write_run(tmp_path, gradient, steps, checkpoint_every)
    whole, cut, chance = tmp_path / "whole", tmp_path / "cut", random.Random(seed)
    finish(run, whole)
    found: list[Killed] = []
    for _ in range(kills):
        before = state_step(cut)
        # All together they leave steps for the last one; the delay falls anywhere in a step.
        after = before + chance.randrange(1, steps // (kills + 1))
        found.append(
            kill_when(run, cut, lambda s=after: state_step(cut) >= s, chance.uniform(0.0, 0.02))
        )
        assert after <= found[-1].step < steps
    said = finish(run, cut)
    assert f"seed 0: resumed at step {found[-1].step} of {steps}" in said
    models = [folder / "seed-0" / "model.eqx" for folder in (whole, cut)]
    assert models[0].read_bytes() == models[1].read_bytes()
    rows = [timeless(folder / "seed-0" / "history.csv") for folder in (whole, cut)]
    assert len(rows[0]) == 1 + steps // 30
    assert rows[0] == rows[1]
    assert not list(cut.rglob("*.partial"))
    return found


def timeless(history: Path) -> list[list[str]]:
    """The rows without their seconds, which no two runs share."""
    rows = [line.split(",") for line in history.read_text().splitlines()]
    at = rows[0].index("seconds")
    return [row[:at] + row[at + 1 :] for row in rows]


def test_killed_twice(tmp_path):
    found = kill_and_resume(tmp_path, "bptt", 2, steps=700, checkpoint_every=1, seed=1)
    assert len({killed.step for killed in found}) == 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("gradient", "kills", "steps", "seed"),
    [("bptt", 10, 3000, 2), ("rhel", 10, 3000, 3), ("rhel-fixed", 4, 600, 6)],
)
def test_killed_many_times(tmp_path, gradient, kills, steps, seed):
    found = kill_and_resume(tmp_path, gradient, kills, steps, checkpoint_every=1, seed=seed)
    print(gradient, found)
    assert len({killed.step for killed in found}) == kills


def kill_in_a_write(run: Path, folder: Path, after: int, chance: random.Random) -> list[int]:
    """Kills a run in the middle of a write, which it looks for from step `after` on.

    It stops the process again and again until it stands there. Returns the sizes of the files that
    are not put in place yet.
    """
    process, partial = start(run, folder), list[int]()
    deadline = time.monotonic() + LIMIT_S
    while state_step(folder) < after and process.poll() is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        partial = [path.stat().st_size for path in (folder / "seed-0").glob("*.partial")]
        if partial:
            break
        process.send_signal(signal.SIGCONT)
        time.sleep(chance.uniform(0.0, 0.005))
    process.kill()
    _, said = process.communicate()
    assert process.returncode == -9, f"it ended before it was killed: {said.decode()}"
    return partial


@pytest.mark.long
def test_killed_while_writing(tmp_path):
    run = write_run(tmp_path, "bptt", steps=4000, checkpoint_every=1)
    whole, cut, chance = tmp_path / "whole", tmp_path / "cut", random.Random(7)
    finish(run, whole)
    for _ in range(5):
        after = state_step(cut) + chance.randrange(1, 300)
        partial = kill_in_a_write(run, cut, after, chance)
        print("at step", state_step(cut), "with a file of", partial, "bytes")
        assert len(partial) == 1
        assert state_step(cut) >= after
        assert len(list((cut / "seed-0").glob("*.partial"))) == 1
    finish(run, cut)
    models = [folder / "seed-0" / "model.eqx" for folder in (whole, cut)]
    assert models[0].read_bytes() == models[1].read_bytes()


@pytest.mark.long
def test_killed_between_checkpoints_and_before_the_first(tmp_path):
    found = kill_and_resume(tmp_path, "rhel", 4, steps=3000, checkpoint_every=50, seed=4)
    print(found)
    assert all(killed.step % 50 == 0 for killed in found)
    run, early = tmp_path / "run.toml", tmp_path / "early"
    chance = random.Random(5)
    for _ in range(3):
        assert kill_when(run, early, lambda: True, chance.uniform(0.0, 3.0)).step == 0
    assert "resumed" not in finish(run, early)
    names = [tmp_path / folder / "seed-0" / "model.eqx" for folder in ("whole", "early")]
    assert names[0].read_bytes() == names[1].read_bytes()
