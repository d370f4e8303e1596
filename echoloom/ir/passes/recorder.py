"""What a run of a real program goes through: the largest of every value, and the first step at
which a state leaves what any format can hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echoloom.ir.places import Copy, Letter
from echoloom.ir.program import Program
from echoloom.ir.reversible import paths
from echoloom.ir.sections import STEPS, Section

Floats = NDArray[np.float64]
# No state gets here but by running away: a word of 28 bits would count in steps of 2**14.
LIMIT = 2.0**40


class Runaway(ValueError):
    """A state outgrows every format on the samples. `echo`: only once it is nudged."""

    def __init__(self, sentence: str, echo: bool):
        super().__init__(sentence)
        self.echo = echo

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.echo), self.__dict__


@dataclass(frozen=True, eq=False)
class Chunk:
    """What was seen of some steps of a body from `start` on, all sequences together.

    largest: magnitudes by value; squares: their sums, and of how many numbers; reached: of the
    recurrences' states, magnitudes after every step; apart: by block, how far the echoes part.
    """

    section: Section
    start: int
    steps: int
    largest: Mapping[str, float]
    squares: Mapping[str, tuple[float, int]]
    reached: Mapping[str, list[float]]
    apart: Mapping[int, float]


def largest(value: Floats) -> float:
    return float(np.max(np.abs(value))) if np.size(value) else 0.0


class Recorder:
    """Watches a run of `count` samples of `length` steps. In a sweep rows may be several sets of
    the samples, one set after the other. `progress` is told how many steps of a sweep are done."""

    def __init__(
        self,
        program: Program,
        length: int,
        count: int,
        progress: Callable[[int], None] = lambda steps: None,
    ) -> None:
        self.length, self.count, self.progress = length, count, progress
        coordinates = {name: c for c, name in program.coordinates().items()}
        self.states = {
            (body.section, value): coordinates[state]
            for body in program.bodies
            if body.section in STEPS
            for state, value in body.updates
            if state in coordinates
        }
        self.half_steps = half_steps(program)
        self.before: dict[tuple[Section, str], float] = {}
        self.values: dict[tuple[Section, str], float] = {}
        self.differences = dict.fromkeys(range(len(self.half_steps)), 0.0)
        self.squares: dict[tuple[Section, str], tuple[float, int]] = {}

    def value(self, section: Section, iteration: int, name: str, value: Floats) -> None:
        """A value of a body that runs once, or one of a chunk of steps, [steps, ...]."""
        steps = value if section in STEPS else value[None]
        squares = np.square(steps).reshape(len(steps), -1).sum(1)
        self._saw(section, name, largest(value), float(sum(squares.tolist())), np.size(value))

    def _saw(self, section: Section, name: str, size: float, squares: float, count: int) -> None:
        key = (section, name)
        self.values[key] = max(size, self.values.get(key, 0.0))
        total, earlier = self.squares.get(key, (0.0, 0))
        self.squares[key] = (total + squares, earlier + count)

    def recurrence(self, section: Section, iteration: int, values: Mapping[str, Floats]) -> None:
        """All values of a recurrence in a chunk of steps, [steps, ...] each. Raises Runaway."""
        watched = {n: np.abs(v) for n, v in values.items() if (section, n) in self.states}
        sizes = {n: [largest(step) for step in v] for n, v in watched.items()}
        for step in range(len(next(iter(values.values())))):
            for name, sizes_of in sizes.items():
                if not sizes_of[step] < LIMIT:
                    raise self.runaway((section, name), iteration + step, watched[name][step])
                self.before[section, name] = sizes_of[step]
        for name, value in values.items():
            self.value(section, iteration, name, value)
        for block, (plus, minus) in self.pairs(section).items():
            if plus in values:
                apart = largest(values[plus] - values[minus])
                self.differences[block] = max(self.differences[block], apart)
        self.progress(iteration + len(next(iter(values.values()))))

    def pairs(self, section: Section) -> dict[int, tuple[str, str]]:
        """By block: the values of plus and minus whose difference is recorded."""
        if section is not Section.ECHO_STEP:
            return {}
        return {b: (at[Copy.PLUS], at[Copy.MINUS]) for b, at in enumerate(self.half_steps)}

    def chunk(self, seen: Chunk) -> bool:
        """All values of some steps at once. False, and nothing is recorded, where a state leaves:
        then the steps' own values have to tell where."""
        if any(not size < LIMIT for sizes in seen.reached.values() for size in sizes):
            return False
        for name, sizes in seen.reached.items():
            self.before[seen.section, name] = sizes[-1]
        for name, size in seen.largest.items():
            self._saw(seen.section, name, size, *seen.squares[name])
        for block, apart in seen.apart.items():
            self.differences[block] = max(self.differences[block], apart)
        self.progress(seen.start + seen.steps)
        return True

    def runaway(self, key: tuple[Section, str], iteration: int, sizes: Floats) -> Runaway:
        at = self.states[key]
        echo = key[0] is Section.ECHO_STEP
        flat = np.where(np.isfinite(sizes), sizes, np.inf).reshape(-1, sizes.shape[-1])
        row, position = np.unravel_index(np.argmax(flat), flat.shape)
        size = float(flat[row, position])
        reached = f"{size:.3g}" if np.isfinite(size) else "infinity"
        step = self.length - iteration if echo else iteration + 1
        cause = f"the echo's {at.copy.value} copy of block" if echo else "block"
        return Runaway(
            f"{cause} {at.block} runs away: at step {step} of {self.length} of "
            f"samples[{row % self.count}] {at.letter.value}[{position}] reaches {reached} (the "
            f"largest before was {self.before.get(key, 0.0):.3g}), which no format can hold; use "
            "a smaller step, a potential that confines q on every side, or inputs of a smaller "
            "scale",
            echo,
        )


def half_steps(program: Program) -> list[dict[Copy, str]]:
    """By block and copy: the position after the echo's first drift."""
    moved = paths(program.body(Section.ECHO_STEP))
    found: dict[int, dict[Copy, str]] = {}
    for c, name in program.coordinates().items():
        if c.letter is Letter.POSITION:
            found.setdefault(c.block, {})[c.copy] = moved[name].values[-2:][0]
    return list(found.values())
