"""How much of its format every signal uses: the bit lengths of its words, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echoloom.backends.profile.signals import Kind, signals
from echoloom.backends.profile.subject import Subject
from echoloom.backends.run.integers import Words
from echoloom.backends.run.run_numpy import StagedNumpyMachine
from echoloom.ir.formats import Q
from echoloom.ir.host import run
from echoloom.ir.passes.format_classes import Basis, Word
from echoloom.ir.sections import Section

STEPS = 1 << 15  # of sequences, at most: what comes after them looks the same


@dataclass(frozen=True)
class Usage:
    """A signal's words: `lengths[b]` of them have b bits without their sign, so that they are below
    2**(b - frac) in size; the first are zero."""

    word: Word
    kind: Kind
    q: Q
    lengths: tuple[int, ...]
    basis: Basis

    @property
    def spare(self) -> int:
        """Bits that no word used above it."""
        used = max((b for b, count in enumerate(self.lengths) if count), default=0)
        return self.q.width - 1 - used

    @property
    def at_risk(self) -> bool:
        """Whether it uses its last bit, and nothing but samples says that more is not needed."""
        return self.spare <= 0 and self.basis is Basis.OBSERVED


def measure_usage(of: Subject) -> tuple[Usage, ...]:
    """Every stored signal's usage on the subject's sequences; one that the echo recomputes stands
    with the forward sweep's."""
    program = of.words.program
    counts: dict[Word, Words] = {}

    def seen(section: Section, iteration: int, name: str, value: Words) -> None:
        lengths = np.frexp(np.abs(np.asarray(value, np.float64)))[1]
        counts[Word(section, name)] = counts.get(Word(section, name), 0) + np.bincount(
            lengths.reshape(-1), minlength=64
        )

    def recurrence(section: Section, iteration: int, values: Mapping[str, Words]) -> None:
        for name, value in values.items():
            seen(section, iteration, name, value)

    artifact, length = of.program.artifact, of.X.shape[1]
    X, y = of.data(length)
    some = max(1, STEPS // length)
    machine = StagedNumpyMachine(program, artifact.coefficients, artifact.tables, seen)
    machine.recurrence_observer = recurrence
    run(artifact.host, machine.sweep, X[:some], y[:some])
    found: list[Usage] = []
    names: set[str] = set()
    for signal in signals(of.words):
        for word in signal.words:
            if word in counts and word.name not in names:
                names.add(word.name)
                lengths = counts[word][: signal.q.width]
                basis = signal.basis
                found.append(Usage(word, signal.kind, signal.q, tuple(lengths.tolist()), basis))
    order = {body.section: n for n, body in enumerate(program.bodies)}
    place = {
        (body.section, i.name): n for body in program.bodies for n, i in enumerate(body.instrs)
    }
    return tuple(sorted(found, key=lambda u: (order[_section(u)], place[_section(u), u.word.name])))


def _section(usage: Usage) -> Section:
    assert usage.word.section is not None  # only words of sections are seen
    return usage.word.section
