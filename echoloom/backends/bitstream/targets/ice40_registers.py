"""Moves registers of an iCE40 netlist into its multipliers and into block RAMs that are left over.

A logic cell has one register, which takes what the cell's own LUT gives: a register behind another
register costs a whole cell. Two places hold such registers for nothing, and the design does the
same in every cycle, before and after:

    register -> multiplier -> register -> register    becomes  one multiplier with all three
    sixteen rows of N registers                       becomes  a block RAM and a counter to N

Row by row, a block RAM writes in cycle t at address t mod N and reads at (t + 1) mod N, which was
written N - 1 cycles ago; with its output register the word is N cycles old. A register moves only
if it is a plain one (no enable, no reset) whose value nothing else reads. What a block RAM gives in
its first N cycles is undefined; the engine is in reset then.

The netlist is yosys' JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

Bit = int | str  # a net, or a constant
Cell = dict[str, Any]

REGISTER, LUT, MEMORY, MULTIPLIER = "SB_DFF", "SB_LUT4", "SB_RAM40_4K", "SB_MAC16"
WIDTH = 16  # bits of a block RAM's word, and of a multiplier's side
LONGEST = 16  # what a counter of four bits counts to
COUNTER_CELLS = 8  # at most: its LUTs, and its registers
PRODUCT = "11"  # TOPOUTPUT_SELECT: the product's two halves as they come
INSIDE = ("A_REG", "B_REG", "TOP_8x8_MULT_REG", "BOT_8x8_MULT_REG",
          "PIPELINE_16x16_MULT_REG1", "PIPELINE_16x16_MULT_REG2")  # fmt: skip


@dataclass(frozen=True)
class Moved:
    """How many registers went where, and into how many block RAMs."""

    multipliers: int
    delays: int
    memories: int


def move_registers(netlist: dict[str, Any], top: str, blocks: int) -> Moved:
    """Change the netlist's module `top` in place; `blocks` is what the device has."""
    module = _Module(netlist["modules"][top])
    multipliers = sum(
        _multiplier(module, cell)
        for cell in list(module.cells.values())
        if cell["type"] == MULTIPLIER
    )
    left = blocks - sum(cell["type"] == MEMORY for cell in module.cells.values())
    delays = memories = 0
    counters: dict[tuple[Bit, int], tuple[list[Bit], list[Bit]]] = {}
    for rows, length in _groups(_chains(module)):
        clock = module.cells[rows[0][0]]["connections"]["C"][0]
        cost = 0 if (clock, length) in counters else COUNTER_CELLS
        if memories == left or len(rows) * length <= cost:
            break
        if (clock, length) not in counters:
            counters[clock, length] = module.counter(clock, length)
        _memory(module, rows, length, clock, *counters[clock, length])
        delays += len(rows) * length
        memories += 1
    return Moved(multipliers, delays, memories)


class _Module:
    """A flat module's cells, and who reads each net."""

    def __init__(self, module: dict[str, Any]):
        self.cells: dict[str, Cell] = module["cells"]
        self.driver: dict[Bit, tuple[str, str]] = {}
        self.readers: dict[Bit, list[tuple[str, str]]] = {}
        highest = 1
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                highest = max([highest, *(bit for bit in bits if isinstance(bit, int))])
                for bit in bits:
                    if cell["port_directions"][port] == "output":
                        self.driver[bit] = name, port
                    else:
                        self.readers.setdefault(bit, []).append((name, port))
        for name, port in module["ports"].items():
            highest = max([highest, *(bit for bit in port["bits"] if isinstance(bit, int))])
            for bit in port["bits"]:
                self.readers.setdefault(bit, []).append((f"port {name}", name))
        self._free = count(highest + 1)

    def net(self) -> int:
        """A net that is not there yet."""
        return next(self._free)

    def add(self, name: str, kind: str, outputs: Iterable[str], parameters: dict[str, str],
            **connections: list[Bit]) -> None:  # fmt: skip
        """A cell of the library."""
        self.cells[name] = {
            "hide_name": 0,
            "type": kind,
            "parameters": parameters,
            "attributes": {},
            "port_directions": {
                port: "output" if port in outputs else "input" for port in connections
            },
            "connections": connections,
        }

    def is_register(self, name: str) -> bool:
        return name in self.cells and self.cells[name]["type"] == REGISTER

    def pin(self, name: str, port: str) -> Bit:
        return self.cells[name]["connections"][port][0]

    def only_register(self, bit: Bit, clock: Bit) -> str | None:
        """The plain register that is the one reader of a net."""
        readers = self.readers.get(bit, [])
        if len(readers) != 1 or readers[0][1] != "D" or not self.is_register(readers[0][0]):
            return None
        return readers[0][0] if self.pin(readers[0][0], "C") == clock else None

    def counter(self, clock: Bit, length: int) -> tuple[list[Bit], list[Bit]]:
        """The bits of a counter from 0 to `length` - 1, and what they are in the next cycle."""
        width = (length - 1).bit_length()
        now: list[Bit] = [self.net() for _ in range(width)]
        soon: list[Bit] = [self.net() for _ in range(width)]
        for place in range(width):
            table = sum((((k + 1) % length) >> place & 1) << k for k in range(length))
            name = f"delay_{length}_{clock}_{place}"
            inputs = {f"I{i}": [now[i] if i < width else "0"] for i in range(4)}
            self.add(f"{name}_next", LUT, ("O",), {"LUT_INIT": f"{table:016b}"},
                     **inputs, O=[soon[place]])  # fmt: skip
            self.add(name, REGISTER, ("Q",), {}, C=[clock], D=[soon[place]], Q=[now[place]])
        return now, soon


