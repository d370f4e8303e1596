"""The devices: of each its family, its names in the tools' languages, and what it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from echoloom.backends.bitstream.targets.ecp5 import Ecp5
from echoloom.backends.bitstream.targets.gowin import Gowin
from echoloom.backends.bitstream.targets.ice40 import Ice40, Ice40Hx
from echoloom.backends.bitstream.targets.target import Target


@dataclass(frozen=True)
class Device:
    """`part` is the maker's name, `chip` that of `ir.blocks`; `packages` maps the maker's names of
    packages to the router's. `target` makes a board's target of its own fields, a package (the
    router's name) and a speed grade."""

    part: str
    chip: str
    packages: Mapping[str, str]
    make: Callable[..., Target] = field(repr=False)


def _ecp5(option: str, *, package: str, speed: str, **board: Any) -> Target:
    return Ecp5(device=option, package=package, speed=int(speed or 6), **board)


def _ice40(family: type[Ice40], option: str, *, package: str, speed: str, **board: Any) -> Target:
    return family(device=option, package=package, **board)


def _gw2a(part: str, family: str, *, package: str, speed: str, **board: Any) -> Target:
    return Gowin(device=f"{part}{package}{speed or 'C8/I7'}", family=family, **board)


_ECP5_PACKAGES = {"BG256": "CABGA256", "MG285": "CSFBGA285", "BG381": "CABGA381"}
_ICE40_PACKAGES = {"SG48": "sg48", "CT256": "ct256"}

DEVICES: Mapping[str, Device] = {
    # The smallest is sold of the same silicon as the next; the tools give it all of that.
    "ecp5-12f": Device("LFE5U-12F", "ecp5-25k", _ECP5_PACKAGES, partial(_ecp5, "--12k")),
    "ecp5-25f": Device("LFE5U-25F", "ecp5-25k", _ECP5_PACKAGES, partial(_ecp5, "--25k")),
    "ecp5-45f": Device("LFE5U-45F", "ecp5-45k", _ECP5_PACKAGES, partial(_ecp5, "--45k")),
    "ecp5-85f": Device("LFE5U-85F", "ecp5-85k", _ECP5_PACKAGES, partial(_ecp5, "--85k")),
    "ice40-up5k": Device("iCE40UP5K", "up5k", _ICE40_PACKAGES, partial(_ice40, Ice40, "--up5k")),
    "ice40-hx8k": Device("iCE40HX8K", "hx8k", _ICE40_PACKAGES, partial(_ice40, Ice40Hx, "--hx8k")),
    "gw2a-18": Device(
        "GW2A-LV18", "gw2a-18", {"PG256": "PG256"}, partial(_gw2a, "GW2A-LV18", "GW2A-18C")
    ),
    "gw2ar-18": Device(
        "GW2AR-LV18", "gw2a-18", {"QN88": "QN88"}, partial(_gw2a, "GW2AR-LV18", "GW2A-18C")
    ),
}
