"""A component's circuit as terms: Yosys' netlist of it, cycle after cycle.

Registers begin with any content and inputs are any in every cycle, so what is proven of one stretch
of cycles holds at any time, whatever came before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import bitwuzla as smt
from amaranth.lib.wiring import Component

from echoloom.backends.bitstream.toolrun import run_tool
from echoloom.backends.bitstream.tools import yosys
from echoloom.backends.bitstream.verilog import to_rtlil
from echoloom.backends.prove.words import BITS, Term, Words
from echoloom.frontend.data.work_folders import work_folder

TOP = "top"
Claims = Iterator[tuple[str, Term, list[Term]]]  # in words, as a term, and what is given


@dataclass(frozen=True)
class Circuit:
    """A component in cycles 0 to `cycles`. `rules` are what one cycle makes of the one before."""

    words: Words
    parser: smt.Parser
    cycles: int
    rules: tuple[Term, ...] = field(default=())

    def bit(self, name: str, cycle: int) -> Term:
        """A signal of one bit, as a truth value."""
        return self.parser.parse_term(f"(|{TOP}_n {name}| s{cycle})")

    def word(self, name: str, cycle: int, signed: bool = True) -> Term:
        """A signal as a word of 64 bits."""
        own = self.parser.parse_term(f"(|{TOP}_n {name}| s{cycle})")
        if own.sort().is_bool():
            return self.words.make(smt.Kind.ITE, own, self.words.number(1), self.words.number(0))
        kind = smt.Kind.BV_SIGN_EXTEND if signed else smt.Kind.BV_ZERO_EXTEND
        return self.words.make(kind, own, at=(BITS - own.sort().bv_size(),))


def circuit(words: Words, component: Component, cycles: int, cut: Sequence[str] = ()) -> Circuit:
    """A component's circuit in `cycles` + 1 cycles, without its submodules `cut`, whose outputs may
    be anything.

    Raises ToolMissing and BuildFailed.
    """
    parser = smt.Parser(words.terms, smt.Options())
    states = "".join(f"(declare-const s{k} |{TOP}_s|)\n" for k in range(cycles + 1))
    netlist = _netlist(component, cut)
    parser.parse(netlist + states, True, False)
    rules = [parser.parse_term(rule) for rule in _rules(netlist, cycles)]
    return Circuit(words, parser, cycles, tuple(rules))


def _rules(netlist: str, cycles: int) -> Iterator[str]:
    for k in range(cycles):
        yield f"(|{TOP}_t| s{k} s{k + 1})"
    # A circuit without registers has no reset.
    for k in range(cycles + 1 if f"|{TOP}_n rst|" in netlist else 0):
        yield f"(not (|{TOP}_n rst| s{k}))"


def _netlist(component: Component, cut: Sequence[str]) -> str:
    """SMT-LIB text of the circuit, its registers as one word."""
    with work_folder("proof") as folder:
        (folder / "top.il").write_text(to_rtlil(component, TOP))
        steps = [
            "read_rtlil top.il", f"hierarchy -top {TOP}", "proc",
            *(f"cutpoint {TOP}/{part}" for part in cut),
            "delete */t:$memwr_v2 */t:$meminit_v2 */m:*",
            # What feeds a part that is cut out would be dropped with it.
            *([f"setattr -set keep 1 {TOP}/w:*"] if cut else []),
            "flatten", "opt -full", "dffunmap", "opt_clean", "write_smt2 -wires -stbv top.smt2",
        ]  # fmt: skip
        run_tool(yosys(), ["-p", "; ".join(steps)], folder, folder / "yosys.log")
        return (folder / "top.smt2").read_text()