def _chains(module: _Module) -> list[list[str]]:
    """Registers one behind the other, first to last, of which only the last is read by others. A
    first one that has its cell with a LUT stays there."""
    following: dict[str, str] = {}
    for name in module.cells:
        if module.is_register(name):
            after = module.only_register(module.pin(name, "Q"), module.pin(name, "C"))
            if after is not None:
                following[name] = after
    behind = set(following.values())
    chains = []
    for name in module.cells:
        if not module.is_register(name) or name in behind:
            continue
        chain = [name]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        source = module.pin(name, "D")
        driver = module.driver.get(source, ("", ""))[0]
        if driver and module.cells[driver]["type"] == LUT and len(module.readers[source]) == 1:
            chain = chain[1:]
        if len(chain) > 1:
            chains.append(chain)
    return sorted(chains, key=len, reverse=True)


def _groups(chains: list[list[str]]) -> Iterator[tuple[list[list[str]], int]]:
    """Rows for one block RAM after the other, the best first, and their length."""
    left = list(chains)
    while left:
        lengths = [min(len(chain), LONGEST) for chain in left[:WIDTH]]
        rows = max(range(1, len(lengths) + 1), key=lambda rows: rows * lengths[rows - 1])
        yield left[:rows], lengths[rows - 1]
        left = left[rows:]


def _memory(module: _Module, rows: list[list[str]], length: int, clock: Bit,
            now: list[Bit], soon: list[Bit]) -> None:  # fmt: skip
    """The last `length` registers of each row become a block RAM."""
    words: list[Bit] = ["0"] * WIDTH
    outputs: list[Bit] = [module.net() for _ in range(WIDTH)]
    name = rows[0][-1]
    for place, row in enumerate(rows):
        words[place] = module.pin(row[-length], "D")
        outputs[place] = module.pin(row[-1], "Q")
        for register in row[-length:]:
            del module.cells[register]
    zeros: list[Bit] = ["0"] * (11 - len(now))
    module.add(
        f"{name}_delay", MEMORY, ("RDATA",),
        {"READ_MODE": f"{0:032b}", "WRITE_MODE": f"{0:032b}"}
        | {f"INIT_{i:X}": "0" * 256 for i in range(16)},
        RDATA=outputs, RADDR=[*soon, *zeros], RCLK=[clock], RCLKE=["1"], RE=["1"],
        WDATA=words, WADDR=[*now, *zeros], MASK=["0"] * WIDTH, WCLK=[clock], WCLKE=["1"],
        WE=["1"],
    )  # fmt: skip


def _multiplier(module: _Module, cell: Cell) -> int:
    """Registers before and behind a multiplier that has none of its own go inside."""
    settings, pins = cell["parameters"], cell["connections"]
    if settings.get("TOPOUTPUT_SELECT", "")[-2:] != PRODUCT or any(
        settings.get(name, "0").strip("0") for name in INSIDE
    ):
        return 0
    before = [module.driver.get(bit, ("", ""))[0] for port in "AB" for bit in pins[port]
              if bit != "0"]  # fmt: skip
    if not before or not all(map(module.is_register, before)):
        return 0
    clock = module.pin(before[0], "C")
    used = {place: bit for place, bit in enumerate(pins["O"]) if module.readers.get(bit)}
    behind = [{place: module.only_register(bit, clock) for place, bit in used.items()}]
    if any(module.pin(name, "C") != clock for name in before) or None in behind[0].values():
        return 0
    behind.append({
        place: module.only_register(module.pin(str(name), "Q"), clock)
        for place, name in behind[0].items()
    })  # fmt: skip
    if None in behind[1].values():
        return 0
    sources = {module.pin(name, "Q"): module.pin(name, "D") for name in before}
    for port in "AB":
        pins[port] = [sources.get(bit, bit) for bit in pins[port]]
    for place, name in behind[1].items():
        pins["O"][place] = module.pin(str(name), "Q")
    settings |= dict.fromkeys(INSIDE, "1")
    for port in ("CLK", "CE"):
        pins[port] = [clock if port == "CLK" else "1"]
        cell["port_directions"][port] = "input"
    own = set(map(id, [cell]))
    gone = {str(name) for level in behind for name in level.values()}
    gone |= {
        name for name in before
        if all(id(module.cells.get(reader, {})) in own
               for reader, _ in module.readers[module.pin(name, "Q")])
    }  # fmt: skip
    for name in gone:
        del module.cells[name]
    return len(gone)
