"""What a build needs of a board and its family of devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from amaranth.lib.wiring import Component

from echoloom.backends.bitstream.tools import Tool
from echoloom.hdl.board import Board

TOP = "top"


@dataclass(frozen=True)
class Toolchain:
    """The tools of one family, in the order of their work."""

    synthesiser: Tool
    router: Tool
    packer: Tool


@dataclass(frozen=True, kw_only=True)
class Target(Board):
    """A board and the tools' command lines for it; each family of devices is a subclass.

    `target_mhz` is what the router aims at unless a build says otherwise: it gives up gaining
    time when it is met, and runs long when it is far away.

    File names are relative to the folder that the tools run in.

    `chip` is what `ir.blocks` calls the device. `host` says in a sentence what reaches the serial
    line where that is no USB chip on the board; `loader` is openFPGALoader's name of the board.
    """

    device: str
    chip: str
    target_mhz: float
    synthesis: str  # the synthesiser's command, without the top module and the file
    host: str = ""
    loader: str = ""

    parts: ClassVar[bool] = True  # whether the synthesis takes a design in several modules
    routed: ClassVar[str]  # the ending of the router's file
    # Of what a report calls luts, registers and so on, the names in the router's own report.
    resources: ClassVar[Mapping[str, str]]

    def toolchain(self) -> Toolchain:
        """The family's tools. Raises ToolMissing."""
        raise NotImplementedError

    def clock_below(self, limit_mhz: float) -> float | None:
        """The highest clock that the PLL makes and that is not above the limit; None without."""
        raise NotImplementedError

    def constraints(self, top: Component, clocks: Mapping[str, float]) -> dict[str, str]:
        """The pins of the component's ports and its clocks, as files for the router.

        `clocks` are what BOARD_CLOCK and ENGINE_CLOCK, if there is one, are routed for, in MHz,
        whatever the PLL makes.

        Raises ValueError for a port that the board has no pin for.
        """
        raise NotImplementedError

    def prepare(self, rtlil: str) -> tuple[str, ...]:
        """The synthesiser's commands before the synthesis of a design, given as its text."""
        return ()

    def finish(self, netlist: Path) -> None:
        """Change the synthesiser's netlist, a JSON file, where the family needs more than it does.

        Raises ValueError, KeyError or TypeError for a file of another form.
        """

    def place_arguments(self, netlist: str, placed: str, seed: int) -> list[str] | None:
        """The router's arguments for a run that only places; None: it places and routes in one."""
        return None

    def aim(self, work: Path, seed: int, clocks: Mapping[str, float]) -> None:
        """Have a seed's placed design routed for these clocks in MHz, by the router's names."""
        raise NotImplementedError

    def route_arguments(self, netlist: str, routed: str, report: str, seed: int) -> list[str]:
        """The router's arguments; `netlist` is placed if there are arguments for that."""
        raise NotImplementedError

    def pack_arguments(self, routed: str, bitstream: str) -> list[str]:
        """The packer's arguments."""
        raise NotImplementedError

    def retune(self, routed: Path, clock_mhz: float) -> bool:
        """Set the PLL of a routed design to another clock, in its file.

        False where a family's file does not let itself be changed; then it must be routed anew.
        Raises ValueError if the file is not what the router writes.
        """
        return False


def ports(target: Board, top: Component) -> list[tuple[str, str, str]]:
    """Each bit of the component's ports with its site and attributes.

    Raises ValueError for one that the board has no pin for.
    """
    found = []
    for path, _, port in top.signature.flatten(top):
        name = "__".join(map(str, path))
        bits = [name]
        if len(port) > 1 or f"{name}[0]" in target.pins:
            bits = [f"{name}[{i}]" for i in range(len(port))]
        for bit in bits:
            if bit not in target.pins:
                raise ValueError(f"{target.name} has no pin for the port {bit}")
            found.append((bit, *target.pins[bit]))
    return found
