"""Registers get look-up tables before them, and nothing can tell the difference."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from echoloom.backends.bitstream.targets.ecp5_pass_through import pass_through

CLOCK, INPUTS = 1, (2, 3, 4)


def register(data: int | str, q: int) -> dict[str, Any]:
    return {
        "type": "TRELLIS_FF",
        "parameters": {},
        "port_directions": {"DI": "input", "CLK": "input", "Q": "output"},
        "connections": {"DI": [data], "CLK": [CLOCK], "Q": [q]},
    }


def table(inputs: list[int | str], out: int, init: int) -> dict[str, Any]:
    return {
        "type": "LUT4",
        "parameters": {"INIT": f"{init:016b}"},
        "port_directions": {**dict.fromkeys("ABCD", "input"), "Z": "output"},
        "connections": {
            **{pin: [bit] for pin, bit in zip("ABCD", inputs, strict=True)},
            "Z": [out],
        },
    }


def design(rng: random.Random) -> dict[str, Any]:
    """Registers and tables in a random order, each reading what came before."""
    nets: list[int | str] = ["0", "1", *INPUTS]
    cells: dict[str, Any] = {}
    for number in range(10, 40):
        if rng.random() < 0.6:
            cells[f"r{number}"] = register(rng.choice(nets), number)
        else:
            read = [rng.choice(nets) for _ in range(4)]
            cells[f"t{number}"] = table(read, number, rng.randrange(1 << 16))
        nets.append(number)
    outputs = [bit for bit in nets if isinstance(bit, int) and bit >= 10 and rng.random() < 0.3]
    ports = {
        "clock": {"direction": "input", "bits": [CLOCK]},
        "in": {"direction": "input", "bits": list(INPUTS)},
        "out": {"direction": "output", "bits": [*outputs, 39]},
    }
    return {"modules": {"top": {"ports": ports, "cells": cells}}}


def simulate(netlist: dict[str, Any], cycles: int) -> list[list[int]]:
    module = netlist["modules"]["top"]
    tables = [c for c in module["cells"].values() if c["type"] == "LUT4"]
    registers = [c for c in module["cells"].values() if c["type"] == "TRELLIS_FF"]
    state = {c["connections"]["Q"][0]: 0 for c in registers}
    rng, seen = random.Random(0), []
    for _ in range(cycles):
        nets: dict[Any, int] = {
            "0": 0,
            "1": 1,
            **{bit: rng.randrange(2) for bit in INPUTS},
            **state,
        }
        left = tables
        while left:
            waiting = []
            for cell in left:
                pins = cell["connections"]
                if any(pins[pin][0] not in nets for pin in "ABCD"):
                    waiting.append(cell)
                    continue
                place = sum(nets[pins[pin][0]] << i for i, pin in enumerate("ABCD"))
                nets[pins["Z"][0]] = int(cell["parameters"]["INIT"], 2) >> place & 1
            assert len(waiting) < len(left), "a loop without a register"
            left = waiting
        seen.append([nets[bit] for bit in module["ports"]["out"]["bits"]])
        state = {c["connections"]["Q"][0]: nets[c["connections"]["DI"][0]] for c in registers}
    return seen


def shared(netlist: dict[str, Any]) -> int:
    """Tables that several registers read and nothing else does: one of these may keep it."""
    module = netlist["modules"]["top"]
    inputs = [
        (bits[0], cell["type"] == "TRELLIS_FF" and port == "DI")
        for cell in module["cells"].values()
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "input"
    ] + [(bit, False) for port in module["ports"].values() for bit in port["bits"]]
    tables = [c["connections"]["Z"][0] for c in module["cells"].values() if c["type"] == "LUT4"]
    kinds = [[kind for bit, kind in inputs if bit == net] for net in tables]
    return sum(len(readers) > 1 and all(readers) for readers in kinds)


def drivers(netlist: dict[str, Any]) -> list[tuple[dict[str, Any] | None, int]]:
    """For each register whose input is no constant: the table before it, and who reads that."""
    cells = netlist["modules"]["top"]["cells"].values()
    ports = netlist["modules"]["top"]["ports"].values()
    found = []
    for register in (c for c in cells if c["type"] == "TRELLIS_FF"):
        (bit,) = register["connections"]["DI"]
        if isinstance(bit, str):
            continue
        read = sum(
            bits == [bit]
            for c in cells
            for port, bits in c["connections"].items()
            if c["port_directions"][port] == "input"
        ) + sum(bit in port["bits"] for port in ports)
        before = [c for c in cells if c["type"] == "LUT4" and c["connections"]["Z"] == [bit]]
        found.append((before[0] if before else None, read))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_every_register_has_a_table_to_itself_and_does_the_same(seed: int) -> None:
    netlist = design(random.Random(seed))
    before = copy.deepcopy(netlist)
    lonely = sum(table is None or read > 1 for table, read in drivers(before)) - shared(before)
    assert pass_through(netlist, "top", 1000) == lonely
    assert all(table and read == 1 for table, read in drivers(netlist))
    assert simulate(netlist, 40) == simulate(before, 40)
    assert pass_through(netlist, "top", 1000) == 0


@pytest.mark.parametrize("spare", [-3, 0, 1, 5])
def test_no_more_tables_than_there_is_room_for(spare: int) -> None:
    netlist = design(random.Random(1))
    before = copy.deepcopy(netlist)
    used = sum(c["type"] == "LUT4" for c in netlist["modules"]["top"]["cells"].values())
    assert pass_through(netlist, "top", used + spare) == max(0, spare)
    assert simulate(netlist, 40) == simulate(before, 40)


def test_a_shared_table_is_copied_and_not_followed_by_another() -> None:
    cells = {
        "t": table([2, 3, 4, "1"], 10, 0xCAFE),
        **{f"r{q}": register(10, q) for q in (11, 12, 13)},
    }
    ports = {
        "in": {"direction": "input", "bits": list(INPUTS)},
        "out": {"direction": "output", "bits": [11, 12, 13]},
    }
    netlist = {"modules": {"top": {"ports": ports, "cells": cells}}}
    before = copy.deepcopy(netlist)
    assert pass_through(netlist, "top", 100) == 2
    tables = [c for c in cells.values() if c["type"] == "LUT4"]
    assert all(c["connections"]["A"] == [2] and c["parameters"] == tables[0]["parameters"]
               for c in tables)  # fmt: skip
    assert simulate(netlist, 20) == simulate(before, 20)


def test_carries_and_rams_take_tables_too() -> None:
    netlist = design(random.Random(1))
    cells = netlist["modules"]["top"]["cells"]
    used = sum(c["type"] == "LUT4" for c in cells.values())
    for kind, tables in (("CCU2C", 2), ("TRELLIS_DPR16X4", 6)):
        cells[kind] = {"type": kind, "port_directions": {}, "connections": {}}
        used += tables
    assert pass_through(netlist, "top", used + 2) == 2
