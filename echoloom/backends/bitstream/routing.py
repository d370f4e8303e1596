"""What the router says of a routed design, read from its report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from echoloom.backends.bitstream.toolrun import BuildFailed

# What synthesis appends to a signal's name for the cells that it makes of it: _TRELLIS_FF_Q_3.
_CELL_NAME = re.compile(r"(_|\$)(\$|[A-Z][A-Z0-9]{2,}).*")


@dataclass(frozen=True)
class Usage:
    """How much of one kind of resource a design takes of what the device has."""

    used: int
    available: int


@dataclass(frozen=True)
class Routing:
    """A routed design. `fmax_mhz` is how fast its engine's clock can be; `usage` has luts,
    registers, dsps and brams where the report tells them, and every other kind that is used by
    the router's name. `missed` says in words which other clock is too slow, if one is.
    """

    fmax_mhz: float
    usage: Mapping[str, Usage]
    critical_path: str
    missed: str | None


def parse_routing(report: Any, resources: Mapping[str, str], clock: str) -> Routing:
    """Read nextpnr's JSON report. `clock` is the design's name of the engine's clock, and
    `resources` names what every report of the family has to tell.

    Raises BuildFailed if the report lacks any of them: no figure is made up.
    """
    try:
        fmax, missed = _clocks(report["fmax"], clock)
        entries = {
            name: Usage(int(entry["used"]), int(entry["available"]))
            for name, entry in report["utilization"].items()
        }
        usage = {name: entries.pop(kind) for name, kind in resources.items()}
        usage |= {kind: entry for kind, entry in sorted(entries.items()) if entry.used}
        path = _longest(report.get("critical_paths", []), clock)
        return Routing(fmax, usage, describe(path), missed)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise BuildFailed(f"nextpnr's report has an unknown form ({error!r})") from error


def _clocks(clocks: dict[str, Any], engine: str) -> tuple[float, str | None]:
    """The engine's Fmax, and what is wrong with another clock."""
    if not clocks:
        raise BuildFailed("nextpnr's report has no clock: the design has no register")
    fmax = [float(clock["achieved"]) for name, clock in clocks.items() if _is(name, engine)]
    if not fmax:
        raise BuildFailed(
            f"nextpnr's report has no clock {engine!r}, only {', '.join(map(repr, clocks))}"
        )
    missed = [
        f"the clock {name} reaches {float(clock['achieved']):.1f} MHz of {clock['constraint']:g}"
        for name, clock in clocks.items()
        if not _is(name, engine) and float(clock["achieved"]) < float(clock["constraint"])
    ]
    return min(fmax), missed[0] if missed else None


def _is(net: str, clock: str) -> bool:
    """Whether a net is the clock. Tools decorate names: `posedge $glbnet$clk`, `clk_$glb_clk`."""
    parts = net.removeprefix("posedge ").split("$")
    return clock in {part.strip("_") for part in parts}


def _longest(paths: list[dict[str, Any]], clock: str) -> list[dict[str, Any]]:
    """The slowest path between two registers of the engine's clock; empty if none is told."""
    inside = [path["path"] for path in paths if _is(path["from"], clock) and _is(path["to"], clock)]
    return max(inside, key=lambda path: sum(part["delay"] for part in path), default=[])


def overfull(log: str) -> list[str]:
    """What a design takes too much of, from the router's log; a design that fits has none."""
    found = re.findall(r"(?m)^Info:\s+(\S+):\s+(\d+)/\s*(\d+)\s+\d+%$", log)
    return [f"{used} {kind} of {have}" for kind, used, have in found if int(used) > int(have)]


def aims(log: str, clock: str, of_promise: float) -> dict[str, float]:
    """What to route a placed design for, from the log of its placing: MHz by the router's own names
    of the clocks. The clock `clock` gets `of_promise` of what the placement promises, the others
    what they were to reach before.

    Raises BuildFailed if the log does not say.
    """
    told = re.findall(
        r"Max frequency for clock\s+'([^']*)': ([0-9.]+) MHz \(\w+ at ([0-9.]+) MHz\)", log
    )
    if not any(_is(net, clock) for net, _, _ in told):
        raise BuildFailed(f"nextpnr's log does not say how fast the placed clock {clock} is")
    return {
        net: of_promise * float(mhz) if _is(net, clock) else float(wanted)
        for net, mhz, wanted in told
    }


def describe(path: list[dict[str, Any]]) -> str:
    """A path in words: from where to where, how long, what of it in cells and what in wires."""
    if not path:
        return "the router tells none"
    wires = [part for part in path if part["type"] == "routing"]
    cells = [part for part in path if part["type"] != "routing"]
    wired, worked = (sum(part["delay"] for part in parts) for parts in (wires, cells))
    words = (
        f"{_signal(path[0]['from']['cell'])} to {_signal(path[-1]['to']['cell'])}: "
        f"{wired + worked:.2f} ns, {worked:.2f} in {len(cells)} cells and {wired:.2f} in wires"
    )
    if wires:
        longest = max(wires, key=lambda part: part["delay"])
        words += f", the longest {longest['delay']:.2f} for {_signal(longest['net'])}"
    return words


def _signal(name: str) -> str:
    """The signal of the design that a cell or a net was made of."""
    return _CELL_NAME.sub("", name) or name
