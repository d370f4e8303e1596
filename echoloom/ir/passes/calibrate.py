"""Ranges and nudge sizes, measured by running the real program on samples.

The echo is run for every class an error could ask for (classification) or the given targets
(regression), normalised as the host normalises it, so back-signal ranges hold for any label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.host import Host
from echoloom.ir.interpret import Machine
from echoloom.ir.passes.recorder import Recorder
from echoloom.ir.passes.resolution import with_floors
from echoloom.ir.places import Coordinate, Copy, Letter
from echoloom.ir.printer import columns
from echoloom.ir.program import Program
from echoloom.ir.real import REAL_RULES
from echoloom.ir.reversible import paths
from echoloom.ir.sections import STEPS, Section
from echoloom.ir.staged import StagedMachine

Floats = NDArray[np.float64]
K = TypeVar("K")
STILL = 2.0**-10  # of a block's largest position: as good as no motion
BITS = 32  # of a crest factor that count
MOST = 1 << 25  # numbers of samples that run together
PROBE = 2.0**-20  # nudge size of the probing run; a linear unit's contrast does not depend on it


@dataclass(frozen=True)
class Motion:
    """How far a block's position moves, and how far its nudged copies part (|q plus - q minus|), at
    the half steps: there the echoes are compared.

    A position that is still at rest there, as in a sequence of one step, moves as far as its last
    drift takes it; of one that never moves the echoes' difference is all that there is, and 1 is as
    good a size as any.
    """

    reach: float
    difference: float


@dataclass(frozen=True)
class Ranges:
    """Largest magnitude seen of every value: by (section, name), and by state name.

    `learned`: of every coefficient that learns, the largest magnitudes of its elements.
    """

    values: Mapping[tuple[Section, str], float]
    states: Mapping[str, float]
    inputs: Mapping[str, float]
    motions: tuple[Motion, ...]  # by block
    crests: Mapping[tuple[Section, str], float]
    channels: Mapping[str, Floats] = field(default_factory=dict)  # of an input, each on its own
    learned: Mapping[str, Floats] = field(default_factory=dict)

    def __str__(self) -> str:
        """A line for every value: the largest magnitude, and that over the root mean square."""
        rows: list[tuple[object, ...]] = [("section", "value", "largest", "crest")]
        rows += [
            ("", name, f"{size:.6g}", "") for name, size in {**self.inputs, **self.states}.items()
        ]
        rows += [
            (section.name.lower(), name, f"{size:.6g}", f"{self.crest(section, name):.3g}")
            for (section, name), size in self.values.items()
        ]
        rows += [
            ("", f"block {b}: plus - minus", f"{m.difference:.6g}", "")
            for b, m in enumerate(self.motions)
        ]
        return columns(rows)

    def crest(self, section: Section, name: str) -> float:
        """Largest magnitude over root mean square: how much of a word's range is seldom used."""
        return self.crests.get((section, name), math.inf)

    def of(self, section: Section, name: str) -> float:
        return self.values.get((section, name), 0.0)


def joined(parts: Sequence[Ranges], learned: Mapping[str, Floats]) -> Ranges:
    """The largest of everything in several runs of one program. `learned` is how large its
    coefficients get that learn."""
    crests: dict[tuple[Section, str], float] = {}
    channels: dict[str, Floats] = {}
    for own in parts:
        for key, crest in own.crests.items():
            crests[key] = max(crest, crests.get(key, 0.0))
        for name, sizes in own.channels.items():
            channels[name] = np.maximum(sizes, channels.get(name, 0.0))
    motions = tuple(
        Motion(max(m.reach for m in block), max(m.difference for m in block))
        for block in zip(*(own.motions for own in parts), strict=True)
    )
    return Ranges(
        _most(own.values for own in parts), _most(own.states for own in parts),
        _most(own.inputs for own in parts), motions, crests, channels, learned,
    )  # fmt: skip


def _most(parts: Iterable[Mapping[K, float]]) -> dict[K, float]:
    found: dict[K, float] = {}
    for own in parts:
        for key, size in own.items():
            found[key] = max(size, found.get(key, 0.0))
    return found


# A machine for a program with the values of its coefficients, which tells a recorder what it sees.
Machines = Callable[[Program, Mapping[str, Floats], Recorder], Machine]


def interpreted(program: Program, coefficients: Mapping[str, Floats], saw: Recorder) -> Machine:
    """NumPy, the reference of every faster machine."""
    return StagedMachine(
        program, REAL_RULES, dict(coefficients), observer=saw.value,
        recurrence_observer=saw.recurrence,
    )  # fmt: skip


