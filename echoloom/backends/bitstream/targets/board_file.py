"""A board as a TOML file: its device, its clock, its pins; or where `amaranth-boards` has them.

docs/boards.md explains the fields. Nothing is guessed: what neither the file nor the package says
is missing, and said so.
"""

from __future__ import annotations

import importlib
import re
from inspect import isabstract
from pathlib import Path
from typing import Any, Literal

import msgspec
from amaranth.build import Platform

from echoloom.backends.bitstream.targets.devices import DEVICES
from echoloom.backends.bitstream.targets.target import Target
from echoloom.hdl.board import BAUD
from echoloom.hdl.uart import divisor_for
from echoloom.ir.toml import read_toml

Level = Literal["high", "low"]
Pin = tuple[str, str]  # site and attributes
ONE_PIN = ("clock", "rx", "tx", "button", "stay_on")
LIGHTS = 8  # as many as there are uses for


class Pins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `pins`: each a site and its attributes, blanks between them; `attributes` are
    those of every pin that has none of its own."""

    attributes: str = ""
    clock: str | None = None
    rx: str | None = None
    tx: str | None = None
    button: str | None = None
    stay_on: str | None = None
    lights: tuple[str, ...] = ()


class BoardFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A board's file. `amaranth` names a class of `amaranth-boards` as `module.Class`, which gives
    all that the file does not."""

    target_mhz: float
    amaranth: str | None = None
    device: str | None = None
    package: str | None = None
    speed: str | int | None = None
    clock_mhz: float | None = None
    baud: int = BAUD
    button_pressed: Level | None = None
    light_lit: Level | None = None
    lights: bool = True
    host: str = ""
    loader: str = ""
    pins: Pins = Pins()


def read_board(file: Path) -> Target:
    """The board of a file; its name is the file's without `.toml`.

    Raises ValueError, in one sentence, for a file that describes no board, and OSError.
    """
    name = file.name.removesuffix(".toml")
    try:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ValueError("a board's name has letters, digits and _ . - only")
        board = read_toml(file.read_bytes(), BoardFile)
        return _target(name, board)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"{file} describes no board: {error}") from error


def _target(name: str, board: BoardFile) -> Target:
    known = _known(board.amaranth) if board.amaranth else {}
    said = {field: getattr(board, field) for field in ("device", "package", "speed", "clock_mhz")}
    given = known | {field: value for field, value in said.items() if value is not None}
    for field in ("device", "package", "clock_mhz"):
        if field not in given:
            raise ValueError(f"it says no {field}")
    if given["device"] not in DEVICES:
        raise ValueError(
            f"there is no device {given['device']!r}; known: {', '.join(sorted(DEVICES))}"
        )
    pins = known.get("pins", {}) | _pins(board.pins)
    if not board.lights:
        pins = {pin: at for pin, at in pins.items() if not pin.startswith("lights[")}
    missing = [pin for pin in ("clock", "rx", "tx") if pin not in pins]
    if missing:
        raise ValueError(f"it has no pin for {', '.join(missing)}")
    sites = [site for site, _ in pins.values()]
    double = sorted({site for site in sites if sites.count(site) > 1})
    if double:
        raise ValueError(f"the site {double[0]} has several uses")
    for field, mhz in (("clock_mhz", given["clock_mhz"]), ("target_mhz", board.target_mhz)):
        if not 1 <= mhz <= 1000:
            raise ValueError(f"{field} = {mhz:g} is no clock of an FPGA in MHz")
    divisor_for(given["clock_mhz"] * 1e6, board.baud)
    device = DEVICES[given["device"]]
    levels = {
        "pressed": board.button_pressed or known.get("button_pressed", "high"),
        "lit": board.light_lit or known.get("light_lit", "high"),
    }
    return device.make(
        name=name,
        chip=device.chip,
        clock_mhz=float(given["clock_mhz"]),
        target_mhz=float(board.target_mhz),
        baud=board.baud,
        pins=pins,
        package=device.packages.get(given["package"], given["package"]),
        speed=str(given.get("speed", "")),
        host=board.host,
        loader=board.loader,
        **{level: int(value == "high") for level, value in levels.items()},
    )


def _pins(pins: Pins) -> dict[str, Pin]:
    """The pins that a file names."""
    named = {pin: getattr(pins, pin) for pin in ONE_PIN}
    named |= {f"lights[{number}]": text for number, text in enumerate(pins.lights)}
    found = {}
    for pin, text in named.items():
        if text is None:
            continue
        site, _, attributes = text.strip().partition(" ")
        if not site:
            raise ValueError(f"the pin {pin} has no site")
        found[pin] = site, attributes.strip() or pins.attributes
    return found


def _known(amaranth: str) -> dict[str, Any]:
    """What `amaranth-boards` says of a board, in this module's words."""
    module, _, cls = amaranth.rpartition(".")
    try:
        kind = getattr(importlib.import_module(f"amaranth_boards.{module}"), cls)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"amaranth-boards has no {amaranth!r} ({error})") from error
    # Its modules import other things too, which a file must not have called.
    if not (isinstance(kind, type) and issubclass(kind, Platform)) or isabstract(kind):
        raise ValueError(f"amaranth-boards has no board {amaranth!r}")
    platform: Any = kind()
    found: dict[str, Any] = _device(platform)
    pins: dict[str, Pin] = {}
    clock = platform.lookup(platform.default_clk)
    found["clock_mhz"] = clock.clock.frequency / 1e6
    pins["clock"] = _pin(clock, clock.ios[0])
    resources = platform.resources
    if ("uart", 0) in resources:
        uart = platform.lookup("uart", 0)
        pins |= {io.name: _pin(uart, io.ios[0]) for io in uart.ios if io.name in ("rx", "tx")}
    if ("button", 0) in resources:
        button = platform.lookup("button", 0)
        pins["button"] = _pin(button, button.ios[0])
        found["button_pressed"] = "low" if button.ios[0].invert else "high"
    for number in range(LIGHTS):
        if ("led", number) in resources:
            light = platform.lookup("led", number)
            pins[f"lights[{number}]"] = _pin(light, light.ios[0])
            found["light_lit"] = "low" if light.ios[0].invert else "high"
    return found | {"pins": pins}


def _device(platform: Any) -> dict[str, Any]:
    """Which of DEVICES it is, its package and speed grade; the maker's part number may have all."""
    if hasattr(platform, "part"):  # as Gowin names it: GW2A-LV18 PG256 C8/I7
        split = re.fullmatch(r"(GW.*?LV\d+)([A-Z]+\d+)(C\d/I\d)", platform.part)
        part, package, speed = split.groups() if split else (platform.part, "", "")
    else:
        part, package = platform.device, platform.package
        speed = getattr(platform, "speed", "")
    devices = [name for name, device in DEVICES.items() if device.part == part]
    return {"device": devices[0] if devices else part, "package": package, "speed": speed}


def _pin(resource: Any, io: Any) -> Pin:
    attributes = " ".join(
        f"{name}={value}" for name, value in resource.attrs.items() if isinstance(value, str)
    )
    return io.names[0], attributes
