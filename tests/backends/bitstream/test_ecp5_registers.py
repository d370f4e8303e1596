"""Registers move into blocks only where nothing can tell the difference."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from echoloom.backends.bitstream.targets.ecp5_registers import Absorbed, absorb_registers

CLOCK, OTHER_CLOCK = 2, 3
BITS = 36


def register(data: int, q: int, clock: int = CLOCK, **pins: Any) -> dict[str, Any]:
    enable = "CE " if "CE" in pins else "1 "
    inputs = ["DI", "CLK", *pins]
    return {
        "type": "TRELLIS_FF",
        "parameters": {"CEMUX": enable, "CLKMUX": "CLK", "LSRMUX": "LSR"},
        "port_directions": {**dict.fromkeys(inputs, "input"), "Q": "output"},
        "connections": {"DI": [data], "CLK": [clock], "Q": [q]} | {k: [v] for k, v in pins.items()},
    }  # fmt: skip


def memory(first: int, width: int = 18) -> dict[str, Any]:
    """Port A writes, port B reads into nets from `first` on."""
    pins: dict[str, list[int | str]] = {"CLKA": [CLOCK], "CLKB": [CLOCK], "WEA": ["1"]}
    pins |= {f"DOB{i}": [first + i] for i in range(18)}
    pins |= {f"DOA{i}": [first + 18 + i] for i in range(18)}
    return {
        "type": "DP16KD",
        "parameters": {"DATA_WIDTH_A": f"{width:032b}", "DATA_WIDTH_B": f"{width:032b}",
                       "REGMODE_A": "NOREG", "REGMODE_B": "NOREG"},
        "port_directions": {p: "output" if p.startswith("DO") else "input" for p in pins},
        "connections": pins,
    }  # fmt: skip


def design(cells: dict[str, Any], inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    ports = {
        "in": {"direction": "input", "bits": inputs},
        "out": {"direction": "output", "bits": outputs},
    }
    return {"modules": {"top": {"ports": ports, "cells": cells}}}  # fmt: skip


def read_words(width: int = 18, bits: int = 18, **change: Any) -> dict[str, Any]:
    cells = {"memory": memory(100, width)}
    cells |= {f"r{i}": register(100 + i, 200 + i) for i in range(bits)}
    cells["r3"] = register(103, 203, **change)
    return design(cells, [], [200 + i for i in range(bits)])


def test_a_memory_takes_the_register_behind_it() -> None:
    netlist = read_words()
    assert absorb_registers(netlist, "top") == Absorbed(18, 0)
    (cell,) = netlist["modules"]["top"]["cells"].values()
    assert (cell["parameters"]["REGMODE_A"], cell["parameters"]["REGMODE_B"]) == ("NOREG", "OUTREG")
    assert [cell["connections"][f"DOB{i}"] for i in range(18)] == [[200 + i] for i in range(18)]


@pytest.mark.parametrize(("width", "ports"), [(18, "B"), (36, "AB")])
@pytest.mark.parametrize("enable", ["1", 50])
def test_a_memory_takes_registers_with_their_common_enable(
    width: int, ports: str, enable: int | str
) -> None:
    netlist = read_words(width, width)
    pins: dict[str, Any] = {} if enable == "1" else {"CE": enable}
    cells = netlist["modules"]["top"]["cells"]
    cells |= {f"r{i}": register(100 + i, 200 + i, **pins) for i in range(width)}
    assert absorb_registers(netlist, "top") == Absorbed(width, 0)
    (cell,) = netlist["modules"]["top"]["cells"].values()
    for port in ports:
        assert cell["connections"][f"OCE{port}"] == [enable]
        assert cell["port_directions"][f"OCE{port}"] == "input"


def test_the_widest_memory_reads_with_both_ports_together() -> None:
    netlist = read_words(36, 36)
    assert absorb_registers(netlist, "top") == Absorbed(36, 0)
    (cell,) = netlist["modules"]["top"]["cells"].values()
    assert (cell["parameters"]["REGMODE_A"], cell["parameters"]["REGMODE_B"]) == (
        "OUTREG",
        "OUTREG",
    )


@pytest.mark.parametrize("change", [{"CE": 50}, {"LSR": 50}, {"clock": OTHER_CLOCK}])
@pytest.mark.parametrize(("width", "bits"), [(18, 18), (36, 36)])
def test_one_register_that_differs_keeps_all(width: int, bits: int, change: dict[str, int]) -> None:
    netlist = read_words(width, bits, **change)
    before = copy.deepcopy(netlist)
    assert absorb_registers(netlist, "top") == Absorbed(0, 0)
    assert netlist == before


def test_a_word_that_something_else_reads_too_stays() -> None:
    netlist = read_words()
    netlist["modules"]["top"]["ports"]["out"]["bits"].append(105)
    assert absorb_registers(netlist, "top") == Absorbed(0, 0)


def multiplication(rng: random.Random) -> dict[str, Any]:
    """Inputs 10.. and 30.. through operand registers, the product through two more."""
    pins: dict[str, list[int | str]] = {}
    cells: dict[str, Any] = {}
    for side, first in (("A", 100), ("B", 120)):
        for i in range(18):
            pins[f"{side}{i}"] = [first + i]
            cells[f"{side}{i}"] = register(first - 90 + i, first + i)
    if rng.random() < 0.5:
        pins["A17"] = ["0"]
        del cells["A17"]
    pins |= {f"P{i}": [200 + i] for i in range(BITS)}
    pins |= {"SIGNEDA": ["1"], "SIGNEDB": ["1"]}
    cells["multiplier"] = {
        "type": "MULT18X18D",
        "parameters": {},
        "port_directions": {p: "output" if p.startswith("P") else "input" for p in pins},
        "connections": pins,
    }
    for i in range(BITS):
        cells[f"first{i}"] = register(200 + i, 300 + i)
        cells[f"second{i}"] = register(300 + i, 400 + i)
    inputs = [*range(10, 28), *range(30, 48)]
    return design(cells, inputs, [400 + i for i in range(BITS)])


def number(bits: list[int]) -> int:
    return sum(bit << i for i, bit in enumerate(bits[:-1])) - (bits[-1] << len(bits) - 1)


def simulate(netlist: dict[str, Any], vectors: list[dict[int, int]]) -> list[list[int]]:
    """Outputs in every cycle, from what the primitives' manual says that registers do."""
    module = netlist["modules"]["top"]
    cells = module["cells"].values()
    state: dict[int, int] = {}
    inside: dict[int, list[Any]] = {}
    seen = []
    for vector in vectors:
        nets: dict[Any, int] = {"0": 0, "1": 1, **vector, **state}
        following: dict[int, int] = {}
        for cell in (c for c in cells if c["type"] == "MULT18X18D"):
            pins, registered = cell["connections"], "REG_OUTPUT_CLK" in cell["parameters"]
            rows = inside.setdefault(id(cell), [(0, 0), 0, 0])
            if registered:
                nets |= {pins[f"P{i}"][0]: rows[2] >> i & 1 for i in range(BITS)}
            operands = tuple(
                number([nets.get(pins[f"{side}{i}"][0], 0) for i in range(18)]) for side in "AB"
            )
            if registered:
                inside[id(cell)] = [operands, rows[0][0] * rows[0][1], rows[1]]
            else:
                product = operands[0] * operands[1]
                nets |= {pins[f"P{i}"][0]: product >> i & 1 for i in range(BITS)}
        for cell in (c for c in cells if c["type"] == "TRELLIS_FF"):
            pins = cell["connections"]
            following[pins["Q"][0]] = nets.get(pins["DI"][0], 0)
        seen.append([nets.get(bit, 0) for bit in module["ports"]["out"]["bits"]])
        state = following
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_a_multiplier_with_its_registers_does_the_same_in_every_cycle(seed: int) -> None:
    rng = random.Random(seed)
    netlist = multiplication(rng)
    inputs = netlist["modules"]["top"]["ports"]["in"]["bits"]
    vectors = [{bit: rng.randrange(2) for bit in inputs} for _ in range(12)]
    before = simulate(netlist, vectors)
    assert absorb_registers(netlist, "top").multipliers in (107, 108)
    assert [c["type"] for c in netlist["modules"]["top"]["cells"].values()] == ["MULT18X18D"]
    assert simulate(netlist, vectors) == before
    assert any(map(any, before))


def test_operands_that_others_read_keep_their_registers() -> None:
    netlist = multiplication(random.Random(1))
    netlist["modules"]["top"]["ports"]["out"]["bits"].append(100)
    absorb_registers(netlist, "top")
    cells = netlist["modules"]["top"]["cells"]
    assert set(cells) == {"multiplier", "A0"}


@pytest.mark.parametrize("name", ["A3", "first3", "second3"])
def test_a_multiplier_takes_all_rows_or_none(name: str) -> None:
    netlist = multiplication(random.Random(1))
    pins = netlist["modules"]["top"]["cells"][name]
    pins["connections"]["LSR"], pins["port_directions"]["LSR"] = [50], "input"
    before = copy.deepcopy(netlist)
    assert absorb_registers(netlist, "top").multipliers == 0
    assert netlist == before
