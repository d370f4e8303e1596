"""Proofs that formats hold, under attack: no input gets past a bound, the worst one gets there."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.compile.pipeline import Arguments, run
from echoloom.backends.run.integers import input_types
from echoloom.backends.run.run_numpy import NumpyMachine
from echoloom.ir.arithmetic import piecewise_linear, round_shift
from echoloom.ir.flags import Flag
from echoloom.ir.formats import Q, largest
from echoloom.ir.host import run as run_sweeps
from echoloom.ir.ops import DynamicShift, Requant, Table
from echoloom.ir.passes.format_classes import Basis
from echoloom.ir.passes.proofs import Bounds, bounds
from echoloom.ir.passes.proven_formats import unproven, without_margin
from echoloom.ir.precision import Precision
from echoloom.ir.program import Instr
from echoloom.ir.sections import Section
from echoloom.ir.tables import table_key
from echoloom.ir.widths import Widths
from echoloom.ir.word import Word

STEPS = 30
INPUT = Word(Section.FORWARD_STEP, "x")
CASES = {
    "linear": {"complex": False},
    "complex": {"complex": True},
    "nonlinear": {"unit": "nonlinear"},
    "regression": {"complex": False, "task": "regression", "output_step": 3},
}


@lru_cache
def stages_of(case: str, roomy: bool = False) -> dict[str, Any]:
    """What every stage of a compilation gave; `roomy`: with 6 bits to spare for all but the input,
    which holds no more than 1."""
    arguments = {"step": 0.3, **CASES[case]}
    model = el.HSSM(2, 3, 3, 2, 2, key=jax.random.key(3), **arguments)
    x = np.random.default_rng(5).uniform(-0.9, 0.9, (4, STEPS, 2))
    model = el.with_statistics(model, jnp.asarray(x))
    asked = Precision(Widths(margin=6), formats={INPUT: Q(28, 27)}) if roomy else None
    given = Arguments(model, x, None, "ecp5-85k", 2, None, 4, None, None, None, asked)
    return run({"arguments": given})


def loudest(artifact) -> float:
    q = input_types(artifact.program)["x"].q
    return largest(q.width) * 2.0 ** -max(q.fracs)


class Measure(NumpyMachine):
    """How large words are before they are brought into their formats, until a state wraps."""

    def __init__(self, artifact):
        super().__init__(
            artifact.program, artifact.coefficients, artifact.tables, observer=self.see
        )
        self.local: dict[str, Any] = {}
        self.reached: dict[Word, float] = {}
        self.instrs = {
            Word(b.section, i.name): i for b in artifact.program.bodies for i in b.instrs
        }

    def see(self, section: Section, iteration: int, name: str, value) -> None:
        instr = self.instrs[Word(section, name)]
        if isinstance(instr.attr, Requant | Table):
            arg = instr.args[0]
            words = self.local[arg]
            source, target = self.type(arg).q, instr.type.q
            if isinstance(instr.attr, Table):
                t = self.tables[table_key(instr, source)]
                exact, _ = piecewise_linear(
                    words, t.base, t.slope, segment_bits=t.segment_bits,
                    fraction_bits=t.fraction_bits, slope_shift=t.slope_shift, word=63,
                )  # fmt: skip
            else:
                shift = np.asarray(source.frac) - target.scalar_frac
                if instr.attr.register is not DynamicShift.NONE:
                    shift = shift + self.shifts[instr.attr.register]
                exact = round_shift(words, shift, instr.attr.rounding)
            size = float(np.abs(exact).max()) * 2.0**-target.scalar_frac
            if not np.any(self.flags & Flag.STATE) or size <= largest(target.width):
                word = Word(section, name)
                self.reached[word] = max(size, self.reached.get(word, 0.0))
        self.local[name] = value

    def _iterate(self, body, iteration, frame) -> None:
        self.local = {**self.values, **frame}
        super()._iterate(body, iteration, frame)


def attacks(case: str, artifact) -> list[np.ndarray]:
    random, top = np.random.default_rng(0), loudest(artifact)
    beats = [np.sign(np.sin(w * np.arange(STEPS)))[:, None] for w in (0.05, 0.2, 0.45, 0.9)]
    found = [b * np.ones(2) for b in beats] + [b * np.array([1.0, -1.0]) for b in beats]
    found += [np.sign(random.normal(size=(STEPS, 2))) for _ in range(4)]
    return [0.999999 * top * x for x in found]


@pytest.mark.parametrize(
    ("case", "roomy"), [*((case, False) for case in CASES), ("linear", True), ("nonlinear", True)]
)
def test_no_input_gets_past_a_bound(case: str, roomy: bool) -> None:
    artifact = stages_of(case, roomy)["integer"]
    found: Bounds = artifact.bounds(STEPS)
    random, worst = np.random.default_rng(1), 0.0
    for number, x in enumerate(attacks(case, artifact)):
        machine = Measure(artifact)
        label = number % 3
        if case == "regression":
            label = random.uniform(-1.0, 1.0, (STEPS // 3, 3))
        run_sweeps(artifact.host, machine.sweep, x, label)
        assert machine.reached.keys() == found.words.keys()
        for word, size in machine.reached.items():
            assert size <= found.words[word].reach * (1 + 1e-12), word
            if np.isfinite(found.words[word].reach):
                worst = max(worst, size / found.words[word].reach)
        for name, bound in found.sums.items():
            unit = next(a for a in artifact.program.accumulators if a.name == name).type.q.grid
            words = machine.accumulators[name] * 2.0**-unit
            if not machine.flags & (Flag.STATE | Flag.ACCUMULATOR):
                assert np.abs(words).max() <= bound.reach
    assert worst > 0.9, "the bounds are far from anything"
    assert not roomy or found.words[Word(Section.ECHO_STEP, "b0.plus.kick.p")].fits


def first_block(artifact, x: np.ndarray) -> dict[str, np.ndarray]:
    """The first block's values on the way of q and p, at every step, in real units."""
    seen: dict[str, list[np.ndarray]] = {}
    types = artifact.program.types(artifact.program.body(Section.FORWARD_STEP))

    def see(section: Section, iteration: int, name: str, value) -> None:
        if name in ("b0.free.second.q", "b0.free.kick.p"):
            unit = 2.0 ** -types[name].q.scalar_frac
            seen.setdefault(name, []).append(value * unit)

    machine = NumpyMachine(artifact.program, artifact.coefficients, artifact.tables, see)
    machine.sweep(artifact.host.forward(x))
    assert not machine.flags & Flag.STATE
    return {name: np.array(values) for name, values in seen.items()}


