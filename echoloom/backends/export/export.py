"""`el.export_verilog`: a program's engine as Verilog, for systems that others build.

The folder gets, whole or not at all:

    <module>.v            the engine behind the interface that was asked for
    memory/*.hex          what its memories hold from the start: program, tables, weights
    <module>_example.v    how it is instantiated
    <module>.core         the same as a FuseSoC core
    <module>.vlt          which of Verilator's warnings are none, and why
    echoloom.h            the register map in C (interface "axi")
    ports.md              ports, and registers, as tables
    export.json           what was exported, and the list of these files
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

from amaranth.lib.wiring import Component

from echoloom.backends.bitstream.verilog import to_verilog
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.export.core_file import core_file
from echoloom.backends.export.folder import MANIFEST, check_folder, write_folder
from echoloom.backends.export.header import c_header
from echoloom.backends.export.memory_files import FOLDER, split
from echoloom.backends.export.module_name import check_module
from echoloom.backends.export.ports import Port, instantiation, port_table, ports_of
from echoloom.backends.export.preset import Preset, preset
from echoloom.backends.export.registers_page import register_table
from echoloom.backends.export.waivers import waivers
from echoloom.frontend.data.files import json_bytes
from echoloom.hdl.axi.axi_top import AxiTop
from echoloom.hdl.axi.stream_top import StreamTop
from echoloom.hdl.commands import identity
from echoloom.ir.contract import EngineConfig, Timing

Interface = Literal["stream", "axi"]
INTERFACES: tuple[Interface, ...] = get_args(Interface)
HEADER = "echoloom.h"


@dataclass(frozen=True)
class ExportReport:
    """What `export_verilog` has written: paths in `directory`."""

    directory: str
    interface: Interface
    module: str
    files: tuple[str, ...]
    ports: int
    memory_files: int


def export_verilog(
    program: CompiledProgram,
    directory: Path | str,
    *,
    interface: Interface = "stream",
    length: int | None = None,
    module: str = "echoloom",
) -> ExportReport:
    """Write the program's engine as Verilog with all that belongs to it.

    `interface`: samples and outputs are AXI4-Stream; the host's bus is two plain streams
    ("stream") or AXI4-Lite registers ("axi"). The engine holds the program from configuration on.
    `length`: it is ready for sequences of so many samples, too, and needs no host at all.

    Raises, before any work, ValueError for an unknown interface, a module name that Verilog does
    not take, a length that the program cannot have or a folder with other files, and OSError for
    one that cannot be written; after a failure the folder is as it was.
    """
    folder = Path(directory)
    if interface not in INTERFACES:
        raise ValueError(f"the interface must be one of {', '.join(INTERFACES)}, got {interface!r}")
    check_module(module)
    check_folder(folder)
    mapped = program.artifact.mapped
    held = preset(program.artifact, program.image, length)
    top = top_level(interface, mapped.config, mapped.timing, held)
    files = exported(interface, module, top, mapped.config, mapped.timing, held)
    summary = {
        "kind": "export",
        "echoloom": version("echoloom"),
        "interface": interface,
        "module": module,
        "length": length,
        "engine": asdict(mapped.config),
        "identity": f"{identity(mapped.config, mapped.timing):016x}",
        "mark": f"{held.presets.mark:016x}",
        "files": sorted([*files, MANIFEST]),
    }
    write_folder(folder, {**files, MANIFEST: json_bytes(summary).decode()})
    return ExportReport(
        str(folder), interface, module, tuple(summary["files"]), len(ports_of(top)),
        sum(name.startswith(f"{FOLDER}/") for name in files),
    )  # fmt: skip


def top_level(
    interface: Interface, config: EngineConfig, timing: Timing, held: Preset
) -> Component:
    """The circuit that is exported."""
    if interface == "axi":
        return AxiTop(config, timing, held.contents, held.presets)
    return StreamTop(config, timing, held.contents)


def exported(
    interface: Interface,
    module: str,
    top: Component,
    config: EngineConfig,
    timing: Timing,
    held: Preset,
) -> Mapping[str, str]:
    """The texts of the files, by their paths in the folder."""
    text = split(to_verilog(top, module), f"{module}.core.engine")
    ports, presets = ports_of(top), held.presets
    files = {
        f"{module}.v": text.verilog,
        **{f"{FOLDER}/{name}": words for name, words in text.files.items()},
        f"{module}_example.v": instantiation(module, ports, _tied(interface, presets)),
        f"{module}.core": core_file(module, sorted(text.files), interface == "axi"),
        f"{module}.vlt": waivers(module),
        "ports.md": _page(interface, module, ports),
    }
    if interface == "axi":
        files[HEADER] = c_header(config, identity(config, timing), presets.mark)
    return files


def _tied(interface: Interface, presets: Any) -> dict[str, int]:
    """Ports that the example ties, because the program says what they are."""
    if interface == "axi":
        return {}
    return {"output_words": presets.output_words, "self_start": int(presets.self_start)}


def _page(interface: Interface, module: str, ports: tuple[Port, ...]) -> str:
    page = f"# {module}: ports\n\n{port_table(ports)}"
    return page + (f"\n# Registers\n\n{register_table()}" if interface == "axi" else "")
