"""Words that int64 nodes cannot carry are refused before anything is written."""

from __future__ import annotations

import pytest

from echoloom.backends.onnx.widths import TooWide, check_widths
from echoloom.ir.parser import parse
from echoloom.ir.tables import program_tables

TEXT = """
program wide

coefficient weight : Q(20,18)[2,2]
state b0.free.q : Q(6,22)[2]
accumulator sum {{scale=1.0}} : Q({sum},0)[2]

forward_prologue:
  %q = constant() {{value=0.0}} : Q(6,22)[2]
  b0.free.q <- %q

forward_step:
  frame x : Q({x},4)[2]
  %product = matvec(weight, x) : Q({product},22)[2]
  %near = requant(%product) {{rounding=half_even, overflow=saturate}} : Q(8,{near})[2]
  %bent = table(%near) {{function=tanh, segment_bits=4, range_bits=3}} : Q(2,16)[2]
  accumulate sum += %q
"""
NARROW = {"sum": 40, "x": 14, "product": 35, "near": 10}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sum": 63}, "accumulator sum has 63 bits, but int64 nodes carry at most 62"),
        ({"product": 42}, "forward_step: product has 64 bits"),
        ({"x": 60}, "forward_step: x has 64 bits"),
        ({"near": 38}, r"forward_step: near is shifted by -16, but only 0 to 62 will do"),
    ],
)
def test_the_signal_is_named(changes: dict[str, int], sentence: str) -> None:
    sizes = {**NARROW, **changes}
    text = TEXT.format(**sizes)
    program = parse(text.replace("accumulate sum += %q", "accumulate sum += %bent"))
    tables = program_tables(program, 18)
    with pytest.raises(TooWide, match=sentence):
        check_widths(program, tables)


def test_a_steep_table_of_a_wide_word_is_named() -> None:
    program = parse(TEXT.format(**NARROW).replace("+= %q", "+= %bent"))
    check_widths(program, program_tables(program, 18))
    tables = program_tables(program, 46)
    with pytest.raises(TooWide, match=r"forward_step: bent: its table's rise takes 6[4-9] bits"):
        check_widths(program, tables)
