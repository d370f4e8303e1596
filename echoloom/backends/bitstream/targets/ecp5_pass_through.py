"""Puts a look-up table before every register of an ECP5 netlist that has none.

A register without logic before it takes its input through the one wire of its slice that goes past
the look-up tables; so a place full of registers in a row, which is what a datapath's pipeline is,
runs out of these wires long before it runs out of anything else, and the router goes far around. A
look-up table has four inputs, each as good as the others, and its way into its register is free.
It also keeps the placer from filling the same slice with something else. A register that shares a
look-up table with others gets a copy of it, which costs no time.

    register -> register   becomes   register -> look-up table that passes one bit on -> register
"""

from __future__ import annotations

from collections import Counter
from typing import Any

REGISTER, TABLE = "TRELLIS_FF", "LUT4"
PASS_ON = f"{0b1010101010101010:016b}"  # Z = A
# What a register's slice takes in beside it, if it goes nowhere else.
BEFORE = (TABLE, "PFUMX", "L6MUX21", "CCU2C")
# Look-up tables that a cell takes of the chip; a RAM's two more write it.
TABLES = {TABLE: 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}


def pass_through(netlist: dict[str, Any], top: str, tables: int) -> int:
    """Change the netlist's module `top` in place, up to `tables` look-up tables in all; how many
    were put in."""
    module = netlist["modules"][top]
    cells: dict[str, Any] = module["cells"]
    driver, readers = _nets(module)
    room = tables - sum(TABLES.get(cell["type"], 0) for cell in cells.values())
    net = max((bit for bit in (*driver, *readers) if isinstance(bit, int)), default=1)
    lonely = _lonely(cells, driver, readers)[: max(0, room)]
    for number, name in enumerate(lonely, start=1):
        register = cells[name]
        before, after = register["connections"]["DI"][0], net + number
        above = cells.get(driver.get(before, ""))
        if above is not None and above["type"] == TABLE:
            own = _copy(above, after)
        else:
            own = _table(before, after)
        cells[f"{name}$pass_through"] = own
        register["connections"]["DI"] = [after]
    return len(lonely)


def _nets(module: dict[str, Any]) -> tuple[dict[int | str, str], Counter[int | str]]:
    """The cell that drives each net, and how many pins read it."""
    driver: dict[int | str, str] = {}
    readers: Counter[int | str] = Counter()
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "output":
                driver.update(dict.fromkeys(bits, name))
            else:
                readers.update(bits)
    for port in module["ports"].values():
        readers.update(port["bits"])
    return driver, readers


def _lonely(
    cells: dict[str, Any], driver: dict[int | str, str], readers: Counter[int | str]
) -> list[str]:
    """The registers without logic of their own. Of several that read one look-up table, and
    nothing else does, the last keeps it."""
    lonely, left = [], Counter(readers)
    for name, cell in sorted(cells.items()):
        if cell["type"] != REGISTER:
            continue
        bit = cell["connections"]["DI"][0]
        above = cells.get(driver.get(bit, ""))
        if isinstance(bit, str) or (above and above["type"] in BEFORE and left[bit] == 1):
            continue
        lonely.append(name)
        left[bit] -= 1
    return lonely


def _copy(table: dict[str, Any], after: int) -> dict[str, Any]:
    """The same look-up table once more."""
    return {
        **table,
        "hide_name": 1,
        "attributes": {},
        "connections": {**table["connections"], "Z": [after]},
    }


def _table(before: int | str, after: int) -> dict[str, Any]:
    inputs = {"A": [before], "B": ["0"], "C": ["0"], "D": ["0"]}
    return {
        "hide_name": 1,
        "type": TABLE,
        "parameters": {"INIT": PASS_ON},
        "attributes": {},
        "port_directions": {**dict.fromkeys(inputs, "input"), "Z": "output"},
        "connections": {**inputs, "Z": [after]},
    }
