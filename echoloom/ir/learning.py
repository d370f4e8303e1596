"""How a board updates its own weights: the rules, and which of a program's tensors they move.

A rule is what a user writes, in real numbers; `Learning` is what the compiler makes of it for one
program, and `ir.passes.learning_plan` what an engine's host goes by.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Update:
    """What all rules have in common.

    `step`: by how much a weight moves at most in one update, in the weight's own unit; halved at
    each of the updates `halve_at` (counted from 0). `batch`: sequences whose gradients an update
    sums. `updates`: how long the course of training is that formats have to hold for; `margin` bits
    more than it took are spared. `learn`: the coefficients that learn, by their names' beginnings
    (all that can, if None).

    ValueError, in one sentence, for anything else.
    """

    step: float = 2.0**-8
    halve_at: tuple[int, ...] = ()
    batch: int = 8
    updates: int = 256
    learn: tuple[str, ...] | None = None
    margin: int = 1

    def __post_init__(self) -> None:
        real = isinstance(self.step, numbers.Real) and not isinstance(self.step, bool)
        if not real or not 0.0 < float(self.step) < math.inf:
            raise _wrong(self, "step", "a number > 0")
        for name, least in (("batch", 1), ("updates", 1), ("margin", 0)):
            if not _whole(getattr(self, name), least):
                raise _wrong(self, name, f"a whole number >= {least}")
        object.__setattr__(self, "step", float(self.step))
        self._check_halvings()
        self._check_names()

    def _check_halvings(self) -> None:
        given = self.halve_at
        if not isinstance(given, tuple | list) or not all(_whole(at, 1) for at in given):
            raise _wrong(self, "halve_at", "a tuple of whole numbers >= 1")
        if list(given) != sorted(set(given)):
            raise _wrong(self, "halve_at", "in rising order, every update once")
        object.__setattr__(self, "halve_at", tuple(int(at) for at in given))

    def _check_names(self) -> None:
        if self.learn is None:
            return
        names = (self.learn,) if isinstance(self.learn, str) else self.learn
        if not isinstance(names, tuple | list) or not all(isinstance(n, str) and n for n in names):
            raise _wrong(
                self, "learn", "None or a tuple of coefficients' names or their beginnings"
            )
        if not names:
            raise _wrong(self, "learn", "None or a tuple of at least one name")
        object.__setattr__(self, "learn", tuple(names))

    def halvings(self, update: int) -> int:
        """How often the step has been halved at an update."""
        return sum(at <= update for at in self.halve_at)


@dataclass(frozen=True, kw_only=True)
class SignUpdate(Update):
    """Every weight moves by `step` against the sign of its batch's gradient.

    With `momentum` the sign is that of m, m <- 7/8 m + the batch's gradient.
    """

    momentum: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.momentum, bool):
            raise _wrong(self, "momentum", "True or False")


@dataclass(frozen=True, kw_only=True)
class ScaledUpdate(Update):
    """Every weight moves by `step` times its batch's gradient, divided by a power of two that
    brings its tensor's largest below 1, and rounded by chance (`seed`) so that its mean is kept."""

    step: float = 2.0**-5
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _whole(self.seed, 0):
            raise _wrong(self, "seed", "a whole number >= 0")


Rule = SignUpdate | ScaledUpdate
RULES: Mapping[str, type[SignUpdate] | type[ScaledUpdate]] = {
    rule.__name__: rule for rule in (SignUpdate, ScaledUpdate)
}


def _whole(value: Any, least: int) -> bool:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and int(value) >= least


def _wrong(rule: Update, name: str, wanted: str) -> ValueError:
    given = getattr(rule, name)
    return ValueError(f"{type(rule).__name__}: {name} is {given!r}, but it must be {wanted}")


@dataclass(frozen=True)
class Learned:
    """A coefficient that learns: against `sign` times its `accumulator`'s sum goes its gradient,
    and it stays at zero or above where `positive`."""

    name: str
    accumulator: str
    sign: int = 1
    positive: bool = False


@dataclass(frozen=True)
class Learning:
    """What of a program learns, by which rule, in which order; why the rest does not (`frozen`).

    `length` is T of the samples that the program was compiled with: the error that a sequence of T'
    steps sends through time is its head's times length / T', so that all weigh alike.
    """

    rule: Rule
    tensors: tuple[Learned, ...]
    frozen: Mapping[str, str] = field(default_factory=dict)
    length: int = 1

    def __str__(self) -> str:
        lines = [f"{self.rule}", *(f"learns: {t}" for t in self.tensors)]
        lines += [f"frozen: {name}: {why}" for name, why in self.frozen.items()]
        return "\n".join(lines) + "\n"


def learning_settings(learning: Learning) -> dict[str, Any]:
    """All of it as plain values; `learning_of_settings` reads them."""
    return {
        "rule": rule_settings(learning.rule),
        "tensors": [asdict(tensor) for tensor in learning.tensors],
        "frozen": dict(learning.frozen),
        "length": learning.length,
    }


def learning_of_settings(settings: Mapping[str, Any]) -> Learning:
    """The Learning of these settings. KeyError, TypeError or ValueError for others."""
    tensors = tuple(Learned(**tensor) for tensor in settings["tensors"])
    rule = rule_of(settings["rule"])
    return Learning(rule, tensors, dict(settings["frozen"]), settings["length"])


def rule_settings(rule: Rule) -> dict[str, object]:
    """A rule as plain values; `rule_of` reads them."""
    return {"rule": type(rule).__name__, **{f.name: getattr(rule, f.name) for f in fields(rule)}}


def rule_of(settings: Mapping[str, object]) -> Rule:
    """The rule of these settings. KeyError, TypeError or ValueError for others."""
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
    return RULES[str(given.pop("rule"))](**given)  # type: ignore[arg-type]


def batch_order(sequences: int, batch: int, updates: int, seed: int = 0) -> NDArray[np.int64]:
    """Which sequences every update takes [updates, batch]: one random permutation after the other,
    so that each sequence comes once an epoch."""
    return np.array(list(_drawn(sequences, batch * updates, seed)), np.int64).reshape(
        updates, batch
    )


def _drawn(sequences: int, count: int, seed: int) -> Iterator[int]:
    generator = np.random.default_rng(seed)
    left: list[int] = []
    for _ in range(count):
        left = left or generator.permutation(sequences).tolist()[::-1]
        yield left.pop()
