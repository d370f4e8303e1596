"""What rounding takes of the smallest: said, and refused where it matters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_programs import samples, small_model

import echoloom as el
from echoloom.backends.compile.rounding import LARGE, Rounding, Vanished
from echoloom.backends.gradients.fixed_gradient import CALIBRATION, calibration_set
from echoloom.frontend.data.files import digest
from echoloom.frontend.models.units import LinearUnit

LABELS = np.array([0, 1])


def with_value_row(row: Any) -> el.HSSM:
    """A model whose gated linear unit has a row of its own beside numbers up to 0.9."""
    model = small_model(complex=False)
    own = np.full(np.shape(model.blocks[0].value.weight), 0.9)
    own[1] = row
    return eqx.tree_at(lambda m: m.blocks[0].value.weight, model, jnp.asarray(own))


def with_small_oscillator(factor: float) -> el.HSSM:
    """One oscillator is driven less by `factor` and read out more: the same function, no integers
    for it."""
    model = small_model(complex=False)
    unit = model.blocks[0].unit
    assert isinstance(unit, LinearUnit)
    return eqx.tree_at(
        lambda m: (m.blocks[0].unit.drive, m.blocks[0].unit.readout),
        model,
        (unit.drive.at[0].multiply(factor), unit.readout.at[..., 0].multiply(1.0 / factor)),
    )


def test_figures_are_parts_of_the_channel_and_of_the_row() -> None:
    # Words up to 0.9 have 17 bits behind the point. Of 2.25 units a quarter unit is lost.
    program = el.compile(with_value_row(2.25 * 2.0**-17), samples(), LABELS, lanes=2)
    row = program.rounding["row"]
    assert row.what == "row 1 of b0.value.weight" and row.share == pytest.approx(1 / 9)
    peaks = np.abs(samples()).max((0, 1))
    frac = program.ir.bodies[1].frame[0].type.q.scalar_frac
    worst = int(peaks.argmin())
    channel = program.rounding["input channel"]
    assert channel.what == f"input channel {worst}"
    assert channel.share == pytest.approx(2.0 ** -(frac + 1) / peaks[worst], rel=1e-5)
    whole = program.with_parameters(with_value_row(2.0**-15)).rounding["row"]
    assert whole.share < 1e-3  # the new parameters' figure


def test_what_is_lost_and_does_not_matter_is_not_refused() -> None:
    """A row pruned to next to nothing, whatever is left of it."""
    program = el.compile(with_value_row(1e-9), samples(), LABELS, lanes=2)
    assert program.rounding["row"] == Rounding("row 1 of b0.value.weight", 1.0)
    zeros = el.compile(with_value_row(0.0), samples(), LABELS, lanes=2)
    assert zeros.rounding["row"].share < LARGE


def test_a_row_that_matters_is_refused_with_its_figure() -> None:
    sentence = (
        r"^row 0 of b0\.unit\.drive is so much smaller than the rest that rounding takes 100\.0% "
        r"of it, and roundings of this kind move the outputs by \d+\.\d% of their size; bring rows "
        "and columns to similar sizes, or compile with wider weights$"
    )
    with pytest.raises(Vanished, match=sentence):
        el.compile(with_small_oscillator(2.0**-20), samples(), LABELS, lanes=2)
    el.compile(with_small_oscillator(2.0**-6), samples(), LABELS, lanes=2)


def test_what_the_refusal_says_is_the_distance_from_the_float_model() -> None:
    """The one loses its drive and the other its readout: so much do the float model's logits move
    without both."""
    model = with_small_oscillator(2.0**-20)
    unit = model.blocks[0].unit
    assert isinstance(unit, LinearUnit)
    without = eqx.tree_at(
        lambda m: (m.blocks[0].unit.drive, m.blocks[0].unit.readout),
        model,
        (unit.drive.at[0].set(0.0), unit.readout.at[..., 1].set(0.0)),
    )
    logits = [np.stack([m(jnp.asarray(x)) for x in samples()]) for m in (model, without)]
    share = np.abs(logits[1] - logits[0]).max() / np.abs(logits[0]).max()
    with pytest.raises(Vanished, match=rf"move the outputs by {share:.1%} of"):
        el.compile(model, samples(), LABELS, lanes=2)


def test_files_of_releases_that_kept_no_peaks_load(tmp_path: Path) -> None:
    program = el.compile(small_model(), samples(), LABELS, lanes=2)
    path = tmp_path / "old.elp"
    program.save(path)
    line, payload = path.read_bytes().split(b"\n", 1)
    header = json.loads(line)
    assert header.pop("peaks") == list(program.peaks)
    header["sha256"] = digest(header, payload)
    path.write_bytes(json.dumps(header).encode() + b"\n" + payload)
    loaded = el.load(path)
    assert loaded.peaks == () and loaded.ir == program.ir
    wanted = {kind: r for kind, r in program.rounding.items() if kind != "input channel"}
    assert loaded.rounding == wanted


def test_calibration_sees_the_farthest_of_every_small_channel() -> None:
    x = np.ones((4 * CALIBRATION, 2, 3)) * np.array([1.0, 0.5, 1e-3])
    x[1, 1] = [1.0, 2.0, 1e-3]
    x[2, 0] = [1.0, 0.5, -5e-3]
    chosen = calibration_set(x, None).tolist()
    assert len(chosen) == CALIBRATION + 2 and {1, 2} <= set(chosen)
