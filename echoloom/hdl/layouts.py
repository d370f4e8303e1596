"""Bit layouts and stream signatures shared by the engine's components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Out, Signature
from amaranth.utils import ceil_log2

from echoloom.ir.contract import EngineConfig
from echoloom.ir.entry_layouts import ADDRESS_BITS, DRAIN_LAYOUT, LANE_BITS
from echoloom.ir.fields import drain_fields, mac_fields, section_fields

HOST_BITS = 64


def struct(fields: Mapping[str, int]) -> data.StructLayout:
    """The hardware view of a format of `echoloom.ir.contract`: least significant field first."""
    return data.StructLayout({name: unsigned(bits) for name, bits in fields.items()})


REQUEST = struct(
    {"write": 1, "space": 4, "lane": LANE_BITS, "address": ADDRESS_BITS, "data": HOST_BITS}
)

# A decoded request, seen by every memory: `write` is a strobe, `read` is high until the answer is
# taken, the other fields hold.
ACCESS = struct(
    {
        "read": 1,
        "write": 1,
        "space": 4,
        "lane": LANE_BITS,
        "address": ADDRESS_BITS,
        "data": HOST_BITS,
    }
)

SHIFT = unsigned(6)


def mac_entry(config: EngineConfig) -> data.StructLayout:
    return struct(mac_fields(config))


def drain_entry(config: EngineConfig) -> data.StructLayout:
    return struct(drain_fields(config))


def section_entry(config: EngineConfig) -> data.StructLayout:
    return struct(section_fields(config))


def word_stream(config: EngineConfig) -> stream.Signature:
    return stream.Signature(signed(config.word))


def chunks(config: EngineConfig) -> int:
    """Chunks in which `drains` drains empty a whole slot."""
    return -(-config.lanes // config.drains)


def lane_bits(config: EngineConfig) -> int:
    return ceil_log2(config.lanes)


def pass_kind(config: EngineConfig) -> data.StructLayout:
    """What a pass is like. All zeros is a forward pass; only an engine that learns has the last
    three: a pass that `adds` is an echo whose sums go on, one by `rows` a SCAN or it `updates`."""
    learning = ("adds", "rows", "updates") if config.learns else ()
    return struct(dict.fromkeys(("echo", "resumes", *learning), 1))


def destination_bits(config: EngineConfig) -> int:
    """Of the address of the words that a drain writes, in whichever memory."""
    return ceil_log2(max(config.vector_depth, config.weight_depth if config.learns else 0))


def addresses(config: EngineConfig) -> data.StructLayout:
    """Where one MAC element reads."""
    return struct(
        {
            "weight": ceil_log2(config.weight_depth),
            "x": ceil_log2(config.vector_depth),
            "y": ceil_log2(config.vector_depth),
            "gradient": ceil_log2(config.gradient_depth),
            "frame": ceil_log2(config.frame_depth),
        }
    )


def row_addresses(config: EngineConfig) -> data.StructLayout:
    """What a pass over rows moves: where an element reads, and where a chunk's results go."""
    read = addresses(config)
    return struct(
        {
            "weight": read["weight"].width,
            "gradient": read["gradient"].width,
            "destination": destination_bits(config),
        }
    )


def operation(config: EngineConfig) -> data.StructLayout:
    """What one MAC element does; all zeros does nothing."""
    return struct(
        {
            "narrow": 2,
            "wide": 1,
            "x_mode": 2,
            "x_bank": lane_bits(config),
            "emit": 1,
            "no_product": 1,
            # The sum starts from the gradient word, the accumulator, or (neither) zero.
            "from_gradient": 1,
            "from_accumulator": 1,
            "accumulate": 1,
            "gradient": 1,
            "push": 1,
            "slot": mac_fields(config)["slot"],
            "tree": 1,
            "tree_restart": 1,
            "tree_push": 1,
            "row": lane_bits(config),
        }
    )


def chunk(config: EngineConfig) -> data.StructLayout:
    """One chunk of a drain entry: result `chunk * drains + r` goes through drain r."""
    kept = ("tree", "slot", "add", "shift", "dynamic", "use_exponents", "width", "overflow",
            "use_table", "table", "segment_bits", "fraction_bits", "slope_shift",
            "to_weight", "report")  # fmt: skip
    return struct(
        {
            "valid": config.drains,
            "chunk": ceil_log2(chunks(config)),
            "base": ceil_log2(config.bases),
            "destination": destination_bits(config),
            "exponent": ceil_log2(config.exponent_depth),
            **{name: bits for name, bits in drain_fields(config).items() if name in kept},
            **({"stage": DRAIN_LAYOUT["stage"]} if config.learns else {}),
        }
    )


def vector_write(config: EngineConfig) -> data.StructLayout:
    """A drain's write into vector memory: word `address` of lane chunk * drains + r; in an engine
    that learns, of its weight memory where it is one `to_weight`."""
    return data.StructLayout(
        {
            "valid": unsigned(1),
            "chunk": unsigned(ceil_log2(chunks(config))),
            "address": unsigned(destination_bits(config)),
            "value": signed(config.word),
            **({"to_weight": unsigned(1)} if config.learns else {}),
        }
    )


def to_vector(write: Any) -> Any:
    """Whether a drain's write goes to vector memory."""
    return write.valid & ~write.to_weight if "to_weight" in dict(write.shape()) else write.valid


def weight_write(config: EngineConfig) -> data.StructLayout:
    """A write into a lane's weight memory."""
    return data.StructLayout(
        {
            "valid": unsigned(1),
            "address": unsigned(ceil_log2(config.weight_depth)),
            "value": signed(config.narrow),
        }
    )


def trace(config: EngineConfig) -> Signature:
    """Every vector-memory write and every entry that begins, as they happen; nothing uses it in
    synthesis, so it vanishes."""
    write = Signature(
        {
            "valid": Out(1),
            "lane": Out(max(1, lane_bits(config))),
            "address": Out(ceil_log2(config.vector_depth)),
            "value": Out(signed(config.word)),
        }
    )
    return Signature(
        {
            "section": Out(3),
            "iteration": Out(32),
            "drains": Out(write).array(config.drains),
            "mac": Out(begins(mac_entry(config))),
            "drain": Out(begins(drain_entry(config))),
        }
    )


def begins(entry: data.StructLayout) -> Signature:
    """An instruction stream: `entry` is taken in the cycles in which `begin` is high."""
    return Signature({"begin": Out(1), "entry": Out(entry)})
