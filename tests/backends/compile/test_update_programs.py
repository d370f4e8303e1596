"""A compiled program's UPDATE on the golden engine: what `ir.update_rules` says, word by word."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_programs import INPUTS, small_model

import echoloom as el
from echoloom.hdl.golden import GoldenEngine
from echoloom.ir import update_rules
from echoloom.ir.contract import Register
from echoloom.ir.engine_passes import EnginePass
from echoloom.ir.flags import Flag
from echoloom.ir.learning import Rule, ScaledUpdate
from echoloom.ir.passes.layout import Place
from echoloom.ir.passes.learning_plan import LearnedTensor

WIDTH, WORD, MOST = 18, 28, (1 << 17) - 1
UPDATES = 6
RULES = (
    el.SignUpdate(updates=UPDATES, batch=2),
    el.SignUpdate(updates=UPDATES, batch=2, momentum=True),
    el.ScaledUpdate(updates=UPDATES, batch=2),
)


def compiled(rule: Rule, lanes: int) -> el.CompiledProgram:
    """A program of a linear classification whose stiffness learns too."""
    X = np.random.default_rng(0).standard_normal((4, 8, INPUTS))
    return el.compile(
        small_model(outputs=2, complex=False), X, [0, 1, 1, 0], lanes=lanes, learning=rule
    )


def words_of(memory: list[list[int]], place: Place, shape: tuple[int, ...]) -> np.ndarray:
    flat = np.zeros(shape, np.int64).reshape(-1)
    for index, lane, address in place.elements(len(memory)):
        flat[index] = memory[lane][address]
    return flat.reshape(shape)


def put(memory: list[list[int]], place: Place, words: np.ndarray) -> None:
    for index, lane, address in place.elements(len(memory)):
        memory[lane][address] = int(words.flat[index])


def noise_of(start: np.ndarray, t: LearnedTensor, shape: tuple[int, ...]) -> np.ndarray:
    """The generator's words by element, and what it is left at."""
    rows = update_rules.noise_rows(start, t.rows)
    banks = [[0] * t.weight.address + bank for bank in rows.T.tolist()]
    return words_of(banks, t.weight, shape)


def expected(
    rule: Rule, t: LearnedTensor, w: np.ndarray, g: np.ndarray, step: int, noise: np.ndarray
) -> update_rules.Updated:
    lift = t.lift(WIDTH)
    if isinstance(rule, ScaledUpdate):
        shift = update_rules.shift_of(g)
        own = noise_of(noise, t, w.shape)
        return update_rules.by_scale(w, g, own, step, lift, WIDTH, WORD, shift)
    return update_rules.by_sign(w, g, step, lift, WIDTH)


@pytest.mark.parametrize("lanes", [1, 3, 4])
@pytest.mark.parametrize("rule", RULES, ids=["sign", "momentum", "scaled"])
def test_words_after_an_update_are_what_the_rule_says(rule: Rule, lanes: int) -> None:
    program = compiled(rule, lanes)
    plan, engine = program.learning, GoldenEngine(program.image)
    assert plan is not None
    assert any(t.positive for t in plan.tensors)
    random = np.random.default_rng(lanes)
    noise = update_rules.noise_keys(0, 0, lanes)
    if plan.noise is not None:
        for lane, word in enumerate(noise.tolist()):
            engine.vector[lane][plan.noise] = word
    cycles = 0
    for number, t in enumerate(plan.tensors):
        shape = program.artifact.coefficients[t.name].shape
        # Words near the ends of their range, so that some are clamped.
        w = random.integers(0 if t.positive else -MOST, MOST + 1, shape)
        w.flat[0], w.flat[-1] = MOST, 0 if t.positive else -MOST
        g = random.integers(-(1 << 12 + 3 * number), 1 << 12 + 3 * number, shape)
        g.flat[0] = -(1 << 44) * (number % 2)
        step = int(random.choice([-1, 1])) * 30_000
        put(engine.weight, t.weight, w)
        put(engine.gradient, t.gradient, g)
        engine.vector[0][plan.step], engine.vector[0][plan.lift] = step, t.lift(WIDTH)
        others = [np.array(bank) for bank in engine.weight]
        at = {Register.WEIGHT_ROW: t.weight.address, Register.GRADIENT_ROW: t.gradient.address}
        if isinstance(rule, ScaledUpdate):
            cycles += engine.run(EnginePass.SCAN, frames=[()] * t.rows, registers=at).cycles
        result = engine.run(EnginePass.UPDATE, frames=[()] * t.rows, registers=at)
        cycles += result.cycles
        right = expected(rule, t, w, g, step, noise)
        np.testing.assert_array_equal(words_of(engine.weight, t.weight, shape), right.words)
        assert result.clamped == right.clamped
        assert result.flags == (Flag.WEIGHT if right.clamped else 0)
        momentum = not isinstance(rule, ScaledUpdate) and rule.momentum
        kept = update_rules.decayed(g, WORD) if momentum else g
        np.testing.assert_array_equal(words_of(engine.gradient, t.gradient, shape), kept)
        noise = update_rules.noise_rows(noise, t.rows)[-1]
        put(engine.weight, t.weight, w)
        assert all(map(np.array_equal, others, engine.weight))
    assert cycles == program.artifact.mapped.update_cycles()
