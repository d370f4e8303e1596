"""`echoloom board`: every command against a board in Python, and what each says when it cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from runner import CHANNELS, STEPS, echoloom

import echoloom as el
from echoloom.cli.outcome import Exit
from echoloom.frontend.gradients.exact import tensors
from echoloom.hdl.golden import GoldenEngine
from echoloom.sim.golden_board import GoldenBoard
from echoloom.sim.golden_served import GoldenServed, golden_board

PATIENT = ("--timeout", 10)  # Python takes its time


@pytest.fixture(scope="module")
def program(shelf) -> el.CompiledProgram:
    return el.load(shelf / "program.elp")


@pytest.fixture
def served(program: el.CompiledProgram) -> Iterator[GoldenServed]:
    mapped = program.artifact.mapped
    with golden_board(mapped.config, mapped.timing) as served:
        yield served


def test_check_and_load(shelf, served: GoldenServed):
    said = echoloom("board", "check", served.port, shelf / "program.elp", *PATIENT, "--json")
    assert said.json["words"] > 1000 and said.json["integers"] > 50
    assert said.json["status"]["holds"] is True
    told = echoloom("board", "load", served.port, shelf / "program.elp", *PATIENT)
    assert (told.code, told.out) == (0, "the board holds it already\n")
    again = echoloom("board", "load", served.port, shelf / "program.elp", "--anew", *PATIENT)
    assert again.out.startswith("loaded ")


def test_predict_and_gradient(shelf, served: GoldenServed, program, tmp_path):
    files = (served.port, shelf / "program.elp", shelf / "data.npz", "--no-normalise")
    samples = np.load(shelf / "data.npz")
    said = echoloom("board", "predict", *files, "--count", 2, *PATIENT, "--json").json
    assert said["loaded_words"] > 1000
    wanted = [program.predict(x) for x in samples["X_test"][:2]]
    np.testing.assert_array_equal(said["outputs"], wanted)
    assert said["classes"] == [int(np.argmax(logits)) for logits in wanted]
    file = tmp_path / "gradient.npz"
    said = echoloom("board", "gradient", *files, "--count", 2, "-o", file, *PATIENT, "--json").json
    assert said["loaded_words"] == 0
    gradients = [tensors(program.gradient(samples["X"][i], samples["y"][i])) for i in range(2)]
    with np.load(file) as found:
        assert set(found) == set(gradients[0])
        for name, mean in found.items():
            np.testing.assert_array_equal(mean, (gradients[0][name] + gradients[1][name]) / 2)
            assert said["norms"][name] == float(np.linalg.norm(mean))


def test_a_flipped_bit_ends_a_command(shelf, served: GoldenServed, monkeypatch):
    """A state's, in the middle of a sweep: one sentence, code 7, and the next command loads."""
    files = (served.port, shelf / "program.elp", shelf / "data.npz", "--no-normalise")
    options = ("--count", 1, "--guard", "memories", *PATIENT, "--json")
    wanted = echoloom("board", "gradient", *files, *options).json
    step, left = GoldenEngine.step, [True]

    def stepped(engine: GoldenEngine) -> bool:
        if left and engine.now == 200:
            left.clear()
            engine.vector[0] = [word ^ 1 << 20 for word in engine.vector[0]]
        return step(engine)

    monkeypatch.setattr(GoldenEngine, "step", stepped)
    said = echoloom("board", "gradient", *files, *options)
    assert said.code == Exit.FAILED and "did not come back to where the sequence" in said.err
    assert said.err.count("\n") == 1
    again = echoloom("board", "gradient", *files, *options).json
    assert again["loaded_words"] > 1000 and again["norms"] == wanted["norms"]
    said = echoloom("board", "predict", *files, "--guard", "always")
    assert said.code == Exit.INPUT and "must be off, memories or twice" in said.err