@np.errstate(all="ignore")  # what overflows on the way runs away and is refused
def measure(
    program: Program,
    coefficients: Mapping[str, Floats],
    samples: Floats,
    targets: NDArray[Any] | None,
    output_step: int,
    machines: Machines = interpreted,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ranges:
    """Run forward and echo in float64 on samples [n, T, inputs] and record every value's range.

    `targets` are those of a regression, or labels [n] that are the only ones to come; without them
    the echo of a classification is run for every class, of as many classes at once as fit MOST
    numbers. `progress` is told how many steps of all sweeps are done, and of how many.

    Runaway (a ValueError) says where a state outgrows every format.
    """
    length, swept, sweeps = samples.shape[-2], 0, 2

    def done(steps: int) -> None:
        progress(swept * length + steps, sweeps * length)

    recorder = Recorder(program, length, len(samples), done)
    machine = machines(program, coefficients, recorder)
    host = Host(program, output_step)
    forward = host.forward(samples)
    outputs = host.outputs(machine.sweep(forward))
    if program.is_classification and targets is None:
        answers = _classes(outputs.shape[-1], samples)
    elif targets is None:
        answers = [2.0 * np.random.default_rng(0).integers(0, 2, outputs.shape) - 1.0]
    else:
        answers = [targets]
    after = {
        d.name: np.broadcast_to(machine.values[d.name], (len(samples), *d.type.shape))
        for d in program.states
        if d.name in machine.values
    }
    sweeps = 1 + len(answers)
    for answer in answers:
        swept += 1
        sets = len(answer) // len(samples)
        machine.values |= {name: _repeated(value, sets) for name, value in after.items()}
        frames = {name: _repeated(rows, sets) for name, rows in forward.frames.items()}
        machine.sweep(host.echo(replace(forward, frames=frames), _repeated(outputs, sets), answer))
    values = recorder.values
    states: dict[str, float] = {}
    for body in program.bodies:
        for state, value in body.updates:
            seen = values.get((body.section, value), 0.0)
            states[state] = max(states.get(state, 0.0), seen)
    channels = {"x": np.max(np.abs(samples), axis=tuple(range(samples.ndim - 1)))}
    for state, size in _rounding(program, coefficients, values, samples, states, channels).items():
        states[state] = max(states[state], size)
    inputs = {"x": float(np.max(channels["x"]))}
    if not program.is_classification:
        inputs["target"] = float(np.max(np.abs(answers[0])))
    crests = _crests(program, recorder, samples)
    motions = _motions(program, recorder, states)
    return Ranges(values, states, inputs, motions, crests, channels)


def _classes(count: int, samples: Floats) -> list[NDArray[np.int64]]:
    """Labels of all classes for all samples, class by class, in sets that run together."""
    together = max(k for k in range(1, count + 1)
                   if count % k == 0 and (k == 1 or k * samples.size <= MOST))  # fmt: skip
    return list(np.repeat(np.arange(count), len(samples)).reshape(-1, together * len(samples)))


def _repeated(value: Any, sets: int) -> Any:
    """The rows [n, ...] of several sets of the same samples."""
    return np.tile(value, (sets, *(1,) * (np.ndim(value) - 1)))


def _significant(crest: float) -> float:
    """To so many bits that the order in which a machine adds is not seen: of two that are compared
    rounding must not decide."""
    if not math.isfinite(crest):
        return crest
    mantissa, exponent = math.frexp(crest)
    return math.ldexp(round(mantissa * 2.0**BITS), exponent - BITS)


def _motions(
    program: Program, recorder: Recorder, states: Mapping[str, float]
) -> tuple[Motion, ...]:
    names = program.coordinates()
    motions = []
    for block, at in enumerate(recorder.half_steps):
        halfway = recorder.values.get((Section.ECHO_STEP, at[Copy.FREE]), 0.0)
        end = states[names[Coordinate(block, Copy.FREE, Letter.POSITION)]]
        reach = halfway if halfway > end * STILL else end or 1.0
        motions.append(Motion(reach, recorder.differences[block]))
    return tuple(motions)


def _rounding(
    program: Program,
    coefficients: Mapping[str, Floats],
    values: Mapping[tuple[Section, str], float],
    samples: Floats,
    states: Mapping[str, float],
    channels: Mapping[str, Floats],
) -> dict[str, float]:
    """How far the integers' rounding takes free states that are all but still in real numbers."""
    body = program.body(Section.FORWARD_STEP)
    seen = {name: size for (s, name), size in values.items() if s is body.section}
    measured = {**states, "x": float(np.max(np.abs(samples))), **seen}
    planned = with_floors(body, measured, coefficients, channels)
    moved: dict[str, float] = {}
    for state, path in paths(body).items():
        steps = [planned[i] for i in path.increments if seen[i] < planned[i] * STILL]
        moved[state] = sum(steps) * samples.shape[-2]
    names = program.coordinates()
    for c, momentum in names.items():
        if c.letter is Letter.MOMENTUM and momentum in moved:
            position = names[replace(c, letter=Letter.POSITION)]
            moved[position] = max(moved[position], moved[momentum])
    return moved


def _crests(
    program: Program, recorder: Recorder, samples: Floats
) -> dict[tuple[Section, str], float]:
    """Crest factors of values, and in step bodies of states and the input."""
    crests = {}
    for key, (total, count) in recorder.squares.items():
        if total > 0.0:
            crests[key] = _significant(recorder.values[key] / math.sqrt(total / count))
    for section in STEPS:
        crests[section, "x"] = float(
            np.max(np.abs(samples)) / np.sqrt(np.mean(samples**2) + 1e-300)
        )
        for state, value in program.body(section).updates:
            crests[section, state] = crests.get((section, value), math.inf)
    return crests


def choose_epsilons(ranges: Ranges, epsilons: tuple[float, ...]) -> tuple[float, ...]:
    """Per block the power of two that makes the echoes' differences as large as the state.

    `ranges` come from a run with nudge sizes `epsilons`. For a linear unit any size gives the same
    contrast, so the largest that costs no range is best; it costs one bit of headroom.
    """
    chosen = []
    for motion, epsilon in zip(ranges.motions, epsilons, strict=True):
        ratio = motion.reach / motion.difference if motion.difference > 0.0 else 1.0
        chosen.append(epsilon * 2.0 ** math.floor(math.log2(ratio)))
    return tuple(chosen)
