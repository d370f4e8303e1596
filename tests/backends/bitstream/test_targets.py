"""The boards' pins, their PLLs' clocks, and how a routed design gets its clock."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from echoloom.backends.bitstream.targets import ecp5
from echoloom.backends.bitstream.targets.boards import BOARDS, find_board
from echoloom.backends.bitstream.targets.ecp5 import ULX3S_85F, clocks, dividers
from echoloom.hdl.board import BAUD
from echoloom.hdl.uart import divisor_for

EACH_BOARD = pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)


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


def test_highest_clock_below_a_limit():
    """Of any limit the right one: no clock lies between it and the limit."""
    known = sorted(ecp5_clocks(25))
    assert ULX3S_85F.clock_below(float(known[0]) - 1e-3) is None
    for lower, upper in itertools.pairwise(known):
        for part in (0, Fraction(1, 3), Fraction(999, 1000)):
            assert ULX3S_85F.clock_below(float(lower + part * (upper - lower))) == float(lower)
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
