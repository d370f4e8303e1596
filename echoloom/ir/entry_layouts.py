"""Which fields an engine's instructions have, how wide, and what the host bus can name."""

from __future__ import annotations

from collections.abc import Mapping

# field -> bits, least significant first. Fields that a size of the engine bounds are as wide as an
# engine of the sizes below asks for; `ir.fields` has those of any engine.
MAC_LAYOUT: Mapping[str, int] = {
    "start": 14, "stage": 2, "inner": 11, "outer": 7, "destination": 2,
    "clear": 1, "push": 1, "slot": 3,
    "narrow": 2, "wide": 1, "load_gradient": 1,
    "w_base": 13, "w_inner": 11, "w_outer": 11,
    "x_mode": 2, "x_base": 11, "x_bank": 7, "x_step": 1,
    "y_base": 11, "y_step": 1,
    "g_base": 13, "lanes": 7,
}  # fmt: skip

DRAIN_LAYOUT: Mapping[str, int] = {
    "start": 14, "stage": 2, "tree": 1, "slot": 3, "count": 7, "destination": 11, "base": 11,
    "add": 2,
    "shift": 6, "dynamic": 2, "use_exponents": 1, "exponents": 10,
    "width": 6, "overflow": 1,
    "use_table": 1, "table": 13, "segment_bits": 4, "fraction_bits": 5, "slope_shift": 6,
}  # fmt: skip

# What a drain's entry says beside these in an engine that learns.
LEARNING_LAYOUT: Mapping[str, int] = {"to_weight": 1, "report": 2}

SECTION_LAYOUT: Mapping[str, int] = {"mac": 12, "drain": 12, "length": 14, "last": 14,
                                     "overlap": 2}  # fmt: skip

STAGES = 1 << MAC_LAYOUT["stage"]  # time steps that a step section can have in flight

NEVER = (1 << MAC_LAYOUT["start"]) - 1  # start time of the entry that ends a stream, at least

# What the host bus can name.
LANE_BITS, ADDRESS_BITS = 8, 16
MOST_LANES, MOST_WORDS = 1 << LANE_BITS, 1 << ADDRESS_BITS
# Bits of a program entry that one access carries. Each column is a memory of its own, and block RAM
# comes in parts of 9, 18 and 36 bits.
COLUMN_BITS = 36
