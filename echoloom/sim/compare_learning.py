"""What of an update is compared, under which names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from echoloom.backends.run.integers import Words
from echoloom.backends.run.learning_run import BatchSums, UpdatedWords
from echoloom.sim.first_difference import Difference, Mismatch, signal_difference


def batch_words(batch: BatchSums) -> dict[str, Words]:
    """What a batch is compared by, in the order in which it is computed."""
    found = {f"outputs of sequence {n}": words for n, words in enumerate(batch.outputs)}
    found |= {"forward flags": batch.forward_flags, "echo flags": batch.echo_flags}
    return found | {f"gradient {name}": words for name, words in batch.sums.items()}


def updated_words(after: UpdatedWords) -> dict[str, Words]:
    """What an update is compared by, in the order in which it is computed."""
    found = {f"shift {name}": np.asarray(n) for name, n in after.shifts.items()}
    found |= {f"weight {name}": words for name, words in after.weights.items()}
    found |= {f"clamped words of {name}": np.asarray(n) for name, n in after.clamped.items()}
    return found | {f"update flags of {name}": np.asarray(n) for name, n in after.flags.items()}


def compare(
    level: str, number: int, wanted: Mapping[str, Words], found: Mapping[str, Words]
) -> int:
    """Number of integers compared; raises Mismatch at the first that differs in this update."""
    for name in dict.fromkeys([*wanted, *found]):
        if name not in wanted or name not in found:
            words = ("some", "none") if name in wanted else ("none", "some")
            difference = Difference(level, None, "", name, (), None, *words)
        else:
            difference = signal_difference(level, name, wanted[name], found[name])
        if difference is not None:
            # Names of tensors have dots, which stand for no block here.
            raise Mismatch(replace(difference, update=number, block="", signal=name))
    return sum(int(np.size(words)) for words in wanted.values())
