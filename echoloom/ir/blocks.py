"""What a memory takes of a chip: block RAM, LUT RAM or registers, by the rule of yosys' mapping.

A block can be told to be wide and shallow or narrow and deep. A memory that is deeper than a shape
takes several rows of it, with a multiplexer behind them; its rows lie side by side in the blocks,
each rounded up to whole parts (9 bits, where a block has parity bits). The cheapest way is taken,
by the costs of cells and of the multiplexer. A test holds this against yosys itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# Of one bit, beside the costs of cells.
MULTIPLEXER, REGISTER = 0.5, 1.0
SINGLE_PORT = 16  # bits of a single port RAM's word


@dataclass(frozen=True)
class Ram:
    """A kind of memory cell: its `shapes` (depth, width), the bits that a row is rounded up to, and
    its cost, of which a cell that is not full has its share where `shared`. In shapes up to
    `read_twice` bits wide one cell serves two readers, one of which shares its port with the
    writer."""

    name: str
    shapes: tuple[tuple[int, int], ...]
    part: int
    cost: int
    shared: bool = False
    read_twice: int = 0


@dataclass(frozen=True)
class Cells:
    """What one memory takes: `count` cells of a kind, or bits in registers where that is None."""

    ram: Ram | None
    count: int


@dataclass(frozen=True)
class Chip:
    """What a chip has for memories and products. `lut_ram` is None where LUTs are no memory."""

    name: str
    block: Ram
    lut_ram: Ram | None
    blocks: int
    multipliers: int  # of 16 x 16 bits or more; where there are none, LUTs make products
    multiplier: tuple[int, int]  # the bits of its two sides
    luts: int  # of four inputs; a logic cell with its register where they come together
    single_ports: int = 0  # large RAMs with one port, for words of 16 bits

    def cells(self, width: int, depth: int, at_once: bool = False, readers: int = 1) -> Cells:
        """The cheapest for `depth` words of `width` bits that one port writes and one reads, or two
        `readers`, of which one has the writer's address. Block RAM cannot be read `at_once`, in the
        cycle of the address."""
        kinds = [ram for ram in (self.lut_ram, None if at_once else self.block) if ram is not None]
        ways = [
            (cost, Cells(ram, n)) for ram in kinds for cost, n in _ways(ram, width, depth, readers)
        ]
        ways.append((REGISTER * width * depth, Cells(None, width * depth)))
        return min(ways, key=lambda way: way[0])[1]

    def single_ports_of(self, width: int) -> int:
        """Single port RAMs for words of so many bits; 0 where there are not so many."""
        needed = -(-width // SINGLE_PORT)
        return needed if needed <= self.single_ports else 0

    def blocks_of(self, cells: Cells) -> int:
        """How many block RAMs these cells are: none where something else was cheaper."""
        return cells.count if cells.ram is self.block else 0


def _ways(ram: Ram, width: int, depth: int, readers: int) -> Iterator[tuple[float, int]]:
    """(cost, cells) in every shape."""
    for words, bits in ram.shapes:
        rows = -(-depth // words)
        part = min(ram.part, bits)
        row = -(-width // part) * part
        count = -(-rows * row // bits)
        filled = rows * width / bits if ram.shared else count
        copies = 1 if bits <= ram.read_twice else readers
        choosing = MULTIPLEXER * width * (rows - 1) * readers
        yield ram.cost * filled * copies + choosing, count * copies


_18K = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
_4K = ((256, 16), (512, 8), (1024, 4), (2048, 2))

_DP16KD = Ram("DP16KD", _18K, 9, 128, read_twice=18)
_DPR16X4 = Ram("TRELLIS_DPR16X4", ((16, 4),), 4, 4)
_RAM40 = Ram("SB_RAM40_4K", _4K, 1, 64)
_SDPB = Ram("SDPB", _18K, 9, 128, read_twice=18)
_RAM16SDP4 = Ram("RAM16SDP4", ((16, 4),), 4, 4, shared=True)

CHIPS: Mapping[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("ecp5-25k", _DP16KD, _DPR16X4, 56, multipliers=28, multiplier=(18, 18), luts=24_288),
        Chip("ecp5-45k", _DP16KD, _DPR16X4, 108, multipliers=72, multiplier=(18, 18), luts=43_848),
        Chip("ecp5-85k", _DP16KD, _DPR16X4, 208, multipliers=156, multiplier=(18, 18), luts=83_640),
        Chip(
            "up5k", _RAM40, None, 30, multipliers=8, multiplier=(16, 16), luts=5_280, single_ports=4
        ),
        Chip("hx8k", _RAM40, None, 32, multipliers=0, multiplier=(16, 16), luts=7_680),
        Chip("gw2a-18", _SDPB, _RAM16SDP4, 46, multipliers=48, multiplier=(18, 18), luts=20_736),
    )
}
