"""Which of Verilator's warnings an exported engine raises, and why each is none."""

from __future__ import annotations

WAIVERS = {
    "CASEINCOMPLETE": "yosys writes a case without its default where all other bits keep the value "
    "that was assigned before it",
    "CMPCONST": "a component of general width compares with the largest number of this engine's",
    "DECLFILENAME": "one file holds all modules, in the order of the hierarchy",
    "PROCASSINIT": "registers have a value from configuration on; a system without power-up values "
    "resets the engine, which takes 64 cycles",
    "SYMRSVDWORD": "a signal inside is called by a word that C++ keeps for itself",
    "UNUSEDSIGNAL": "fields of a structure have wires of their own, for waves, and no field is "
    "left out; AXI's protection bits and the padding of a sample mean nothing here",
    "WIDTHEXPAND": "yosys leaves extensions to Verilog's rules, which are those it means",
    "WIDTHTRUNC": "likewise: `!` of a vector asks whether all of it is 0",
}


def waivers(module: str) -> str:
    """A configuration file for Verilator, `-Wall` together with which an export lints clean."""
    lines = [f"// Why `verilator -Wall` may keep silent about {module}.v.", "`verilator_config"]
    for rule, why in WAIVERS.items():
        lines += ["", f"// {why}", f'lint_off -rule {rule} -file "*{module}.v"']
    return "\n".join(lines) + "\n"
