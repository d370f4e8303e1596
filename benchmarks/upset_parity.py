"""What a parity bit in every word of some memories would add to one play. Modelled: no engine has
any. A word's parity is wrong from an upset on until the word is written again, and whoever reads it
before would say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from upset_results import Report, Verdict
from upset_storage import Storage, Upset

from echoloom.backends.chips.resources import chip_of
from echoloom.hdl.commands import LinkSizes
from echoloom.hdl.inventory import Bank, inventory
from echoloom.ir.contract import EngineConfig

CHIP = chip_of("ecp5-85k")
# What is protected beside what the row above has. The samples of a link are read by frames, and
# frames by steps: an upset of theirs does harm only if it is read.
STEPS: Sequence[tuple[str, tuple[Storage, ...]]] = (
    ("nothing", ()),
    (
        "samples, frames, X and Y words, bases",
        (Storage.SAMPLES, Storage.FRAMES, Storage.X_WORDS, Storage.Y_WORDS, Storage.BASES),
    ),
    ("and gradients", (Storage.GRADIENTS,)),
    ("and slots, tree rows", (Storage.SLOTS, Storage.TREE_ROWS)),
)
NAMES = {Storage.SAMPLES: "link samples"}  # in the inventory, where they differ


def seen_at_once(verdict: Verdict) -> bool:
    """Whether one play is enough, without parity."""
    return bool(verdict.reports - {Report.TWICE})


def parity_table(
    found: Sequence[tuple[Upset, Verdict]], bits: Mapping[Storage, int], config: EngineConfig
) -> list[dict[str, Any]]:
    """A row for each more that is protected; percentages weigh kinds by their bits. `in vain` are
    reports by parity of upsets that do no harm, for each hundred that do."""
    count = {storage: sum(upset.storage is storage for upset, _ in found) for storage in bits}
    weighed = [(upset.storage, bits[upset.storage] / count[upset.storage], v) for upset, v in found]
    harmful = sum(weight for _, weight, verdict in weighed if verdict.harmful)
    rows, protected, blocks = [], set[Storage](), 0
    for name, more in STEPS:
        protected |= set(more)
        blocks += sum(_blocks_more(bank, config) for bank in _banks(more, config))
        seen = [
            (weight, verdict.harmful)
            for storage, weight, verdict in weighed
            if (verdict.harmful and seen_at_once(verdict))
            or (verdict.read and storage in protected)
        ]
        right = sum(weight for weight, harm in seen if harm)
        vain = sum(weight for weight, harm in seen if not harm)
        rows.append({
            "parity in": name, "block RAMs more": blocks,
            "harmful": sum(verdict.harmful for _, verdict in found),
            "reported": sum(harm for _, harm in seen),
            "played once": f"{100 * right / harmful:.3f} %",
            "in vain": f"{100 * vain / harmful:.1f} %",
        })  # fmt: skip
    return rows


def _banks(storages: Iterable[Storage], config: EngineConfig) -> list[Bank]:
    names = {NAMES.get(storage, storage.value) for storage in storages}
    return [bank for bank in inventory(config, LinkSizes()) if bank.name in names]


def _blocks_more(bank: Bank, config: EngineConfig) -> int:
    """Block RAMs for a bit more a word: in the word, or all lanes' bits side by side in a memory
    of their own where all lanes read and write at one address, as they do sums."""

    def blocks(width: int) -> int:
        return CHIP.blocks_of(CHIP.cells(width, bank.depth, bank.at_once, bank.readers))

    within = (blocks(bank.width + 1) - blocks(bank.width)) * bank.copies
    return min(within, blocks(config.lanes)) if bank.name == Storage.GRADIENTS.value else within
