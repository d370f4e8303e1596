"""The export as a FuseSoC core."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from echoloom.backends.export.memory_files import FOLDER


def core_file(module: str, memories: Sequence[str], header: bool) -> str:
    """A core description (CAPI2). Memory files keep their place below where the tools run."""
    filesets = ["rtl", "memory", *(["software"] if header else [])]
    lines = [
        "CAPI=2:",
        f"name: echoloom:engine:{module}:{_version()}",
        f"description: Echoloom engine with a program, {len(memories)} memory files",
        "",
        "filesets:",
        "  rtl:",
        "    files:",
        f"      - {module}.v",
        "    file_type: verilogSource",
        "  lint:",
        "    files:",
        f"      - {module}.vlt",
        "    file_type: vlt",
        "  memory:",
        "    files:",
        *(f"      - {FOLDER}/{name}: {{copyto: {FOLDER}/{name}}}" for name in memories),
        "    file_type: user",
    ]
    if header:
        lines += [
            "  software:",
            "    files:",
            "      - echoloom.h: {is_include_file: true}",
            "    file_type: cSource",
        ]
    lines += [
        "",
        "targets:",
        "  default: &default",
        f"    filesets: [{', '.join(filesets)}]",
        f"    toplevel: {module}",
        "  lint:",
        "    <<: *default",
        "    filesets: [rtl, memory, lint]",
        "    flow: lint",
        "    flow_options:",
        "      tool: verilator",
        "      verilator_options: [-Wall]",
    ]
    return "\n".join(lines) + "\n"


def _version() -> str:
    """The package's, as FuseSoC takes it."""
    return ".".join(version("echoloom").split(".")[:3])
