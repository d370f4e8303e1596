"""The words that fit small chips: short ones, with which every level still gives the same integers,
in the predicted cycles. Engines and words are those that `benchmarks/fabric.py --boards` routes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import samples

import echoloom as el
from echoloom.backends.compile.targets import TARGETS
from echoloom.backends.gradients.quality import gradient_quality
from echoloom.frontend.models.hssm import with_statistics
from echoloom.ir.widths import Widths

TINY = Widths(word=9, narrow=8, accumulator=20, segment_bits=5)
SMALL = TARGETS["up5k"].widths  # what el.compile(..., target="up5k") takes


@pytest.mark.parametrize(
    ("widths", "lanes", "cosine"), [(TINY, 1, 0.98), (SMALL, 2, 0.99)], ids=["tiny", "small"]
)
def test_all_levels_give_the_same(widths: Widths, lanes: int, cosine: float) -> None:
    model = el.HSSM(2, 2, 2, 1, 1, key=jax.random.key(5))
    x = samples(model, 2, 16)
    model = with_statistics(model, jnp.asarray(x, model.encoder.weight.dtype))
    program = el.compile(model, x, target="up5k", lanes=lanes, drains=1, slots=1, widths=widths)
    assert program.target.name == "up5k"
    assert program.artifact.mapped.config.word == widths.word
    report = el.verify(program, [x[0, :6]], [1], simulator="amaranth")
    assert report.lsb_off == 0 and report.overflowed == 0
    assert all(one.predicted == one.rtl for one in report.cycles.values())
    quality = gradient_quality(program, list(x), [0, 1])
    whole = np.mean([tensor.cosine for tensor in quality.values()])
    assert whole > cosine, quality
