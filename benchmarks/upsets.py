"""What flipped bits do, and who notices: python benchmarks/upsets.py [--count 100000]

Bits of every kind of storage flip at random cycles of a sequence, forward and echo, on the golden
engine: as many upsets of each kind, each of a random bit of it. The last row's percentages count a
kind by its bits. An upset is harmful if an output, a gradient or a state differs after it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import Any

import jax
import numpy as np
import output
from upset_parity import parity_table
from upset_results import Report, Verdict
from upset_storage import Storage, Upset, bits_of
from upset_trials import Trial

import echoloom as el
from echoloom.ir.contract import EngineConfig

MILLION = 1_000_000
CHUNK = 250  # upsets of one march through the run
# inputs, outputs, hidden, state, blocks; lanes, drains; steps
MODELS: Mapping[str, tuple[tuple[int, ...], tuple[int, int], int]] = {
    "one lane": ((1, 2, 2, 1, 1), (1, 1), 3),
    "small": ((3, 3, 4, 2, 1), (4, 2), 3),
    "demo": ((6, 4, 16, 8, 2), (4, 2), 8),
}


@lru_cache(maxsize=1)
def trial_of(name: str) -> tuple[Trial, EngineConfig, int]:
    """A sequence of an untrained model, its engine, and how many samples it has."""
    (inputs, outputs, hidden, state, blocks), (lanes, drains), steps = MODELS[name]
    x = np.random.default_rng(0).standard_normal((2, steps, inputs))
    model = el.HSSM(inputs, outputs, hidden, state, blocks, key=jax.random.key(0))
    program = el.compile(model, x, [0, 1], lanes=lanes, drains=drains)
    return Trial(program, x[0], 1), program.image.config, x[0].size


def drawn(name: str, storages: Sequence[Storage], count: int, seed: int) -> list[Upset]:
    """So many upsets of each kind, at cycles that are uniform over both passes."""
    trial, source = trial_of(name)[0], random.Random(seed)
    upsets = []
    for storage in storages:
        for _ in range(count):
            cycle = source.randrange(1, sum(trial.cycles) - 1)
            number = int(cycle >= trial.cycles[0])
            within = max(1, cycle - number * trial.cycles[0])
            upsets.append(Upset(storage, number, within, source.getrandbits(32)))
    return upsets


def verdicts(name: str, upsets: Sequence[Upset]) -> list[tuple[Upset, Verdict]]:
    return list(trial_of(name)[0].verdicts(upsets))


def judged(name: str, upsets: Sequence[Upset], jobs: int) -> Iterator[list[tuple[Upset, Verdict]]]:
    """The verdicts, a chunk of them at a time."""
    chunks = [upsets[at :: -(-len(upsets) // CHUNK)] for at in range(-(-len(upsets) // CHUNK))]
    if jobs == 1:
        yield from (verdicts(name, chunk) for chunk in chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(verdicts, [name] * len(chunks), chunks)


def first(reports: frozenset[Report]) -> Report | None:
    """The cheapest of those who say that something is wrong."""
    return next((one for one in Report if one in reports), None)


def table(
    found: Sequence[tuple[Upset, Verdict]], bits: Mapping[Storage, int]
) -> list[dict[str, Any]]:
    """A row a kind, by who reports its harmful upsets first; and one of all, whose percentages
    weigh kinds by their bits."""
    rows = []
    weighed: Counter[str] = Counter()
    for storage in [s for s in Storage if any(upset.storage is s for upset, _ in found)]:
        own = [verdict for upset, verdict in found if upset.storage is storage]
        by = Counter(first(verdict.reports) for verdict in own if verdict.harmful)
        counts = {one.value: by[one] for one in Report} | {"nowhere": by[None]}
        rows.append({
            "storage": storage.value, "bits": bits[storage], "upsets": len(own),
            "harmful": by.total(), **counts, **reported(by.total(), counts),
        })  # fmt: skip
        for name, count in counts.items():
            weighed[name] += count * bits[storage] * MILLION // len(own)
    names = [name for name, value in rows[0].items() if isinstance(value, int)]
    return [*rows, {
        "storage": "all, by their bits", **{name: sum(row[name] for row in rows) for name in names},
        **reported(weighed.total(), weighed),
    }]  # fmt: skip


def reported(harmful: int, counts: Mapping[str, int]) -> dict[str, str]:
    """How many of the harmful upsets are reported, without and with another play."""
    later = counts["nowhere"] + counts[Report.TWICE.value]
    return {
        "played once": percent(harmful - later, harmful),
        "twice": percent(harmful - counts["nowhere"], harmful),
    }


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3f} %" if whole else "-"


def main() -> None:
    parser = output.arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="small")
    parser.add_argument("--count", type=int, default=1700, help="upsets in all")
    parser.add_argument("--storage", action="append", choices=[s.value for s in Storage])
    parser.add_argument("--parity", action="store_true", help="what parity bits would add to it")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    storages = [s for s in Storage if s.value in (options.storage or [t.value for t in Storage])]
    trial, config, samples = trial_of(options.model)
    upsets = drawn(options.model, storages, -(-options.count // len(storages)), options.seed)
    found: list[tuple[Upset, Verdict]] = []
    with suppress(KeyboardInterrupt):  # a table of what there is: each chunk has all kinds
        for some in judged(options.model, upsets, options.jobs):
            found += some
            output.progress.print(f"{len(found):,} of {len(upsets):,}")
    title = (
        f"{options.model}: {config.lanes} lanes, {sum(trial.cycles):,} cycles, seed {options.seed}"
    )
    bits = bits_of(config, samples)
    rows = parity_table(found, bits, config) if options.parity else table(found, bits)
    output.show(title, rows, ("echoloom",), options.json)


if __name__ == "__main__":
    main()
