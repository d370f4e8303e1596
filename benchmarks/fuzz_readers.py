"""What is fuzzed: every reader of files, with good files to begin from."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import fuzz_board
import fuzz_link
import numpy as np
from fuzz_arrays import arrays, npz
from fuzz_bytes import raw
from fuzz_graphs import graph
from fuzz_headers import resealed
from fuzz_programs import TARGETS, TOML_BOARD, TOML_RUN, TS, model, program
from fuzz_texts import json_text, toml
from fuzz_worker import Reader

import echoloom as el
from echoloom.frontend.data.data_sets import prepare
from echoloom.sim import level_onnx
from echoloom.sim.first_difference import Mismatch


def programs(folder: Path) -> list[bytes]:
    found = []
    for unit in ("linear", "nonlinear"):
        program(unit).save(folder / "p.elp")
        found.append((folder / "p.elp").read_bytes())
    return found


def texts(folder: Path) -> list[bytes]:
    return [str(program(unit).ir).encode() for unit in ("linear", "nonlinear")]


def read_text(path: Path) -> None:
    from echoloom.ir.parser import parse
    from echoloom.ir.verifier import verify

    verify(parse(path.read_text()))


def checkpoints(folder: Path) -> list[bytes]:
    found = []
    for unit in ("linear", "nonlinear"):
        el.save_model(folder / "m.eqx", model(unit))
        found.append((folder / "m.eqx").read_bytes())
    return found


def archives(folder: Path) -> list[bytes]:
    found = []
    for labels in (np.arange(4) % 2, np.array(["a", "b", "a", "b"])):
        file = io.BytesIO()
        X = np.random.default_rng(0).normal(size=(4, 6, 2))
        np.savez(file, X=X, y=labels, X_test=X, y_test=labels)
        found.append(file.getvalue())
    return found


def read_data(path: Path) -> None:
    from echoloom.frontend.data.sources import read_source

    prepare(str(path), read_source(str(path)))


def states(folder: Path) -> list[bytes]:
    stream = program().stream()
    stream.push(np.zeros((5, 2)))
    stream.state.save(folder / "s")
    return [(folder / "s").read_bytes()]


def read_run(path: Path) -> None:
    from echoloom.frontend.training.run_file import read_run, settings

    settings(read_run(path))


def read_precision(path: Path) -> None:
    from echoloom.backends.compile.precision_argument import checked_precision
    from echoloom.ir.precision import read_precision

    checked_precision(read_precision(path))


def precisions(folder: Path) -> list[bytes]:
    from echoloom.backends.compile.precision_argument import profiles

    written = (
        b'nudges = [-3, -4]\n[widths]\nword = 26\nnarrow = 18\nrounding = "half_even"\n[margins]\n'
        b'back = 3\n[formats.forward_step]\n"b0.drive.t1" = "Q(4,22)"\n'
    )
    return [written, str(program().precision).encode(), *(t.encode() for t in profiles().values())]


def read_board(path: Path) -> None:
    from echoloom.backends.bitstream.targets.board_file import read_board

    read_board(path)


def published(folder: Path) -> list[bytes]:
    """As tests/published_files.py writes them, without the norms' first values."""
    return [_published(name).to_bytes() for name in ("LinHRU", "NonlinHRU")]


def configurations(folder: Path) -> list[bytes]:
    return [json.dumps(_published(name).configuration).encode() for name in ("LinHRU", "NonlinHRU")]


def _published(name: str) -> Any:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from published_files import published_file  # type: ignore[import-not-found]

    return published_file(name, complex=name == "LinHRU")


def read_published(path: Path, checkpoint: bool) -> None:
    """With the good other file of the two, whichever of the models it is."""
    errors = []
    for name in ("LinHRU", "NonlinHRU"):
        beside = Path(tempfile.gettempdir()) / f"fuzz-{os.getpid()}-{name}-{checkpoint}"
        if not beside.exists():
            beside.write_bytes(
                json.dumps(_published(name).configuration).encode()
                if checkpoint
                else _published(name).to_bytes()
            )
        try:
            el.import_rhel(*((path, beside) if checkpoint else (beside, path)))
            return
        except ValueError as error:
            errors.append(error)
    raise errors[0]