def test_bench_counts_the_boards_own_cycles(shelf, served: GoldenServed, program):
    files = (served.port, shelf / "program.elp", shelf / "data.npz", "--no-normalise")
    options = ("--count", 1, "--clock", 50, *PATIENT)
    rows = echoloom("board", "bench", *files, *options, "--json").json["rows"]
    mapped = program.artifact.mapped
    cycles = mapped.cycles(True, STEPS), mapped.cycles(True, STEPS) + mapped.cycles(False, STEPS)
    assert [row["what"] for row in rows] == ["predict", "gradient"]
    assert tuple(row["engine_cycles"] for row in rows) == cycles
    for row in rows:
        assert row["engine_alone"] == pytest.approx(50e6 / row["engine_cycles"])
        assert row["through_link"] == pytest.approx(25e6 / row["board_cycles"])
        # What went over the line counts, and more than the samples did.
        assert row["board_cycles"] >= row["engine_cycles"] + 10 * row["bytes"]
        assert row["bytes"] > 4 * STEPS * CHANNELS


def test_list(monkeypatch: pytest.MonkeyPatch):
    assert isinstance(echoloom("board", "list", "--json").json["ports"], list)
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    assert echoloom("board", "list").out == "no serial ports\n"


def test_verify(shelf, served: GoldenServed):
    files = (shelf / "program.elp", shelf / "data.npz", "--no-normalise")
    options = ("--levels", "board", "--forward", 1, "--echo", 1)
    said = echoloom("verify", *files, *options, "--port", served.port)
    assert said.code == 0 and "as predicted" in said.out
    said = echoloom("verify", *files, *options)
    assert said.code == Exit.INPUT and "the level board needs a port" in said.err


def refused(code: Exit, *arguments: object) -> str:
    said = echoloom("board", *arguments)
    assert (said.code, said.out) == (code, "")
    return said.err.strip().splitlines()[-1]


def test_one_sentence(shelf, served: GoldenServed, tmp_path, monkeypatch: pytest.MonkeyPatch):
    program, data = shelf / "program.elp", shelf / "data.npz"
    assert refused(Exit.INPUT, "load", tmp_path / "tty", program).endswith(
        "No such file or directory"
    )
    assert "cannot be opened: Connection refused" in refused(
        Exit.INPUT, "load", "socket://localhost:1", program
    )
    assert "no serial speed of 12345" in refused(
        Exit.INPUT, "load", served.port, program, "--baud", 12345
    )
    assert "fewer than --count 99" in refused(
        Exit.INPUT, "predict", served.port, program, data, "--count", 99
    )
    assert "must be verilator or golden" in refused(
        Exit.INPUT, "serve", program, "--simulator", "spice"
    )
    with el.open_board(served.port):
        assert "in use by another program" in refused(Exit.FAILED, "load", served.port, program)
    monkeypatch.setattr(GoldenBoard, "feed", lambda *_: b"")
    silent = refused(Exit.FAILED, "load", served.port, program, "--timeout", 0.05)
    assert "no board answers at" in silent and "1,000,000 baud?" in silent


def test_another_engine(shelf, program):
    mapped = el.compile(program.model, np.ones((1, STEPS, CHANNELS)), lanes=1, drains=1)
    config = mapped.artifact.mapped.config
    with golden_board(config, mapped.artifact.mapped.timing) as other:
        said = refused(Exit.INPUT, "load", other.port, shelf / "program.elp", *PATIENT)
    assert "of other sizes or latencies" in said


def test_serve_until_interrupted(shelf):
    """The port is the first line, as soon as it can be opened; interrupted is not failed."""
    arguments = ["board", "serve", str(shelf / "program.elp"), "--simulator", "golden"]
    # A shell's background jobs, and so their children, ignore interrupts unless they say otherwise.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heeds}; from echoloom.cli import app; app({arguments!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    with el.open_board(port, timeout_s=10) as board:
        assert board.status().holds is None
    process.send_signal(2)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (0, "", "stopped")
