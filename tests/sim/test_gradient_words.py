"""Gradient words that are shorter than the accumulator: the same integers, and the same flag where
a sum leaves them, at every level."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from small_models import samples

import echoloom as el
from echoloom.ir.flags import Flag
from echoloom.ir.widths import Widths
from echoloom.sim.run_rtl import Simulator

LENGTH = 6


def compiled(widths: Widths, scale: float = 1.0) -> tuple[el.CompiledProgram, np.ndarray]:
    """A small program on two lanes, and sequences of which it was calibrated on `scale`."""
    model = el.HSSM(
        inputs=2, outputs=2, hidden=3, state=2, blocks=1, step=0.4, key=jax.random.key(3)
    )
    x = samples(model, 2, LENGTH)
    return el.compile(model, scale * x, [0, 1], lanes=2, widths=widths), x


def test_shorter_words_change_no_integer() -> None:
    (plain, x), (short, _) = compiled(Widths()), compiled(Widths(gradient=45))
    assert short.artifact.mapped.config.gradient == 45
    assert {a.type.q.width for a in short.ir.accumulators} == {45}
    assert short.epsilons == plain.epsilons
    ours, theirs = (program.run(x[1], 1) for program in (short, plain))
    assert not ours.overflow
    found = {**ours.gradients, **ours.echo_states}
    for name, words in {**theirs.gradients, **theirs.echo_states}.items():
        assert np.array_equal(found[name], words), name


@pytest.mark.parametrize("simulator", ["golden", "amaranth"])
def test_all_levels_give_the_same(simulator: Simulator) -> None:
    program, x = compiled(Widths(gradient=45))
    report = el.verify(program, x[:1], [1], simulator=simulator)
    assert report.lsb_off == 0 and report.overflowed == 0


# Words without spare range, so that products come near to what a gradient word holds.
TIGHT = Widths(word=16, narrow=9, accumulator=30, margin=0, gradient=24)


@pytest.mark.parametrize("simulator", ["golden", "amaranth"])
def test_all_levels_raise_the_flag_where_a_sum_overflows(simulator: Simulator) -> None:
    program, x = compiled(TIGHT)
    # A sequence of its largest sample: nothing is beyond its range, but the sums are.
    steady = np.repeat(x[0, [np.abs(x[0]).sum(1).argmax()]], 40, axis=0)
    result = program.run(steady, 1)
    assert result.echo_flags & Flag.ACCUMULATOR
    wide = compiled(Widths(word=16, narrow=9, accumulator=30, margin=0))[0].run(steady, 1)
    assert not wide.echo_flags & Flag.ACCUMULATOR
    report = el.verify(program, [steady], [1], simulator=simulator)
    assert report.lsb_off == 0 and report.overflowed == 1
