"""Refusals of engine sizes and word lengths that no engine has."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, SupportsIndex

from echoloom.backends.compile.targets import TARGETS, Target
from echoloom.frontend.data.arrays import whole_number
from echoloom.ir.arithmetic import Rounding
from echoloom.ir.contract import Register
from echoloom.ir.entry_layouts import DRAIN_LAYOUT, MOST_LANES
from echoloom.ir.fields import REGISTER_BITS
from echoloom.ir.learning import Rule
from echoloom.ir.widths import Widths

MOST_SLOTS = 1 << DRAIN_LAYOUT["slot"]
MOST_SEGMENT_BITS = (1 << DRAIN_LAYOUT["segment_bits"]) - 1
WIDEST = 63  # bits of a word of the NumPy level


def target_named(name: str) -> Target:
    """ValueError for a target that there is not."""
    if name not in TARGETS:
        raise ValueError(f"unknown target {name!r}; known targets are {', '.join(TARGETS)}")
    return TARGETS[name]


def engine_sizes(
    lanes: SupportsIndex, drains: SupportsIndex | None, slots: SupportsIndex
) -> tuple[int, int, int]:
    """(lanes, drains, slots) as plain numbers, `drains` with its default. ValueError where they
    are no engine's."""
    own, waiting = whole_number("compile: lanes", lanes), whole_number("compile: slots", slots)
    emptied = max(1, own // 4) if drains is None else whole_number("compile: drains", drains)
    if own > MOST_LANES:
        raise ValueError(f"an engine has at most {MOST_LANES} lanes, got lanes={own}")
    if own < 1 or not 1 <= emptied <= own or not 1 <= waiting <= MOST_SLOTS:
        raise ValueError(
            f"an engine has lanes >= 1, 1 <= drains <= lanes and 1 <= slots <= {MOST_SLOTS}, "
            f"got lanes={own}, drains={emptied}, slots={waiting}"
        )
    return own, emptied, waiting


def checked_widths(widths: Widths) -> Widths:
    """`widths` in plain numbers. ValueError for word lengths that no engine computes with."""
    if not isinstance(widths.rounding, Rounding):
        raise ValueError(
            f"widths.rounding is {widths.rounding!r}, but it must be a Rounding, such as "
            "Rounding.HALF_EVEN"
        )
    optional = ("gradient",) if widths.gradient is None else ()
    names = [f.name for f in fields(widths) if f.name not in ("rounding", *optional)]
    widths = replace(
        widths, **{n: whole_number(f"compile: {n}", getattr(widths, n)) for n in names}
    )
    for name, margin, width in (
        ("margin", widths.margin, widths.word),
        ("weight_margin", widths.weight_margin, widths.narrow),
    ):
        if not 0 <= margin <= width - 2:
            raise ValueError(
                f"{name} is {margin}, but a word of {width} bits can spare 0 to {width - 2} of them"
            )
    word, narrow, accumulator = widths.word, widths.narrow, widths.accumulator
    if narrow > word or not word + narrow < accumulator <= WIDEST:
        raise ValueError(
            f"word={word}, narrow={narrow} and accumulator={accumulator} bits do not go together: "
            "narrow is at most word, and the accumulator is wider than their product, word + "
            f"narrow, and has at most {WIDEST} bits"
        )
    if not word + narrow - 1 <= widths.gradient_bits <= accumulator:
        raise ValueError(
            f"gradient is {widths.gradient_bits} bits, but a sum over steps has at least the "
            f"{word + narrow - 1} of a product and at most the accumulator's {accumulator}"
        )
    if not 1 <= widths.segment_bits <= MOST_SEGMENT_BITS:
        raise ValueError(
            f"segment_bits is {widths.segment_bits}, but a table has 2 to 2**{MOST_SEGMENT_BITS} "
            "segments"
        )
    return widths


def checked_rule(rule: Any, labelled: bool) -> Rule | None:
    """The rule that a program is to learn by. ValueError for anything else, and for samples that
    nothing can be learned from."""
    if rule is None:
        return None
    if not isinstance(rule, Rule):
        raise ValueError(
            f"learning is {rule!r}, but it must be None, a SignUpdate or a ScaledUpdate"
        )
    if not labelled:
        raise ValueError(
            "learning needs labels (or targets) of the samples: the training that formats are "
            "chosen for is run on them"
        )
    return rule


def check_output_step(steps: int) -> None:
    """ValueError where the engine cannot count the steps from one output to the next."""
    most = (1 << REGISTER_BITS[Register.OUTPUT_STEP]) - 1
    if steps > most:
        raise ValueError(
            f"the model's output_step is {steps}, but an engine counts at most {most} steps from "
            "one output to the next"
        )
