"""The register map as tables in Markdown."""

from __future__ import annotations

from echoloom.hdl.axi.register_map import REGISTERS, Entry


def register_table() -> str:
    """Every register, and below it its fields."""
    rows = [row for entry in REGISTERS for row in _rows(entry)]
    return "| offset | register | bits | host may | |\n|---|---|---|---|---|\n" + "".join(rows)


def _rows(entry: Entry) -> list[str]:
    head = f"| `0x{entry.offset:03x}` | `{entry.name}` | 31:0 | {entry.access.value} "
    fields = [
        f"| | `{field.name}` | {_bits(field.low, field.bits)} | | {field.text} |\n"
        for field in entry.fields
    ]
    return [f"{head}| {entry.text} |\n", *fields]


def _bits(low: int, bits: int) -> str:
    return str(low) if bits == 1 else f"{low + bits - 1}:{low}"
