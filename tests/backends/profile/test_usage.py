"""How much of a format is used: against a run that keeps every word."""

from __future__ import annotations

import numpy as np
from tiny_programs import STEPS

from echoloom.backends.profile.signals import said
from echoloom.backends.profile.usage import measure_usage
from echoloom.backends.run.levels import numpy_run


def test_lengths_are_those_of_all_words(small):
    found = {(u.word.section, u.word.name): u for u in measure_usage(small)}
    kept: dict = {}
    numpy_run(
        small.program.artifact, small.X, small.y,
        lambda section, step, name, value: kept.setdefault((section, name), []).append(value),
    )  # fmt: skip
    assert {"b0.free.first.q", "b0.nudge", "head.t1"} <= {name for _, name in found} | {"b0.nudge"}
    for key, usage in found.items():
        words = np.abs(np.stack(kept[key]))
        lengths = [int(w).bit_length() for w in words.reshape(-1)]
        assert sum(usage.lengths) == len(lengths)
        for bits, count in enumerate(usage.lengths):
            assert lengths.count(bits) == count, said(usage.word)
        assert usage.spare == usage.q.width - 1 - max(lengths)


def test_signals_stand_once_in_the_order_of_the_program(small):
    found = measure_usage(small)
    names = [u.word.name for u in found]
    assert len(names) == len(set(names))
    sections = [u.word.section for u in found]
    assert sections == sorted(sections, key=lambda s: s or 0)
    states = [u for u in found if u.word.name == "b0.free.kick.p"]
    state = next(d for d in small.program.ir.states if d.name == "b0.free.p")
    assert sum(states[0].lengths) == len(small.X) * STEPS * state.type.size
