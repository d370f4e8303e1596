"""Verilog whose memories begin with files: `$readmemh` in place of a statement for every word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

FOLDER = "memory"  # where the files lie, seen from where the tools run

# A memory as yosys writes it: its declaration, and a block with a statement for every word.
MEMORY = re.compile(
    r"^  reg (?P<width>\[\d+:0\] |)(?P<name>\S+|\\\S+ ) \[(?P<top>\d+):0\];\n"
    r"  initial begin\n(?P<words>(?:    .*\n)+?)  end\n",
    re.MULTILINE,
)
MODULE = re.compile(r"^module \\?([\w.$]+)", re.MULTILINE)
WORD = re.compile(r"= (?P<bits>\d+)'(?P<base>[hd])(?P<digits>[0-9a-f]+);")
BASES = {"h": 16, "d": 10}  # yosys writes words of 32 bits in decimal


@dataclass(frozen=True)
class Split:
    """Verilog, and the files of its memories by their names in FOLDER."""

    verilog: str
    files: Mapping[str, str]


def split(verilog: str, prefix: str) -> Split:
    """Give every memory that holds anything a file of hexadecimal words, one a line, and clear the
    others in a loop. A file is called for its module, without `prefix`, and its memory."""
    files: dict[str, str] = {}
    modules = [(found.start(), found[1]) for found in MODULE.finditer(verilog)]

    def begun(found: re.Match[str]) -> str:
        module = max((at, name) for at, name in modules if at < found.start())[1]
        name, words = found["name"], [_hex(word) for word in WORD.finditer(found["words"])]
        if len(words) != int(found["top"]) + 1:
            raise AssertionError(f"memory {name} of {module} is not written as expected")
        declared = f"  reg {found['width']}{name} [{found['top']}:0];\n"
        if not any(word.strip("0") for word in words):
            return declared + _cleared(name, len(words))
        path = module.removeprefix(prefix).lstrip(".").replace(".", "_")
        file = f"{path}_{re.sub(r'[^a-z0-9_]', '', name)}.hex"
        assert file not in files
        files[file] = "\n".join(words) + "\n"
        return declared + f'  initial $readmemh("{FOLDER}/{file}", {name});\n'

    return Split(MEMORY.sub(begun, verilog), files)


def _hex(word: re.Match[str]) -> str:
    """All digits of a word."""
    return f"{int(word['digits'], BASES[word['base']]):0{-(-int(word['bits']) // 4)}x}"


def _cleared(name: str, depth: int) -> str:
    word = f"clear_{re.sub(r'[^a-z0-9_]', '', name)}"
    return (
        f"  initial begin : {word}\n"
        "    integer i;\n"
        f"    for (i = 0; i < {depth}; i = i + 1) {name}[i] = 0;\n"
        "  end\n"
    )
