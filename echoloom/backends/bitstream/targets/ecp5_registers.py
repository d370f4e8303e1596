"""Moves registers of an ECP5 netlist into its multipliers and block RAMs.

Both have registers inside, which save most of the way from a block to the fabric and back; yosys
does not use them for this family. The netlist is yosys' JSON. A register moves only if it is a
plain one (no reset, zero at first; an enable only behind a memory, whose output register has one),
on the block's clock, with all the bits that belong together; so the design does the same in every
cycle, before and after.

    memory -> register -> logic                     becomes  memory with register -> logic
    register -> multiplier -> register -> register  becomes  one multiplier with all three
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Bit = int | str  # a net, or a constant
Cell = dict[str, Any]

MEMORY, MULTIPLIER, REGISTER = "DP16KD", "MULT18X18D", "TRELLIS_FF"
FACTOR = 18  # bits of a factor of a multiplier
WIDEST = 36  # bits of a memory's word at most
ON_CLOCK = {"CLK": "CLK0", "CE": "CE0", "RST": "RST0"}


@dataclass(frozen=True)
class Absorbed:
    """How many registers went where."""

    memories: int
    multipliers: int


def absorb_registers(netlist: dict[str, Any], top: str) -> Absorbed:
    """Change the netlist's module `top` in place."""
    module = _Module(netlist["modules"][top])
    memories = multipliers = 0
    for cell in list(module.cells.values()):
        if cell["type"] == MEMORY:
            memories += sum(_memory(module, cell, ports) for ports in _read_ports(cell))
        elif cell["type"] == MULTIPLIER:
            multipliers += _multiplier(module, cell)
    module.sweep()
    return Absorbed(memories, multipliers)


class _Module:
    """A flat module's cells, and who drives and who reads each net."""

    def __init__(self, module: Mapping[str, Any]):
        self.cells: dict[str, Cell] = module["cells"]
        self.register_of: dict[Bit, str] = {}
        self.readers: dict[Bit, set[str]] = {}
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                if cell["type"] == REGISTER and port == "Q":
                    self.register_of[bits[0]] = name
                elif cell["port_directions"][port] != "output":
                    self.read(bits, name)
        for name, port in module["ports"].items():
            self.read(port["bits"], f"port {name}")

    def read(self, bits: Iterable[Bit], reader: str) -> None:
        for bit in bits:
            self.readers.setdefault(bit, set()).add(reader)

    def enable(self, name: str) -> Bit:
        """The net that lets a register take its input; constant 1: it does in every cycle."""
        cell = self.cells[name]
        always = cell["parameters"]["CEMUX"].strip() == "1"
        return "1" if always else cell["connections"].get("CE", ["1"])[0]

    def plain(self, name: str, clock: Bit, enable: Bit) -> bool:
        """Whether a cell is a register on `clock` that takes its input while `enable`."""
        cell = self.cells.get(name)
        if cell is None or cell["type"] != REGISTER:
            return False
        pins = cell["connections"]
        return (
            pins["CLK"] == [clock]
            and cell["parameters"]["CLKMUX"].strip() == "CLK"
            and cell["parameters"]["CEMUX"].strip() in ("1", "CE")
            and self.enable(name) == enable
            and cell["parameters"].get("REGSET", "RESET").strip() == "RESET"
            and pins.get("LSR", ["0"]) == ["0"]
        )

    def only_register(self, bit: Bit, clock: Bit, enable: Bit = "1") -> str | None:
        """The plain register that is the one reader of a net."""
        readers = self.readers.get(bit, set())
        name = next(iter(readers), "")
        if len(readers) != 1 or not self.plain(name, clock, enable):
            return None
        return name if self.cells[name]["connections"]["DI"] == [bit] else None

    def behind(
        self, cell: Cell, outputs: Iterable[str], clock: Bit, enable: Bit = "1"
    ) -> dict[str, str] | None:
        """For each output that is used, its register; None unless all have one."""
        found: dict[str, str] = {}
        for port in outputs:
            bit = cell["connections"][port][0]
            if not self.readers.get(bit):
                continue
            register = self.only_register(bit, clock, enable)
            if register is None:
                return None
            found[port] = register
        return found

    def take(self, cell: Cell, registers: Mapping[str, str]) -> int:
        """The cell's outputs become what their registers drove."""
        for port, name in registers.items():
            cell["connections"][port] = self.cells.pop(name)["connections"]["Q"]
        return len(registers)

    def before(self, cell: Cell, inputs: Iterable[str], clock: Bit) -> dict[str, str] | None:
        """For each input that is not constantly zero, its register; None unless all have one."""
        found: dict[str, str] = {}
        for port in inputs:
            bit = cell["connections"][port][0]
            if bit == "0":
                continue
            name = self.register_of.get(bit)
            if name is None or not self.plain(name, clock, "1"):
                return None
            found[port] = name
        return found

    def sweep(self) -> None:
        """Remove registers that nothing reads any more."""
        read = {bit for cell in self.cells.values() for bit in _inputs(cell)}
        read |= {
            bit for bit, who in self.readers.items() if any(w.startswith("port ") for w in who)
        }
        for name, cell in list(self.cells.items()):
            if cell["type"] == REGISTER and cell["connections"]["Q"][0] not in read:
                del self.cells[name]


