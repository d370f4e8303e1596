"""What engines take of a chip: sums over their memories, what binds, and yosys' own counts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from echoloom.backends.bitstream import tools
from echoloom.backends.bitstream.flow import PREPARE
from echoloom.backends.bitstream.route import to_bitstream
from echoloom.backends.bitstream.targets.boards import find_board
from echoloom.backends.bitstream.toolrun import run_tool
from echoloom.backends.bitstream.verilog import to_rtlil
from echoloom.backends.chips.resources import (
    BLOCKS,
    MULTIPLIERS,
    chip_of,
    lacking,
    link_sizes,
    resources,
)
from echoloom.hdl.board import BoardTop
from echoloom.ir.blocks import CHIPS
from echoloom.ir.contract import EngineConfig, Timing

ULX3S_85F = find_board("ulx3s-85f")

ECP5 = CHIPS["ecp5-85k"]
# Deep enough for block RAM everywhere, with depths that are no powers of two.
SMALL = EngineConfig(
    3, 3, weight_depth=1280, vector_depth=768, gradient_depth=1280, table_depth=1536,
    exponent_depth=384, mac_depth=768, drain_depth=512, frame_depth=16, output_depth=4,
    base_depth=144, section_cycles=4095, run=127,
)  # fmt: skip


def test_usage_is_the_sum_over_memories() -> None:
    found = resources(SMALL, ECP5)
    assert found.usage[BLOCKS].used == sum(stored.blocks for stored in found.memories)
    assert sum(found.blocks_by_memory().values()) == found.usage[BLOCKS].used
    gradients = next(s for s in found.memories if s.bank.name == "gradients")
    assert (gradients.bank.width, gradients.bank.copies, gradients.blocks) == (54, 3, 15)
    assert found.largest == "gradients" and found.fits


def test_narrower_gradient_words_take_fewer_blocks() -> None:
    deep = replace(SMALL, gradient_depth=2048)
    blocks = [
        resources(replace(deep, gradient=bits), ECP5).blocks_by_memory()["gradients"]
        for bits in (54, 45, 36)
    ]
    assert blocks == [18, 15, 12]


def test_two_drains_share_a_table() -> None:
    """A block RAM's two ports serve both, in words of 18 bits at most; a third has its own."""
    blocks = [
        resources(replace(SMALL, drains=drains), ECP5).blocks_by_memory()["tables"]
        for drains in (1, 2, 3)
    ]
    assert blocks == [5, 6, 11]
    alone = replace(SMALL, drains=2)
    assert resources(alone, CHIPS["up5k"]).blocks_by_memory()["tables"] == 2 * 18


def test_a_table_of_one_drain_is_in_single_port_ram_where_there_is_some() -> None:
    """It has one address for reading and writing."""
    chip = CHIPS["up5k"]
    tables = {s.bank.name: s for s in resources(replace(SMALL, drains=1), chip).memories}["tables"]
    assert (tables.kind, tables.single_ports, tables.blocks) == ("single port RAM", 3, 0)
    wide = replace(SMALL, drains=1, word=47)  # 65 bits with a weight: five of four
    assert resources(wide, chip).blocks_by_memory()["tables"] > 0
    assert resources(replace(SMALL, drains=1), ECP5).blocks_by_memory()["tables"] == 5


def test_what_is_lacking_in_words() -> None:
    assert lacking(SMALL, ECP5) == []
    found = resources(SMALL, CHIPS["up5k"])
    assert lacking(SMALL, CHIPS["up5k"]) == [
        f"{found.usage[BLOCKS].used} block RAM of 30, most of it {found.largest}",
        "24 multipliers of 8",
    ]
    logic = lacking(SMALL, CHIPS["hx8k"])  # has no multipliers: LUTs make products
    assert len(logic) == 1 and "multipliers" not in logic[0]


def test_what_cannot_fit_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        to_bitstream(SMALL, Timing(), "icebreaker", tmp_path / "out")
    assert str(caught.value).startswith(
        "the program does not fit icebreaker: its engine of 3 lanes takes "
    )
    assert "24 multipliers of 8" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_binds_is_what_is_scarcest() -> None:
    many = replace(SMALL, lanes=64, drains=16, weight_depth=256, gradient_depth=256)
    found = resources(many, ECP5)
    assert found.usage[MULTIPLIERS].used == 2 * (64 + 16) and not found.fits
    assert found.binding == BLOCKS
    roomy = replace(ECP5, blocks=10_000)
    assert resources(many, roomy).binding == MULTIPLIERS
    # 28 x 18 bits on 16 x 16 multipliers: two by two.
    assert resources(SMALL, CHIPS["up5k"]).usage[MULTIPLIERS].used == 4 * (3 + 3)


def test_a_link_to_an_engine_that_learns_has_a_list() -> None:
    """As long as the chip has room for."""
    learns = replace(SMALL, learns=True)
    assert "link updates" not in resources(SMALL, ECP5).blocks_by_memory()
    for chip, listed, blocks in ((ECP5, 1024, 4), (CHIPS["up5k"], 256, 4)):
        sizes = link_sizes(learns, chip)
        assert sizes.listed == listed
        assert resources(learns, chip, sizes).blocks_by_memory()["link updates"] == blocks


def test_a_chip_that_is_not_known() -> None:
    with pytest.raises(
        ValueError, match=r"the memories of 'abacus' are not known; known: .*ecp5-85k"
    ):
        chip_of("abacus")


def test_a_synthesised_engine_has_what_is_estimated(tmp_path: Path) -> None:
    top = BoardTop(ULX3S_85F, SMALL, Timing())
    (tmp_path / "top.il").write_text(to_rtlil(top, "top"))
    mapped = "synth_ecp5 -top top -run begin:map_ffram"
    script = "; ".join((*PREPARE, mapped, "tee -q -o stat.txt stat"))
    run_tool(tools.yosys(), ["-q", "-p", script], tmp_path, tmp_path / "yosys.log")
    whole = (tmp_path / "stat.txt").read_text().split("design hierarchy")[-1]
    counted = {name: int(n) for n, name in re.findall(r"(\d+)\s+(DP16KD|MULT18X18D)\b", whole)}
    found = resources(SMALL, ECP5)
    assert counted == {
        "DP16KD": found.usage[BLOCKS].used,
        "MULT18X18D": found.usage[MULTIPLIERS].used,
    }


def test_small_chips_do_not_sum_up_their_memories():
    """Unless they are asked to: 250 LUTs are more than an iCE40 has to spare."""
    config = EngineConfig(lanes=1, drains=1)
    for name, chip in CHIPS.items():
        assert link_sizes(config, chip).checks is (name not in ("up5k", "hx8k"))
        assert link_sizes(config, chip, checks=True).checks
        assert not link_sizes(config, chip, samples=256, checks=False).checks
