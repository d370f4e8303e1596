"""Registers of an iCE40 netlist that move into block RAMs and multipliers: what a design does stays
the same, cycle by cycle, by yosys' own models of the cells."""

from __future__ import annotations

import copy
import json
import random
from itertools import chain
from pathlib import Path
from typing import Any

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.targets.ice40_registers import Moved, move_registers
from echoloom.backends.bitstream.toolrun import run_tool
from echoloom.backends.bitstream.verilog import to_rtlil
from echoloom.hdl.multiplier import Multiplier
from echoloom.hdl.pipeline import delay

LENGTHS = (*[7] * 9, *[6] * 9, 20, 18, 3, 2)
CYCLES = 60


class Delays(wiring.Component):
    """A bit through as many registers as each of LENGTHS says; one is read on the way."""

    x: Any
    y: Any
    tap: Any

    def __init__(self) -> None:
        super().__init__({"x": In(len(LENGTHS)), "y": Out(len(LENGTHS)), "tap": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for place, length in enumerate(LENGTHS):
            stages = delay(m, self.x[place], length, name=f"row_{place}")
            m.d.comb += self.y[place].eq(stages[-1])
            if place == 0:
                m.d.comb += self.tap.eq(stages[3])
        return m


class Product(wiring.Component):
    """A lane's multiplier, which may be cleared."""

    x: Any
    y: Any

    def __init__(self) -> None:
        super().__init__({"x": In(25), "y": Out(signed(24))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multiplier = multiplier = Multiplier(11, 13)
        chosen = Signal(signed(13))
        m.d.comb += [
            chosen.eq(self.x[:13]),
            multiplier.wide.eq(chosen),
            multiplier.narrow.eq(self.x[13:24].as_signed()),
            multiplier.clear.eq(self.x[24]),
            self.y.eq(multiplier.product),
        ]
        return m


def moved(top: wiring.Component, folder: Path, blocks: int = 30) -> Moved:
    """Synthesise to before.json, and to after.json with the registers moved."""
    (folder / "top.il").write_text(to_rtlil(top, "top"))
    script = "read_rtlil top.il; synth_ice40 -dsp -device u -top top; write_json before.json"
    run_tool(tools.yosys(), ["-p", script], folder, folder / "yosys.log")
    netlist = json.loads((folder / "before.json").read_text())
    found = move_registers(netlist, "top", blocks)
    (folder / "after.json").write_text(json.dumps(netlist))
    return found


class Player:
    """Plays a netlist cycle by cycle, from what the makers' manual says that the cells do."""

    def __init__(self, netlist: dict[str, Any]) -> None:
        self.module = netlist["modules"]["top"]
        self.cells = list(self.module["cells"].values())
        driven = (c["connections"].get(p, []) for c in self.cells for p in ("Q", "RDATA"))
        self.state: dict[Any, int] = dict.fromkeys(chain.from_iterable(driven), 0)
        self.memory: dict[int, list[int]] = {}
        self.stages: dict[int, list[int]] = {}

    def step(self, x: int) -> dict[str, int]:
        """One cycle with the input `x`: the outputs."""
        nets: dict[Any, int] = {"0": 0, "1": 1, "x": 0} | self.state
        nets |= {bit: x >> i & 1 for i, bit in enumerate(self.module["ports"]["x"]["bits"])}
        nets |= dict.fromkeys(self.module["ports"]["rst"]["bits"], 0)
        waiting = [c for c in self.cells if c["type"] in ("SB_LUT4", "SB_MAC16")]
        while waiting:
            late = [cell for cell in waiting if not self.combine(cell, nets)]
            assert len(late) < len(waiting), late
            waiting = late
        following: dict[Any, int] = {}
        for cell in self.cells:
            pins = cell["connections"]
            if cell["type"] in ("SB_DFF", "SB_DFFSR"):
                cleared = cell["type"] == "SB_DFFSR" and nets[pins["R"][0]]
                following[pins["Q"][0]] = 0 if cleared else nets[pins["D"][0]]
            elif cell["type"] == "SB_RAM40_4K":
                following |= self.remember(cell, nets)
        self.state = following
        return {
            name: sum(nets[bit] << i for i, bit in enumerate(port["bits"]))
            for name, port in self.module["ports"].items()
            if port["direction"] == "output"
        }

    def combine(self, cell: dict[str, Any], nets: dict[Any, int]) -> bool:
        """Whether all that the cell's outputs depend on is known; then they are, too."""
        pins = cell["connections"]
        if cell["type"] == "SB_LUT4":
            inputs = [pins[f"I{i}"][0] for i in range(4)]
            if all(bit in nets for bit in inputs):
                place = sum(nets[bit] << i for i, bit in enumerate(inputs))
                nets[pins["O"][0]] = int(cell["parameters"]["LUT_INIT"], 2) >> place & 1
            return pins["O"][0] in nets
        if not all(bit in nets for bit in (*pins["A"], *pins["B"])):
            return False
        product = number(nets, pins["A"]) * number(nets, pins["B"])
        registered = int(cell["parameters"].get("A_REG", "0"), 2)
        stages = self.stages.setdefault(id(cell), [0, 0, 0])
        shown = stages[2] if registered else product
        self.stages[id(cell)] = [product, *stages[:2]]
        nets |= {bit: shown >> i & 1 for i, bit in enumerate(pins["O"])}
        return True

    def remember(self, cell: dict[str, Any], nets: dict[Any, int]) -> dict[Any, int]:
        """What a block RAM shows in the next cycle; it reads the old word."""
        pins = cell["connections"]
        assert not any(nets[bit] for bit in pins["MASK"]) and nets[pins["WE"][0]]
        words = self.memory.setdefault(id(cell), [0] * 256)
        read, write = (sum(nets[b] << i for i, b in enumerate(pins[p])) for p in ("RADDR", "WADDR"))
        assert read != write, "hardware gives anything then"
        shown = {bit: words[read] >> i & 1 for i, bit in enumerate(pins["RDATA"])}
        words[write] = sum(nets[bit] << i for i, bit in enumerate(pins["WDATA"]))
        return shown


def number(nets: dict[Any, int], bits: list[Any]) -> int:
    """Bits as a number in two's complement."""
    return sum(nets[b] << i for i, b in enumerate(bits)) - (nets[bits[-1]] << len(bits))


def same(folder: Path, width: int) -> bool:
    """Whether both netlists give the same in every cycle, and something at all."""
    draw = random.Random(1)
    words = [draw.getrandbits(width) for _ in range(CYCLES)]
    players = [
        Player(json.loads((folder / f"{name}.json").read_text())) for name in ("before", "after")
    ]
    before, after = ([player.step(word) for word in words] for player in players)
    assert len({str(row) for row in before}) > CYCLES // 2
    return before == after


def test_rows_of_registers_become_block_ram(tmp_path: Path) -> None:
    """Rows of 6 and longer fill one block, what is left of them with the same counter another;
    of the longer rows the first registers stay."""
    found = moved(Delays(), tmp_path)
    assert found.multipliers == 0 and found.delays == 16 * 6 + 3 * 6 + 3 * 3
    cells = json.loads((tmp_path / "after.json").read_text())["modules"]["top"]["cells"].values()
    assert sum(cell["type"] == "SB_RAM40_4K" for cell in cells) == found.memories == 3
    assert same(tmp_path, len(LENGTHS))


def test_blocks_that_are_there_are_taken_and_no_more(tmp_path: Path) -> None:
    assert moved(Delays(), tmp_path, 1).memories == 1
    assert same(tmp_path, len(LENGTHS))
    netlist = json.loads((tmp_path / "before.json").read_text())
    before = copy.deepcopy(netlist)
    assert move_registers(netlist, "top", 0) == Moved(0, 0, 0)
    assert netlist == before


def test_a_multiplier_takes_the_registers_around_it(tmp_path: Path) -> None:
    assert moved(Product(), tmp_path) == Moved(11 + 13 + 24 + 24, 0, 0)
    assert same(tmp_path, 25)
