"""The AXI4-Lite registers: the one description from which circuit, C header and page are made."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from echoloom.ir.contract import Register
from echoloom.ir.entry_layouts import ADDRESS_BITS, LANE_BITS
from echoloom.ir.flags import Flag

WORD_BYTES = 4  # of the AXI bus
ADDRESS_WIDTH = 12  # of the byte address, the smallest region that interconnects give
MAGIC = 0x454C  # "EL"
MAP_VERSION = 2  # changes with anything below
ENGINE_BASE = 0x80  # where the engine's own registers begin, 8 bytes each


class Own(enum.IntEnum):
    """Byte offsets of the registers that answer at once; the last two pairs are 64 bits wide."""

    VERSION = 0x00
    LANES = 0x04
    DRAINS = 0x08
    WORD = 0x0C
    IDENTITY_LOW = 0x10
    IDENTITY_HIGH = 0x14
    MARK_LOW = 0x18
    MARK_HIGH = 0x1C
    CONTROL = 0x20
    STATUS = 0x24
    OUTPUT_WORDS = 0x28
    TARGET = 0x30
    DATA_LOW = 0x38
    DATA_HIGH = 0x3C


class Access(enum.Enum):
    """What a host may do with a register; anything else is answered with SLVERR."""

    READ = "read"
    BOTH = "read and write"


@dataclass(frozen=True)
class Field:
    """Bits of a register, from `low` on."""

    name: str
    low: int
    bits: int
    text: str

    @property
    def mask(self) -> int:
        """Its bits, where they are."""
        return (1 << self.bits) - 1 << self.low


@dataclass(frozen=True)
class Entry:
    """One register of 32 bits."""

    name: str
    offset: int
    access: Access
    text: str
    fields: tuple[Field, ...] = ()


RESET = Field(
    "RESET", 0, 1, "write 1: stop the engine, empty it, and take its registers and sections "
    "back to what was exported; reads as 1 while that lasts (64 cycles)",
)  # fmt: skip
SELF_START = Field(
    "SELF_START", 1, 1, "a forward sweep starts whenever the engine is idle and a frame waits"
)
INTERRUPT = Field("INTERRUPT", 2, 1, "the port interrupt is high while DONE is")
CONTROL = (RESET, SELF_START, INTERRUPT)

BUSY = Field("BUSY", 0, 1, "a sweep runs")
DONE = Field("DONE", 1, 1, "the last sweep is over; the next COMMAND clears it")
FRAME = Field("FRAME", 2, 1, "an input frame is complete that no sweep took yet")
OUTPUT = Field("OUTPUT", 3, 1, "an output is offered")
STATUS = (BUSY, DONE, FRAME, OUTPUT)

ADDRESS = Field("ADDRESS", 0, ADDRESS_BITS, "of the word in its memory")
LANE = Field("LANE", 16, LANE_BITS, "lane, drain or column")
SPACE = Field("SPACE", 24, 4, "which memory")
TARGET = (ADDRESS, LANE, SPACE)

_OWN = (
    Entry("VERSION", Own.VERSION, Access.READ, "0x454C, then the version of this table"),
    Entry("LANES", Own.LANES, Access.READ, "multipliers of the engine"),
    Entry("DRAINS", Own.DRAINS, Access.READ, "drains of the engine"),
    Entry("WORD", Own.WORD, Access.READ, "bits of a sample and of an output"),
    Entry("IDENTITY_LOW", Own.IDENTITY_LOW, Access.READ,
          "what tells engines of different sizes apart"),
    Entry("IDENTITY_HIGH", Own.IDENTITY_HIGH, Access.READ, "its upper half"),
    Entry("MARK_LOW", Own.MARK_LOW, Access.BOTH,
          "what is loaded, for the host to say; no reset changes it"),
    Entry("MARK_HIGH", Own.MARK_HIGH, Access.BOTH, "its upper half"),
    Entry("CONTROL", Own.CONTROL, Access.BOTH, "", CONTROL),
    Entry("STATUS", Own.STATUS, Access.READ, "", STATUS),
    Entry("OUTPUT_WORDS", Own.OUTPUT_WORDS, Access.BOTH,
          "TLAST marks every so many outputs; 0: none"),
    Entry("TARGET", Own.TARGET, Access.BOTH,
          "the engine's word that DATA means; ADDRESS counts up with every DATA_LOW", TARGET),
    Entry("DATA_LOW", Own.DATA_LOW, Access.BOTH, "the word at TARGET"),
    Entry("DATA_HIGH", Own.DATA_HIGH, Access.BOTH, "its upper half"),
)  # fmt: skip

_ENGINE_TEXT = {
    Register.COMMAND: "write 1: forward sweep, 2: echo, 3: forward from the present state; in "
    "engines that learn 4: echo whose sums go on, 5: SCAN, 6: UPDATE; ignored while BUSY",
    Register.STATUS: "bit 0 busy, bit 1 done",
    Register.FLAGS: "overflows of the last pass: "
    + ", ".join(f"{flag.value} {flag.name}" for flag in Flag),
    Register.LENGTH: "time steps of a sweep",
    Register.OUTPUT_STEP: "of which every n-th gives outputs",
    Register.FRAME: "samples of a time step",
    Register.SHIFT_LENGTH: "a shift that the host computes from LENGTH",
    Register.PEAK: "the shift that the last SCAN found; 0 in engines that do not learn",
    Register.CYCLES: "clock cycles of the last sweep but for waits",
    Register.STALLS: "clock cycles that it waited",
    Register.BUSY: "useful products in it",
    Register.OUTPUT_PHASE: "steps since the last one that gave an output, before a forward sweep",
    Register.WEIGHT_ROW: "first weight word of a SCAN or UPDATE, in engines that learn",
    Register.GRADIENT_ROW: "first sum of a SCAN or UPDATE, in engines that learn",
    Register.CLAMPED: "weights that the last UPDATE clamped, in engines that learn",
}

COUNTED = (
    Register.STATUS,
    Register.FLAGS,
    Register.PEAK,
    Register.CYCLES,
    Register.STALLS,
    Register.BUSY,
    Register.CLAMPED,
)


def engine_offset(register: Register) -> int:
    """Byte offset of the lower half of one of the engine's registers; the upper half is next."""
    return ENGINE_BASE + 2 * WORD_BYTES * register


def _engine(register: Register) -> tuple[Entry, Entry]:
    name, offset = f"ENGINE_{register.name}", engine_offset(register)
    access = Access.READ if register in COUNTED else Access.BOTH
    return (
        Entry(f"{name}_LOW", offset, access, _ENGINE_TEXT.get(register, "")),
        Entry(f"{name}_HIGH", offset + WORD_BYTES, access, "its upper half"),
    )


REGISTERS: tuple[Entry, ...] = (*_OWN, *(half for at in Register for half in _engine(at)))
