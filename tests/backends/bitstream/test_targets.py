"""The boards' pins, their PLLs' clocks, and how a routed design gets its clock."""

from __future__ import annotations

import contextlib
import itertools
import json
from fractions import Fraction

import pytest
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from echoloom.backends.bitstream.flow import Flow
from echoloom.backends.bitstream.targets import ecp5, gowin, ice40
from echoloom.backends.bitstream.targets.boards import BOARDS, find_board
from echoloom.backends.bitstream.targets.ecp5 import clocks, dividers
from echoloom.backends.bitstream.targets.target import Toolchain
from echoloom.backends.bitstream.toolrun import BuildFailed
from echoloom.backends.bitstream.tools import Tool
from echoloom.hdl.board import BAUD, BOARD_CLOCK, ENGINE_CLOCK
from echoloom.hdl.uart import UartTransmitter, divisor_for

ULX3S_85F, TANG_NANO_20K, ICE40_HX8K = map(
    find_board, ("ulx3s-85f", "tang-nano-20k", "ice40-hx8k-evn")
)
EACH_BOARD = pytest.mark.parametrize(
    "board", [find_board(name) for name in BOARDS], ids=lambda board: board.name
)


@EACH_BOARD
def test_every_pin_is_used_once(board):
    sites = [site for site, _ in board.pins.values()]
    assert len(set(sites)) == len(sites)
    assert {"clock", "rx", "tx"} <= set(board.pins)
    lights = sorted(int(pin[7:-1]) for pin in board.pins if pin.startswith("lights["))
    assert lights == list(range(board.lights))


@EACH_BOARD
def test_every_boards_clock_times_the_serial_line(board):
    assert divisor_for(board.clock_mhz * 1e6, BAUD) * BAUD == board.clock_mhz * 1e6


def test_find_board():
    assert find_board("ulx3s-85f") is ULX3S_85F
    with pytest.raises(ValueError, match=r"there is no board 'ulx4'; known: .*ulx3s-85f"):
        find_board("ulx4")


def ecp5_clocks(input_mhz: int) -> set[Fraction]:
    """All that a search without any shortcut finds."""
    found = set()
    oscillators = {
        Fraction(input_mhz * feedback * loop, reference)
        for reference in range(1, 129)
        if 10 <= input_mhz / reference <= 400
        for feedback in range(1, 81)
        if input_mhz * feedback / reference <= 400
        for loop in range(1, 129)
        if 400 <= input_mhz * feedback * loop / reference <= 800
    }
    for oscillator in oscillators:
        found |= {oscillator / post for post in range(1, 129)}
    return {mhz for mhz in found if 3.125 <= mhz <= 400 and (mhz * 1_000_000).denominator == 1}


@pytest.mark.parametrize("input_mhz", [25, 12, 50])
def test_ecp5_makes_every_clock_within_the_limits_exactly(input_mhz):
    assert set(clocks(input_mhz)) == ecp5_clocks(input_mhz)
    for clock, found in clocks(input_mhz).items():
        detector = Fraction(input_mhz, found.reference)
        oscillator = detector * found.feedback * found.loop
        assert oscillator / found.post == clock
        assert 10 <= detector <= 400 and 400 <= oscillator <= 800


def ice40_clocks(input_mhz: int) -> set[Fraction]:
    """FREF (DIVF + 1) / (DIVR + 1) / 2^DIVQ, within the limits."""
    return {
        oscillator / 2**halvings
        for reference, feedback in itertools.product(range(1, 17), range(1, 129))
        for halvings in range(1, 7)
        for oscillator in [Fraction(input_mhz * feedback, reference)]
        if 10 <= Fraction(input_mhz, reference) <= 133
        and 533 <= oscillator <= 1066
        and 16 <= oscillator / 2**halvings <= 275
    }


def gowin_clocks(input_mhz: int) -> set[Fraction]:
    """FCLKIN (FBDIV_SEL + 1) / (IDIV_SEL + 1), within the limits."""
    found = {
        clock
        for reference, feedback in itertools.product(range(1, 65), range(1, 65))
        for clock in [Fraction(input_mhz * feedback, reference)]
        if 3 <= Fraction(input_mhz, reference) <= 500
        and 3.90625 <= clock <= 625
        and any(500 <= clock * post <= 1250 for post in gowin.POSTS)
    }
    return {clock for clock in found if (clock * 1_000_000).denominator == 1}


EXHAUSTIVE = {
    ecp5.Ecp5: ecp5_clocks,
    ice40.Ice40: ice40_clocks,
    ice40.Ice40Hx: ice40_clocks,
    gowin.Gowin: gowin_clocks,
}
# One board of each family.
EACH_PLL = {type(board): board for board in (*map(find_board, BOARDS), ULX3S_85F)}


@pytest.mark.parametrize("board", list(EACH_PLL.values()), ids=lambda board: board.name)
def test_highest_clock_below_a_limit(board):
    """Of any limit the right one: no clock lies between it and the limit."""
    known = sorted(EXHAUSTIVE[type(board)](round(board.clock_mhz)))
    assert board.clock_below(float(known[0]) - 1e-3) is None
    for lower, upper in itertools.pairwise(known):
        for part in (0, Fraction(1, 3), Fraction(999, 1000)):
            assert board.clock_below(float(lower + part * (upper - lower))) == float(lower)
        board.pll(float(lower))


