"""What memories take of a chip: the rule against what yosys made of the same memories."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given
from hypothesis import strategies as st

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.toolrun import run_tool
from echoloom.backends.bitstream.verilog import to_rtlil
from echoloom.hdl.pipeline import memory
from echoloom.ir.blocks import CHIPS

# What yosys 0.70 maps memories to, by (bits, words): one read port, one write port.
RECORDED = {
    "ecp5-85k": {
        (18, 1815): ("DP16KD", 2), (18, 7251): ("DP16KD", 8), (28, 1645): ("DP16KD", 4),
        (28, 528): ("DP16KD", 2), (28, 512): ("DP16KD", 1), (28, 1092): ("DP16KD", 3),
        (28, 2180): ("DP16KD", 5), (28, 6580): ("DP16KD", 14), (54, 1853): ("DP16KD", 6),
        (45, 1853): ("DP16KD", 5), (54, 928): ("DP16KD", 3), (54, 7409): ("DP16KD", 24),
        (45, 7409): ("DP16KD", 20), (46, 1536): ("DP16KD", 5), (46, 1024): ("DP16KD", 3),
        (36, 1081): ("DP16KD", 3), (36, 545): ("DP16KD", 2), (6, 384): ("DP16KD", 1),
        (6, 112): ("TRELLIS_DPR16X4", 14), (28, 32): ("TRELLIS_DPR16X4", 14),
        (28, 64): ("DP16KD", 1),
    },
    "up5k": {
        (18, 1815): ("SB_RAM40_4K", 9), (28, 415): ("SB_RAM40_4K", 4),
        (36, 545): ("SB_RAM40_4K", 7), (54, 16): ("SB_RAM40_4K", 4), (54, 4): (None, 216),
    },
    "gw2a-18": {
        (18, 1815): ("SDPB", 2), (45, 1853): ("SDPB", 5), (46, 1536): ("SDPB", 5),
        (6, 384): ("SDPB", 1), (6, 192): ("RAM16SDP4", 24),
    },
}  # fmt: skip
CASES = [(chip, *key, *cells) for chip, own in RECORDED.items() for key, cells in own.items()]
# The cells' names before technology mapping, by chip.
LIBRARIES = {
    "ecp5-85k": "-lib +/lattice/brams_16kd.txt -lib +/lattice/lutrams_trellis.txt",
    "up5k": "-lib +/ice40/brams.txt",
    "gw2a-18": "-lib +/gowin/brams.txt -lib +/gowin/lutrams.txt",
}


@pytest.mark.parametrize(("chip", "width", "depth", "kind", "count"), CASES)
def test_a_memory_takes_what_yosys_gave_it(
    chip: str, width: int, depth: int, kind: str | None, count: int
) -> None:
    cells = CHIPS[chip].cells(width, depth)
    assert (cells.ram.name if cells.ram else None, cells.count) == (kind, count)
    assert CHIPS[chip].blocks_of(cells) == (count if kind == CHIPS[chip].block.name else 0)


@given(st.sampled_from(list(CHIPS.values())), st.integers(1, 80), st.integers(300, 9000))
def test_blocks_hold_the_memory(chip, width: int, depth: int) -> None:
    """They have room for its bits, and more words never take fewer."""
    blocks, twice = (chip.blocks_of(chip.cells(width, words)) for words in (depth, 2 * depth))
    bits = max(words * own for words, own in chip.block.shapes)
    if blocks:
        assert width * depth <= blocks * bits
        assert blocks <= twice <= 2 * blocks + 1


@given(st.sampled_from(list(CHIPS.values())), st.integers(1, 80), st.integers(1, 9000))
def test_what_is_read_at_once_is_in_no_block(chip, width: int, depth: int) -> None:
    cells = chip.cells(width, depth, at_once=True)
    assert chip.blocks_of(cells) == 0 and (cells.ram is not None or cells.count == width * depth)


class Plain(wiring.Component):
    """A memory alone."""

    def __init__(self, width: int, depth: int) -> None:
        self._width, self._depth = width, depth
        address = (depth - 1).bit_length()
        super().__init__(
            {
                "to": In(address),
                "word": In(width),
                "en": In(1),
                "at": In(address),
                "out": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = store = memory(unsigned(self._width), self._depth)
        write, read = store.write_port(), store.read_port()
        m.d.comb += [write.addr.eq(self.to), write.data.eq(self.word), write.en.eq(self.en)]
        m.d.comb += [read.addr.eq(self.at), self.out.eq(read.data)]
        return m


@pytest.mark.parametrize("chip", RECORDED)
def test_the_record_is_what_yosys_says(chip: str, tmp_path: Path) -> None:
    script = []
    for width, depth in RECORDED[chip]:
        name = f"m_{width}_{depth}"
        (tmp_path / f"{name}.il").write_text(to_rtlil(Plain(width, depth), name))
        script.append(
            f"design -reset; read_rtlil {name}.il; hierarchy -top {name}; proc; "
            # The schedule excludes collisions, so no logic is built for them.
            "setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2; flatten; opt -full; memory -nomap; "
            f"memory_libmap {LIBRARIES[chip]}; tee -q -a found.txt stat"
        )
    (tmp_path / "run.ys").write_text("\n".join(script))
    run_tool(tools.yosys(), ["-q", "run.ys"], tmp_path, tmp_path / "yosys.log")
    for part in (tmp_path / "found.txt").read_text().split("=== m_")[1:]:
        width, depth = map(int, part.split()[0].split("_"))
        found = sum(int(n) for n in re.findall(r"(\d+)\s+\$__", part))
        kind, count = RECORDED[chip][width, depth]
        assert found == (count if kind else 0), (width, depth)
