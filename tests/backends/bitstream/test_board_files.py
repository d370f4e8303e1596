"""Boards as files: the ones that there are, what amaranth-boards says, and files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from echoloom.backends.bitstream.targets.boards import BOARDS, find_board
from echoloom.backends.bitstream.targets.ecp5 import Ecp5
from echoloom.ir.blocks import CHIPS

OWN = """
device = "ecp5-25f"
package = "CABGA256"
speed = 6
clock_mhz = 50
target_mhz = 100
host = "a USB serial adapter"

[pins]
attributes = "IO_TYPE=LVCMOS33"
clock = "M1"
rx = "K16 IO_TYPE=LVCMOS33 PULLMODE=UP"
tx = "K15"
lights = ["E13", "D14"]
"""


def described(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)


def test_a_users_own_board(tmp_path):
    board = find_board(described(tmp_path, OWN))
    assert isinstance(board, Ecp5)
    assert (board.name, board.clock_mhz, board.target_mhz) == ("mine", 50.0, 100.0)
    assert (board.device, board.package, board.speed) == ("--25k", "CABGA256", 6)
    assert board.pins == {
        "clock": ("M1", "IO_TYPE=LVCMOS33"),
        "rx": ("K16", "IO_TYPE=LVCMOS33 PULLMODE=UP"),
        "tx": ("K15", "IO_TYPE=LVCMOS33"),
        "lights[0]": ("E13", "IO_TYPE=LVCMOS33"),
        "lights[1]": ("D14", "IO_TYPE=LVCMOS33"),
    }
    assert (board.pressed, board.lit, board.host) == (1, 1, "a USB serial adapter")


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_has_a_device_whose_memories_are_known(name):
    board = find_board(name)
    assert board.name == name and board.chip in CHIPS
    assert not any(site == "-" for site, _ in board.pins.values())


def test_pins_of_the_package():
    """As its makers' constraint files have them; the files add what the package leaves out."""
    assert find_board("ulx3s-12f").pins == find_board("ulx3s-85f").pins
    pins = dict(find_board("ulx3s-85f").pins)
    lights = [pins.pop(f"lights[{i}]") for i in range(8)]
    assert [site for site, _ in lights] == ["B2", "C2", "C1", "D2", "D1", "E2", "E1", "H3"]
    assert {attributes for _, attributes in lights} == {"IO_TYPE=LVCMOS33 DRIVE=4"}
    assert pins == {
        "clock": ("G2", "IO_TYPE=LVCMOS33"),
        "rx": ("M1", "IO_TYPE=LVCMOS33 PULLMODE=UP"),
        "tx": ("L4", "IO_TYPE=LVCMOS33"),
        "button": ("R1", "IO_TYPE=LVCMOS33 PULLMODE=DOWN"),
        "stay_on": ("L2", "IO_TYPE=LVCMOS33 PULLMODE=UP"),
    }
    icebreaker = find_board("icebreaker")
    sites = {pin: site for pin, (site, _) in icebreaker.pins.items()}
    assert sites == {"clock": "35", "rx": "6", "tx": "9", "button": "10"}  # without lights
    assert (icebreaker.pressed, icebreaker.lit) == (0, 0)
    crab = find_board("orangecrab-85f")
    assert (crab.clock_mhz, crab.device, crab.pins["clock"][0]) == (48.0, "--85k", "A9")
    primer = find_board("tang-primer-20k")
    assert primer.device == "GW2A-LV18PG256C8/I7"
    assert [primer.pins[pin][0] for pin in ("clock", "rx", "tx")] == ["H11", "T13", "M11"]


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ('device = "ecp5-25f"', 'device = "ecp9"', "there is no device 'ecp9'; known: ecp5-12f"),
        ('device = "ecp5-25f"', "", "it says no device"),
        ("clock_mhz = 50", "", "it says no clock_mhz"),
        ("clock_mhz = 50", "clock_mhz = 50e6", "clock_mhz = 5e+07 is no clock of an FPGA in MHz"),
        ("clock_mhz = 50", "clock_mhz = 3.5", "a 3.5 MHz clock cannot make 1000000 baud"),
        ("speed = 6", "baud = 20_000_000", "a 50 MHz clock cannot make 20000000 baud"),
        ("speed = 6", "baud = 0", "a 50 MHz clock cannot make 0 baud"),
        ("speed = 6", "baud = -1000000", "a 50 MHz clock cannot make -1000000 baud"),
        ("speed = 6", f"baud = 1{'0' * 400}", "a 50 MHz clock cannot make 1000"),
        ("target_mhz = 100", "", "Object missing required field `target_mhz`"),
        ('rx = "K16 IO_TYPE=LVCMOS33 PULLMODE=UP"', "", "it has no pin for rx"),
        ('tx = "K15"', 'tx = "K16"', "the site K16 has several uses"),
        ('tx = "K15"', 'tx = " "', "the pin tx has no site"),
        ('tx = "K15"', 'tx = "K15"\nuart = "K1"', "unknown field `uart` - at `$.pins`"),
        ("speed = 6", 'amaranth = "ulx4s.Board"', "amaranth-boards has no 'ulx4s.Board'"),
        # Neither the second half of a name nor a function that a module has imported is a board.
        ("speed = 6", 'amaranth = "test.blinky.Blinky"', "has no board 'test.blinky.Blinky'"),
        ("speed = 6", 'amaranth = "ulx3s.Resource"', "has no board 'ulx3s.Resource'"),
        ("speed = 6", 'amaranth = "ulx3s.os.abort"', "amaranth-boards has no 'ulx3s.os.abort'"),
        ("speed = 6", 'amaranth = "..os.abort"', "amaranth-boards has no '..os.abort'"),
        ("speed = 6", "speed = " + "[" * 2000, "brackets in brackets without end"),
        ("speed = 6", "speed = " + "9" * 5000, "Exceeds the limit"),
        ("speed = 6", "speed = [", "Invalid value"),
        ("speed = 6", 'light_lit = "on"', "Invalid enum value 'on' - at `$.light_lit`"),
    ],
)
def test_a_file_that_describes_no_board(tmp_path, old, new, wrong):
    assert old in OWN
    name = described(tmp_path, OWN.replace(old, new))
    with pytest.raises(ValueError) as caught:
        find_board(name)
    said = str(caught.value)
    assert said.startswith(f"{name} describes no board: ") and wrong in said
    assert "\n" not in said


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        find_board(str(tmp_path / "none.toml"))