def _inputs(cell: Cell) -> Iterator[Bit]:
    for port, bits in cell["connections"].items():
        if cell["port_directions"][port] != "output":
            yield from bits


def _read_ports(cell: Cell) -> tuple[str, ...]:
    """A memory's ports that read; in the widest form, both together are one."""
    widest = any(int(cell["parameters"][f"DATA_WIDTH_{port}"], 2) == WIDEST for port in "AB")
    return ("AB",) if widest else ("A", "B")


def _memory(module: _Module, cell: Cell, ports: str) -> int:
    pins = cell["connections"]
    clock = pins[f"CLK{ports[0]}"][0]
    outputs = [f"DO{port}{bit}" for port in ports for bit in range(18) if f"DO{port}{bit}" in pins]
    enable = next(map(module.enable, _registers_behind(module, cell, outputs)), "1")
    registers = module.behind(cell, outputs, clock, enable)
    if not registers or any(pins[f"CLK{port}"][0] != clock for port in ports):
        return 0
    for port in ports:
        cell["parameters"][f"REGMODE_{port}"] = "OUTREG"
        cell["connections"][f"OCE{port}"] = [enable]
        cell["port_directions"][f"OCE{port}"] = "input"
    return module.take(cell, registers)


def _multiplier(module: _Module, cell: Cell) -> int:
    """All three rows of registers or none: a multiplier is as fast as its slowest part."""
    outputs = [f"P{bit}" for bit in range(2 * FACTOR)]
    clock = _clock_behind(module, cell, outputs)
    factors = {side: [f"{side}{bit}" for bit in range(FACTOR)] for side in "AB"}
    operands = {side: module.before(cell, ports, clock) for side, ports in factors.items()}
    if None in operands.values():
        return 0
    first = module.behind(cell, outputs, clock)
    if not first:
        return 0
    second = {}
    for port, name in first.items():
        register = module.only_register(module.cells[name]["connections"]["Q"][0], clock)
        if register is None:
            return 0
        second[port] = register
    count = module.take(cell, first)
    count += module.take(cell, second)
    for registers in operands.values():
        for port, name in (registers or {}).items():
            cell["connections"][port] = module.cells[name]["connections"]["DI"]
            count += 1
    for row in ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT"):
        for kind, pin in ON_CLOCK.items():
            cell["parameters"][f"REG_{row}_{kind}"] = pin
    for pin, net in (("CLK0", clock), ("CE0", "1"), ("RST0", "0")):
        cell["connections"][pin] = [net]
        cell["port_directions"][pin] = "input"
    return count


def _clock_behind(module: _Module, cell: Cell, outputs: Iterable[str]) -> Bit:
    """The clock of a register that reads the multiplier, if there is one."""
    clocks = (
        module.cells[name]["connections"]["CLK"][0]
        for name in _registers_behind(module, cell, outputs)
    )
    return next(clocks, "")


def _registers_behind(module: _Module, cell: Cell, outputs: Iterable[str]) -> Iterator[str]:
    for port in outputs:
        for name in sorted(module.readers.get(cell["connections"][port][0], ())):
            if module.cells.get(name, {}).get("type") == REGISTER:
                yield name
