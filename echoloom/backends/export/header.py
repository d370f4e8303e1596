"""The register map as a C header."""

from __future__ import annotations

from echoloom.hdl.axi.register_map import MAGIC, MAP_VERSION, REGISTERS, Entry
from echoloom.ir.contract import EngineConfig, Space
from echoloom.ir.engine_passes import EnginePass, passes_of
from echoloom.ir.flags import Flag

PREFIX = "ECHOLOOM"
PASSES = {
    EnginePass.FORWARD: "FORWARD",
    EnginePass.ECHO: "ECHO",
    EnginePass.RESUME: "CONTINUE",
    EnginePass.ADD: "ADD",
    EnginePass.SCAN: "SCAN",
    EnginePass.UPDATE: "UPDATE",
}


def c_header(config: EngineConfig, identity: int, mark: int) -> str:
    """Offsets, fields and codes; functions that read and write the engine's words; what this
    export's engine answers."""
    lines = [
        "/* The registers of an exported Echoloom engine behind AXI4-Lite; generated. */",
        f"#ifndef {PREFIX}_H",
        f"#define {PREFIX}_H",
        "",
        "#include <stdint.h>",
        "",
        "/* What the registers of this export's engine and program hold. */",
        _define("VERSION_VALUE", f"0x{MAGIC << 16 | MAP_VERSION:08x}u"),
        _define("LANES_VALUE", f"{config.lanes}u"),
        _define("DRAINS_VALUE", f"{config.drains}u"),
        _define("WORD_VALUE", f"{config.word}u"),
        _define("IDENTITY_VALUE", f"0x{identity:016x}ull"),
        _define("MARK_VALUE", f"0x{mark:016x}ull"),
        "",
        "/* Registers of 32 bits: byte offsets, and the bits of their fields. */",
        *(line for entry in REGISTERS for line in _register(entry)),
        "",
        "/* What COMMAND takes, and what FLAGS holds. */",
        *(_define(PASSES[kind], f"{kind.value}u") for kind in passes_of(config.learns)),
        *(_define(f"FLAG_{flag.name}", f"{flag.value}u") for flag in Flag),
        "",
        "/* Memories that TARGET names. */",
        *(_define(f"SPACE_{space.name}", f"{space.value}u") for space in Space),
        "",
        _FUNCTIONS,
        f"#endif /* {PREFIX}_H */",
    ]
    return "\n".join(lines) + "\n"


def _define(name: str, value: str) -> str:
    return f"#define {PREFIX}_{name} {value}"


def _register(entry: Entry) -> list[str]:
    comment = f" /* {entry.access.value}: {entry.text} */" if entry.text else ""
    lines = [_define(entry.name, f"0x{entry.offset:03x}u") + comment]
    for field in entry.fields:
        name = f"{entry.name}_{field.name}"
        lines += [
            _define(f"{name}_SHIFT", f"{field.low}u") + f" /* {field.text} */",
            _define(f"{name}_MASK", f"0x{field.mask:08x}u"),
        ]
    return lines


_FUNCTIONS = """\
/* `base` is where the registers are mapped. Words of the engine have up to 64 bits. */
static inline void echoloom_write_word(volatile uint32_t *base, uint32_t offset, uint64_t word)
{
    base[offset / 4 + 1] = (uint32_t)(word >> 32);
    base[offset / 4] = (uint32_t)word;
}

static inline uint64_t echoloom_read_word(volatile uint32_t *base, uint32_t offset)
{
    uint64_t low = base[offset / 4];
    return (uint64_t)base[offset / 4 + 1] << 32 | low;
}

/* The words that follow are at ECHOLOOM_DATA_LOW, one address after the other. */
static inline void echoloom_target(volatile uint32_t *base, uint32_t space, uint32_t lane,
                                   uint32_t address)
{
    base[ECHOLOOM_TARGET / 4] = space << ECHOLOOM_TARGET_SPACE_SHIFT
        | lane << ECHOLOOM_TARGET_LANE_SHIFT | address;
}

/* Starts a pass: ECHOLOOM_FORWARD, ECHOLOOM_ECHO, ECHOLOOM_CONTINUE or what else there is. */
static inline void echoloom_start(volatile uint32_t *base, uint32_t sweep)
{
    base[ECHOLOOM_ENGINE_COMMAND_LOW / 4] = sweep;
}

static inline int echoloom_done(volatile uint32_t *base)
{
    return (base[ECHOLOOM_STATUS / 4] & ECHOLOOM_STATUS_DONE_MASK) != 0;
}
"""
