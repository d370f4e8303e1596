"""Every level and the RTL give the same integers with whatever precision a file asks for."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from small_models import samples

import echoloom as el
from echoloom.frontend.models.hssm import with_statistics
from echoloom.ir.precision import Signals, read_precision

FILES = {
    "one multiplier": """
[widths]
word = 18
narrow = 17
accumulator = 39
gradient = 35
""",
    "odd": """
nudges = [-3]

[widths]
word = 23
narrow = 13
accumulator = 41
gradient = 37
segment_bits = 7

[margins]
back = 5
""",
    "square": """
[widths]
word = 21
narrow = 21
accumulator = 47
margin = 1
""",
    "long": """
[widths]
word = 37
narrow = 19
accumulator = 61
gradient = 57
segment_bits = 9
weight_margin = 1
""",
    "explicit": """
nudges = [1]

[widths]
word = 27
narrow = 18
accumulator = 49
gradient = 46

[margins]
state = 3
activation = 1

[formats.program]
"b0.free.q" = "Q(8,19)"
"head.weight" = "Q(3,15)"

[formats.forward_step]
"encode.t1" = "Q(6,21)"
""",
    "auto": "auto",
}


@pytest.mark.parametrize("name", FILES)
def test_all_levels_agree_on_what_was_chosen(name: str, tmp_path: Path) -> None:
    model = el.HSSM(2, 2, 2, 1, 1, key=jax.random.key(5))
    x = samples(model, 4, 16)
    model = with_statistics(model, jnp.asarray(x, model.encoder.weight.dtype))
    asked, chosen = tmp_path / "asked.toml", tmp_path / "chosen.toml"
    asked.write_text(FILES[name])
    first = el.compile(
        model, x, lanes=2, slots=2, cosine=0.99, norm=0.05,
        precision="auto" if name == "auto" else asked,
    )  # fmt: skip
    chosen.write_text(str(first.precision))
    program = el.compile(model, x, lanes=2, slots=2, precision=chosen)
    assert program.image == first.image
    own, config = read_precision(chosen), program.image.config
    assert (config.word, config.narrow) == (own.widths.word, own.widths.narrow)
    if name == "explicit":
        assert own.margins == {Signals.STATE: 3, Signals.ACTIVATION: 1}
    report = el.verify(program, [x[0, :6], x[1, :5]], [1, 0], simulator="verilator")
    assert report.lsb_off == 0 and report.overflowed == 0
    assert all(one.predicted == one.rtl for one in report.cycles.values())