@pytest.mark.parametrize("name", ["b0.free.second.q", "b0.free.kick.p"])
def test_the_worst_input_of_a_linear_unit_reaches_its_bound(name: str) -> None:
    """Signs of the impulse response, backwards: within a few percent, and not beyond."""
    artifact = stages_of("linear", True)["integer"]
    bound = artifact.bounds(STEPS).words[Word(Section.FORWARD_STEP, name)]
    assert bound.fits
    top, silence = 0.999999 * loudest(artifact), np.zeros((STEPS, 2))
    rest = first_block(artifact, silence)[name]
    responses = []
    for channel in range(2):
        impulse = silence.copy()
        impulse[0, channel] = top
        responses.append(first_block(artifact, impulse)[name] - rest)
    reached = 0.0
    for position in range(rest.shape[1]):
        signs = np.sign([r[::-1, position] for r in responses]).T
        for side in (top, -top):
            reached = max(reached, np.abs(first_block(artifact, side * signs)[name]).max())
    assert 0.97 * bound.reach < reached <= bound.reach


def test_a_format_is_called_proven_only_if_it_is() -> None:
    formats = stages_of("linear")["formats"].formats
    found: Bounds = stages_of("linear")["integer"].bounds(STEPS)
    bases = {own.basis for own in formats.classes.values()}
    assert bases == {Basis.OBSERVED, Basis.FUNCTION, Basis.PROVEN}
    for word in formats.names:
        bound = found.words.get(word)
        if formats.of(word).basis is Basis.PROVEN and bound is not None:
            assert bound.fits, word
            q = formats.q(word)
            assert formats.bounds[word] == bound.reach <= largest(q.width) * 2.0**-q.scalar_frac
    assert any(" proven " in line for line in str(formats).splitlines())


