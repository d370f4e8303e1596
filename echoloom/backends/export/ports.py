"""The port list of an exported top level, as a page and as an instantiation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Shape
from amaranth.lib.wiring import Component, In

STREAMED = "the handshake of its stream"

TEXTS = {
    "aclk": "clock of everything",
    "aresetn": "reset, active low, in step with aclk; 1 where there is none",
    "s_axis_samples_tdata": "a sample's word, sign-extended; the bits above the word are ignored",
    "s_axis_samples_tvalid": STREAMED,
    "s_axis_samples_tready": STREAMED,
    "m_axis_outputs_tdata": "an output's word, sign-extended",
    "m_axis_outputs_tvalid": STREAMED,
    "m_axis_outputs_tready": STREAMED,
    "m_axis_outputs_tlast": "the last output of a packet",
    "clear": "as the bit RESET: stops the engine and empties it",
    "self_start": "a forward sweep starts whenever the engine is idle and a frame waits",
    "output_words": "every so many outputs TLAST is high; 0: never",
    "busy": "a sweep runs",
    "done": "the last sweep is over; the next one's start clears it",
    "request_valid": STREAMED,
    "request_ready": STREAMED,
    "request_write": "1: a write, 0: a read, which is answered by a response",
    "request_space": "which memory; 0: the registers",
    "request_lane": "lane, drain or column",
    "request_address": "of the word",
    "request_data": "the word, of a write",
    "response_valid": STREAMED,
    "response_ready": STREAMED,
    "response_data": "the word that a read asked for; signed ones are sign-extended",
    "s_axi_awaddr": "AXI4-Lite: byte address of a write",
    "s_axi_awprot": "ignored",
    "s_axi_awvalid": STREAMED,
    "s_axi_awready": STREAMED,
    "s_axi_wdata": "AXI4-Lite: the word of a write",
    "s_axi_wstrb": "all four, or the write is refused (none: it does nothing)",
    "s_axi_wvalid": STREAMED,
    "s_axi_wready": STREAMED,
    "s_axi_bresp": "0 OKAY, 2 SLVERR: the register table has no such write",
    "s_axi_bvalid": STREAMED,
    "s_axi_bready": STREAMED,
    "s_axi_araddr": "AXI4-Lite: byte address of a read",
    "s_axi_arprot": "ignored",
    "s_axi_arvalid": STREAMED,
    "s_axi_arready": STREAMED,
    "s_axi_rdata": "AXI4-Lite: the word that was read",
    "s_axi_rresp": "0 OKAY, 2 SLVERR: the register table has no such read",
    "s_axi_rvalid": STREAMED,
    "s_axi_rready": STREAMED,
    "interrupt": "high while the last sweep is over, if the register CONTROL allows it",
}


@dataclass(frozen=True)
class Port:
    """A port of the top level, `bits` wide."""

    name: str
    inward: bool
    bits: int
    text: str

    @property
    def range(self) -> str:
        """As Verilog declares it."""
        return f"[{self.bits - 1}:0] " if self.bits > 1 else ""


def ports_of(top: Component) -> tuple[Port, ...]:
    """The ports of a flat top level, in the order in which it lists them."""
    return tuple(
        Port(name, member.flow is In, Shape.cast(member.shape).width, TEXTS[name])
        for name, member in top.signature.members.items()
    )


def port_table(ports: tuple[Port, ...]) -> str:
    """The ports as a table in Markdown."""
    rows = [
        f"| `{p.name}` | {'in' if p.inward else 'out'} | {p.bits} | {p.text} |\n" for p in ports
    ]
    return "| port | direction | bits | |\n|---|---|---|---|\n" + "".join(rows)


def instantiation(module: str, ports: tuple[Port, ...], tied: Mapping[str, int]) -> str:
    """A Verilog module that has an instance of the exported one; `tied` ports get a number, all
    others are its own."""
    outside = [p for p in ports if p.name not in tied]
    declared = ",\n".join(
        f"    {'input ' if p.inward else 'output'} wire {p.range}{p.name}" for p in outside
    )
    connected = ",\n".join(
        f"        .{p.name}({_literal(p, tied[p.name]) if p.name in tied else p.name})"
        for p in ports
    )
    return (
        f"// How {module} is instantiated. Inputs that a system does not use may be tied to 0\n"
        "// (aresetn to 1), outputs may stay open.\n"
        f"module {module}_example (\n{declared}\n);\n\n"
        f"    {module} engine (\n{connected}\n    );\n\n"
        "endmodule\n"
    )


def _literal(port: Port, value: int) -> str:
    return f"{port.bits}'d{value}"