def test_clocks_of_known_devices():
    assert ice40.dividers(12, 30.0) == ice40.Dividers(1, 80, 5)  # as icepll gives them
    assert gowin.dividers(27, 54.0) == gowin.Dividers(1, 2, 16)
    assert ULX3S_85F.clock_below(0.9 * 111.5) == 100.0
    assert ULX3S_85F.clock_below(0.9 * 111.0) == 98.4375


def test_clock_that_the_pll_cannot_make():
    with pytest.raises(ValueError) as caught:
        dividers(25, 26.3)
    assert str(caught.value) == (
        "the PLL cannot make 26.3 MHz from 25 MHz; the nearest that it can: 26.25, 26.5 MHz"
    )


def test_ecp5_file_gets_its_pll_set(tmp_path):
    file = tmp_path / "top.config"
    words = "CLKI_DIV 0000000|CLKFB_DIV 0000000|CLKOP_DIV 0010111|CLKOP_CPHASE 0001100"
    words += "|CLKOS_DIV 0000101|CLKOS_CPHASE 0000011"
    before = "".join(f"word: {word}\n" for word in words.split("|"))
    file.write_text(f".tile_group X\n{before}enum: MODE EHXPLLL\n")
    assert ULX3S_85F.retune(file, 98.4375)
    found = dividers(25, 98.4375)
    assert file.read_text() == (
        f".tile_group X\n"
        f"word: CLKI_DIV {found.reference - 1:07b}\n"
        f"word: CLKFB_DIV {found.feedback - 1:07b}\n"
        f"word: CLKOP_DIV {found.loop - 1:07b}\n"
        f"word: CLKOP_CPHASE {found.loop // 2:07b}\n"
        f"word: CLKOS_DIV {found.post - 1:07b}\n"
        f"word: CLKOS_CPHASE {found.post // 2:07b}\n"
        "enum: MODE EHXPLLL\n"
    )
    assert ULX3S_85F.retune(file, 100.0)
    assert file.read_text() == f".tile_group X\n{before}enum: MODE EHXPLLL\n"
    file.write_text(before + before)
    with pytest.raises(ValueError, match=r"top.config has 2 words CLKI_DIV, not one"):
        ULX3S_85F.retune(file, 100.0)
    assert file.read_text() == before + before
    assert ecp5.settings(dividers(25, 100))["CLKOS_DIV"] == 6


def test_gowin_file_gets_its_pll_set(tmp_path):
    file = tmp_path / "top.json"
    pll = {"type": "rPLL", "parameters": {"FCLKIN": "27", **dict.fromkeys(("IDIV_SEL",), "0")}}
    design = {"modules": {"top": {"cells": {"pll.primitive": pll, "x": {"type": "LUT4"}}}}}
    file.write_text(json.dumps(design))
    assert TANG_NANO_20K.retune(file, 54.0)
    cells = json.loads(file.read_text())["modules"]["top"]["cells"]
    assert cells["x"] == {"type": "LUT4"}
    assert cells["pll.primitive"]["parameters"] == {
        "FCLKIN": "27",
        "IDIV_SEL": f"{0:032b}",
        "FBDIV_SEL": f"{1:032b}",
        "ODIV_SEL": f"{16:032b}",
    }
    design["modules"]["top"]["cells"]["another"] = pll
    file.write_text(json.dumps(design))
    with pytest.raises(ValueError, match=r"top.json has 2 PLLs, not one"):
        TANG_NANO_20K.retune(file, 54.0)


def test_constraints_of_each_family():
    top = wiring.Component({"clock": In(1), "rx": In(1), "tx": Out(1), "lights": Out(2)})
    asked = {BOARD_CLOCK: 12.0, ENGINE_CLOCK: 31.5}
    assert ICE40_HX8K.constraints(top, asked) == {
        "top.pcf": "set_io clock J3\nset_io rx B10\nset_io tx B12\n"
        "set_io lights[0] C3\nset_io lights[1] B3\nset_frequency clock 12\nset_frequency clk 31.5\n"
    }
    files = TANG_NANO_20K.constraints(top, asked)
    assert 'IO_LOC "lights[1]" 16;\nIO_PORT "lights[1]" IO_TYPE=LVCMOS33;\n' in files["top.cst"]
    assert files["top.sdc"] == (
        "create_clock -period 83.333333 [get_nets clock]\n"
        "create_clock -period 31.746032 [get_nets clk]\n"
        "create_clock -period 83.333333 [get_nets board_clk]\n"
    )
    odd = wiring.Component({"clock": In(1), "nowhere": Out(1)})
    for board in map(find_board, BOARDS):
        with pytest.raises(ValueError, match=f"{board.name} has no pin for the port nowhere"):
            board.constraints(odd, asked)


@EACH_BOARD
def test_only_large_chips_keep_copies_of_what_lanes_share(board, tmp_path):
    script = tmp_path / "yosys"
    script.write_text('#!/bin/sh\necho "$2" > script\necho "{\\"modules\\": {}}" > top.json\n')
    script.chmod(0o755)
    fake = Tool("yosys", script, "0")
    top = UartTransmitter(12)
    with contextlib.suppress(BuildFailed):  # a netlist without a module has nothing to finish
        Flow(board, Toolchain(fake, fake, fake), tmp_path, tmp_path).synthesise(top, {})
    commands = (tmp_path / "script").read_text()
    assert board.synthesis in commands
    assert ("-set keep_hierarchy" in commands) == isinstance(board, ecp5.Ecp5)