def test_a_longer_sequence_may_have_no_proof() -> None:
    artifact = stages_of("linear", True)["integer"]
    word = Word(Section.FORWARD_STEP, "b0.free.second.q")
    reaches = [artifact.bounds(steps).words[word].reach for steps in (1, 10, STEPS, 10 * STEPS)]
    assert 0.0 < reaches[0] < reaches[1] < reaches[2] < 0.5 * reaches[3]


def test_what_learns_may_have_any_weight() -> None:
    program = stages_of("linear", True)["integer"]
    names = frozenset({"b0.unit.stiffness", "encoder.weight"})
    free = bounds(program.program, program.coefficients, program.tables, STEPS, names)
    held = program.bounds(STEPS)
    encoded = Word(Section.FORWARD_STEP, "encode.t1")
    assert free.words[encoded].reach > held.words[encoded].reach
    assert not free.words[Word(Section.FORWARD_STEP, "b0.free.first.q")].fits
    assert not free.sums


def test_proven_formats_need_no_margin() -> None:
    """With 6 bits to spare there is much to win, and all that is offered is finer and holds."""
    made = stages_of("linear", True)
    formats = made["formats"].formats
    finer = without_margin(formats)
    assert finer
    for name, q in finer.items():
        own = formats.q(name)
        reach = max(b for w, b in formats.bounds.items() if formats.names[w] == name)
        assert own.scalar_frac < q.scalar_frac and q.width == own.width
        assert reach <= largest(q.width) * 2.0**-q.scalar_frac < 2.1 * reach
    assert all(formats.classes[name].basis is Basis.OBSERVED for name in unproven(formats))


def test_a_narrower_format_loses_its_proof() -> None:
    """With one integer bit too few a word is not proven any more, and the loudest input shows that
    it should not be; with that bit it is, and none clamps it."""
    made = stages_of("linear", True)
    integer, formats = made["integer"], made["formats"].formats
    word = Word(Section.FORWARD_STEP, "encode.t1")
    assert formats.of(word).basis is Basis.PROVEN
    body = integer.program.body(Section.FORWARD_STEP)
    reach = integer.bounds(STEPS).words[word].reach
    enough = 1 + math.ceil(math.log2(reach)) + formats.q(word).scalar_frac
    for width in (enough, enough - 1):

        def narrowed(i: Instr, width: int = width) -> Instr:
            q = replace(i.type.q, width=width)
            return replace(i, type=replace(i.type, format=q)) if i.name == word.name else i

        bodies = tuple(
            replace(b, instrs=tuple(map(narrowed, b.instrs))) if b is body else b
            for b in integer.program.bodies
        )
        narrow = replace(integer, program=replace(integer.program, bodies=bodies))
        fits = narrow.bounds(STEPS).words[word].fits
        assert fits == (width == enough)
        top = 0.999999 * loudest(narrow)
        clamped = []
        for signs in itertools.product((1.0, -1.0), repeat=2):
            machine = Measure(narrow)
            machine.sweep(narrow.host.forward(top * np.array([signs]) * np.ones((2, 1))))
            limit = largest(width) * 2.0 ** -formats.q(word).scalar_frac
            clamped.append(machine.reached[word] > limit)
        assert any(clamped) != fits
