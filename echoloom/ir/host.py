"""The host's half of a run: what a level is given for each sweep through time, and what is made of
what it gives back. Written once, for every level.

A run is a forward sweep and, with a label or targets, an echo. `Host` writes a `Sweep` for either:
values for the whole sweep, frames in the order in which they are consumed, and what to read
afterwards. A level is a function from a Sweep to a `Swept`, which keeps states and sums between the
two; it knows nothing of labels, errors, gains or exponents. All arrays may have leading axes that
count sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.carried import Carried, carried_states, carried_sums
from echoloom.ir.flags import Flag
from echoloom.ir.objective import (
    ERROR,
    ERROR_STEP,
    Classification,
    Objective,
    Regression,
    SharedError,
    length_words,
)
from echoloom.ir.places import Copy
from echoloom.ir.program import Program
from echoloom.ir.sections import ECHO, FORWARD, RESUMED, Section

Words = NDArray[np.int64]
Floats = NDArray[np.float64]
# From a real array to a machine's words for a named input, and from its output words to reals.
Encoder = Callable[[str, Any], Any]
Decoder = Callable[[Any], Floats]

Sections = tuple[Section, ...]
FAILURES = Flag.STATE | Flag.ACCUMULATOR


@dataclass(frozen=True, eq=False)
class Sweep:
    """What a level is given, in its own words.

    sections: the bodies to run, the middle one once for every frame; runtime: values [..., size]
    to set before; frames: inputs [..., T, size] in the order in which the sweep meets them; shift:
    the register LENGTH; rows: how many outputs there are, one in `every` of the values emitted;
    states, sums: what to read afterwards. The sums are to be multiplied by 2**exponent [...].
    carried: what states and sums are before it, where that is not what the sweep before has left;
    started: steps of the sequence that other sweeps have made before the first frame.
    adds: the sums of all its bodies go on from what they were before it.
    """

    sections: Sections
    runtime: Mapping[str, Any]
    frames: Mapping[str, Any]
    shift: int
    rows: int
    every: int
    states: tuple[str, ...]
    sums: tuple[str, ...]
    exponent: Words
    carried: Carried | None = None
    started: int = 0
    adds: bool = False

    @property
    def batch(self) -> tuple[int, ...]:
        """The axes that count sequences."""
        return self.frames["x"].shape[:-2]

    @property
    def length(self) -> int:
        return self.frames["x"].shape[-2]

    @property
    def resumes(self) -> bool:
        """Whether it goes on where another forward sweep ended: its sums do not begin at zero."""
        return self.sections == RESUMED

    @property
    def phase(self) -> int:
        """Steps since the last output."""
        return self.started % self.every

    @property
    def kept(self) -> slice:
        """Which of the values that it emits are outputs."""
        return slice(self.every - 1 - self.phase, None, self.every)

    def steps(self) -> Iterator[dict[str, Any]]:
        """The frames, one after the other."""
        for k in range(self.length):
            yield {name: rows[..., k, :] for name, rows in self.frames.items()}

    def first(self, steps: int) -> Sweep:
        """The same sweep, stopped after so many steps."""
        return replace(self, frames={n: rows[..., :steps, :] for n, rows in self.frames.items()})


@dataclass(frozen=True, eq=False)
class Swept:
    """What a level gives back: outputs [..., rows, size], the states [..., size] and sums that the
    sweep asked for, and the Flag bits [...] that it raised."""

    outputs: Any
    states: Mapping[str, Any]
    sums: Mapping[str, Any]
    flags: Words

    def named(self) -> dict[str, Any]:
        """Everything under one name each."""
        named = {f"state {k}": v for k, v in self.states.items()}
        named |= {"outputs": self.outputs, "flags": self.flags}
        return named | {f"gradient {k}": v for k, v in self.sums.items()}


Level = Callable[[Sweep], Swept]


@dataclass(frozen=True, eq=False)
class RunResult:
    """One sequence (or a batch, with leading axes): all integers.

    outputs: logits [outputs] or predictions [T', outputs]; states: final q and p of every block
    after the forward sweep; gradients, echo_states: every accumulator and every state after the
    echo, empty without a label; exponent: gradients are to be multiplied by 2**exponent.
    flags: Flag bits of the forward sweep and of the echo.
    """

    outputs: Words
    states: Mapping[str, Words]
    forward_flags: Words
    gradients: Mapping[str, Words] = field(default_factory=dict)
    echo_states: Mapping[str, Words] = field(default_factory=dict)
    echo_flags: Words = field(default_factory=lambda: np.zeros((), np.int64))
    exponent: Words = field(default_factory=lambda: np.zeros((), np.int64))

    @property
    def overflow(self) -> bool:
        """Whether anything on the state path or an accumulator overflowed."""
        return bool(np.any((self.forward_flags | self.echo_flags) & FAILURES))

    @property
    def saturated(self) -> bool:
        """Whether a feed-forward word or an error was clamped to its range."""
        return bool(np.any((self.forward_flags | self.echo_flags) & Flag.SATURATED))

    def named(self) -> dict[str, Words]:
        """Everything under one name each, in the order in which it is computed."""
        named = {f"state {k}": v for k, v in self.states.items()}
        named["outputs"] = self.outputs
        named["forward flags"] = self.forward_flags
        named |= {f"echo state {k}": v for k, v in self.echo_states.items()}
        named |= {f"gradient {k}": v for k, v in self.gradients.items()}
        named["echo flags"] = self.echo_flags
        return named


@dataclass(frozen=True, eq=False)
class Host:
    """Writes the sweeps of a program's runs. By default its values are the real numbers."""

    program: Program
    output_step: int
    encode: Encoder = lambda name, value: value
    decode: Decoder = lambda words: words

    @property
    def objective(self) -> Objective:
        """What the program's runs are for."""
        if self.program.is_classification:
            return Classification()
        return Regression(self.output_step)

    def forward(self, samples: Floats) -> Sweep:
        """The forward sweep of samples [..., T, inputs], from rest."""
        return self._forward(FORWARD, samples, 0, forward_states(self.program))

    def resumed(self, samples: Floats, carried: Carried) -> Sweep:
        """The forward sweep of samples [..., T, inputs] that goes on from what was carried."""
        sweep = self._forward(RESUMED, samples, carried.steps, carried_states(self.program))
        return replace(sweep, sums=carried_sums(self.program), carried=carried)

    def _forward(
        self, sections: Sections, samples: Floats, started: int, states: tuple[str, ...]
    ) -> Sweep:
        length = started + samples.shape[-2]
        return Sweep(
            sections,
            self._encoded(self.objective.runtime(length)),
            {"x": self.encode("x", samples)},
            length_words(length)[0],
            self.objective.rows(length, started),
            self.objective.every,
            states,
            (),
            np.zeros((), np.int64),
            started=started,
        )

    def outputs(self, found: Swept) -> Any:
        """Logits [..., outputs] or predictions [..., T', outputs], in the level's words."""
        if found.outputs is None:
            return np.zeros((*np.shape(found.flags), 0, self._outputs), np.int64)
        return self.objective.outputs(found.outputs)

    @property
    def _outputs(self) -> int:
        emitted = (self.program.types(b)[v] for b in self.program.bodies for v in b.emits)
        return next(emitted).size

    def echo(
        self,
        forward: Sweep,
        outputs: Any,
        labels: Any,
        nudge: float = 1.0,
        shared: SharedError | None = None,
        adds: bool = False,
    ) -> Sweep:
        """The echo of a forward sweep that gave these outputs: samples again, last one first, with
        the error by labels [...] or targets [..., T', outputs]. Every nudge is taken times `nudge`,
        a power of two. Sequences whose sums go on from each other's (`adds`) have a `shared` error.
        """
        told = self.objective.told(self.decode(outputs), labels, nudge, shared)
        runtime = dict(told.runtime)
        if any(d.name == ERROR_STEP for d in self.program.runtime):
            weight = 1.0 if shared is None else shared.weight(forward.length)
            runtime[ERROR_STEP] = runtime[ERROR] * weight
        streamed = {
            name: self._over_time(rows, forward)
            for name, rows in self._encoded(told.frames).items()
        }
        frames = {name: rows[..., ::-1, :] for name, rows in {**forward.frames, **streamed}.items()}
        sums = tuple(a.name for a in self.program.accumulators if a.target)
        return replace(
            forward, sections=ECHO, runtime=self._encoded(runtime), frames=frames, rows=0,
            every=1, states=echo_states(self.program), sums=sums, exponent=told.exponent,
            carried=None, adds=adds,
        )  # fmt: skip

    def result(
        self, forward: Swept, after: Swept | None = None, echo: Sweep | None = None
    ) -> RunResult:
        """The RunResult of a forward sweep and, where there was an echo, of what came after it."""
        outputs = self.outputs(forward)
        own = forward_states(self.program)
        states = {name: words for name, words in forward.states.items() if name in own}
        if after is None or echo is None:
            return RunResult(outputs, states, forward.flags)
        return RunResult(
            outputs, states, forward.flags, after.sums, after.states, after.flags, echo.exponent
        )

    def _encoded(self, values: Mapping[str, Floats]) -> dict[str, Any]:
        return {name: self.encode(name, value) for name, value in values.items()}

    def _over_time(self, rows: Any, forward: Sweep) -> Any:
        """Rows [..., T', size] at the steps that gave an output, zeros at all others."""
        spread = np.zeros((*rows.shape[:-2], forward.length, rows.shape[-1]), rows.dtype)
        spread[..., forward.kept, :] = rows
        return spread


def run(
    host: Host,
    level: Level,
    samples: Floats,
    labels: Any = None,
    echo_steps: int | None = None,
    nudge: float = 1.0,
    carried: Carried | None = None,
) -> RunResult:
    """Samples [..., T, inputs] through a level, from rest or from what is carried; with labels (or
    targets) also the echo, or its first `echo_steps` steps."""
    forward = host.forward(samples) if carried is None else host.resumed(samples, carried)
    found = level(forward)
    if labels is None:
        return host.result(found)
    echo = host.echo(forward, host.outputs(found), labels, nudge)
    after = level(echo if echo_steps is None else echo.first(echo_steps))
    return host.result(found, after, echo)


def forward_states(program: Program) -> tuple[str, ...]:
    """The states that a forward sweep moves: the free copy's."""
    return tuple(n for c, n in program.coordinates().items() if c.copy is Copy.FREE)


def echo_states(program: Program) -> tuple[str, ...]:
    """The states of all three copies."""
    return tuple(program.coordinates().values())