@cache
def training() -> Any:
    from echoloom.frontend.training.optimiser import OptimiserSection, make_optimiser
    from echoloom.frontend.training.state import Counters, Identity, TrainingState

    start = make_optimiser(OptimiserSection()).init(model())  # type: ignore[arg-type]
    identity = Identity({"model.hidden": 3, "training.batch": 4}, "0" * 64, 1)
    return TrainingState(model(), start, model(), Counters()), identity


def trainings(folder: Path) -> list[bytes]:
    from echoloom.frontend.training.state import state_bytes

    state, identity = training()
    return [state_bytes(state, b"source", identity)]


def read_training(path: Path) -> None:
    from echoloom.frontend.training.state import StateFile

    state, identity = training()
    StateFile(path, identity).load(state)


def reports(folder: Path) -> list[bytes]:
    rng = np.random.default_rng(0)
    found = el.verify(program(), rng.normal(size=(2, 6, 2)), [0, 1], levels=("jax",))
    verified = {
        "kind": "verify", "ok": True, "echoloom": "0", "program": "p.elp", "sha256": "0",
        **asdict(found),
    }  # fmt: skip
    built = {
        "kind": "build", "board": "ulx3s-85f", "clock_mhz": 28.0, "margin": 0.1, "fmax_mhz": 31.0,
        "target_mhz": 110.0, "median_fmax_mhz": 30.0, "seed": 2, "critical_path": "a to b",
        "seeds": [{"seed": 1, "fmax_mhz": None}, {"seed": 2, "fmax_mhz": 31.0}],
        "usage": {"luts": {"used": 1, "available": 2}}, "sha256": {"a.bit": "0" * 64},
        "steps": {"forward": {"cycles": 100, "utilisation": 0.5}},
    }  # fmt: skip
    different = verified | {"ok": False, "difference": {"level": "rtl", "element": [1]}}
    return [json.dumps(one).encode() for one in (verified, built, different)]


def read_report(path: Path) -> None:
    from echoloom.cli.outcome import Reporter
    from echoloom.cli.report import _report_report

    say = Reporter("report", False)
    say.results.file = say.errors.file = io.StringIO()
    _report_report(say, path, path.read_bytes())


def graphs(folder: Path) -> list[bytes]:
    from echoloom.backends.onnx.export import onnx_model

    return [
        onnx_model(program(), kind, passes).SerializeToString()  # type: ignore[arg-type]
        for kind, passes in (("integer", "forward"), ("float", "forward"), ("integer", "gradient"))
    ]


@cache
def exported(kind: str, passes: str) -> Any:
    from echoloom.backends.onnx.export import onnx_model

    return onnx_model(program(), kind, passes)  # type: ignore[arg-type]


def read_graph(path: Path) -> None:
    """What the level does with a file, with the program's own graphs made once."""
    x = np.random.default_rng(0).normal(size=(1, 6, 2))
    own = mock.patch.object(
        level_onnx, "onnx_model", lambda _, kind, passes: exported(kind, passes)
    )
    with own:
        el.verify(program(), x, [1], levels=("onnx",), onnx=path)


READERS: dict[str, Reader] = {
    "run-file": Reader(lambda _: [TOML_RUN], toml, read_run, suffix=".toml"),
    "precision": Reader(precisions, toml, read_precision, suffix=".toml"),
    "board-file": Reader(lambda _: [TOML_BOARD], toml, read_board, suffix=".toml"),
    "ir-text": Reader(texts, raw, read_text),
    "program": Reader(
        programs, partial(resealed, arrays=False), lambda path: el.load(path), suffix=".elp"
    ),
    "checkpoint": Reader(
        checkpoints, partial(resealed, arrays=True), lambda path: el.load_model(path)
    ),
    "npz": Reader(archives, npz, read_data, suffix=".npz"),
    "ts": Reader(lambda _: [TS, TARGETS], raw, read_data, suffix=".ts"),
    "stream-state": Reader(
        states, partial(resealed, arrays=False), lambda path: el.load_state(path)
    ),
    "published": Reader(published, arrays, partial(read_published, checkpoint=True)),
    "published-json": Reader(configurations, json_text, partial(read_published, checkpoint=False)),
    "training-state": Reader(trainings, partial(resealed, arrays=True), read_training),
    "report": Reader(reports, json_text, read_report),
    "onnx": Reader(graphs, graph, read_graph, (ValueError, OSError, Mismatch), limit_s=20.0),
    **fuzz_link.READERS,
    **fuzz_board.READERS,
}
