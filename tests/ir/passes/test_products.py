"""Which operand of a product of two words is the multiplier's narrow one."""

from __future__ import annotations

import pytest

from echoloom.ir.contract import EngineConfig, Narrow, Wide
from echoloom.ir.parser import parse
from echoloom.ir.passes.allocate import allocate
from echoloom.ir.passes.layout import Orientation, Place
from echoloom.ir.passes.products import Products, Unmappable
from echoloom.ir.passes.tasks import Multiply
from echoloom.ir.sections import Section

LANES, NARROW = 2, 18
SHORT, LONG = "Q(4,14)", "Q(4,24)"  # 18 bits fit the narrow side, 28 do not

TEXT = """
program products

state left : {left}[3]
state right : {right}[3]
accumulator sums {{scale=1.0}} : Q(20,40)[3,3]

echo_step:
  %table = outer(left, right) : Q(8,40)[3,3]
  %each = mul(left, right) : Q(8,40)[3]
  accumulate sums += %table
"""


WAYS = pytest.mark.parametrize("way", Orientation)
WIDTHS = pytest.mark.parametrize(
    ("left", "right", "narrow"),
    [(SHORT, LONG, "left"), (LONG, SHORT, "right")],
    ids=["left is short", "right is short"],
)


def products(left: str, right: str) -> Products:
    program = parse(TEXT.format(left=left, right=right))
    at = allocate(program, {}, EngineConfig(LANES, 1))
    return Products(program, program.body(Section.ECHO_STEP), at, NARROW)


def outer(own: Products, way: Orientation) -> Multiply:
    return own.outer(own.definitions["table"], Place(0, 3, 3, way), 0)


def narrow_of(own: Products, multiply: Multiply) -> str:
    """The state that is read through the narrow side's port; the other side has the other port."""
    sides = (multiply.narrow, multiply.wide)
    assert sides in ((Narrow.X, Wide.Y), (Narrow.Y, Wide.X))
    address = multiply.x.base if multiply.narrow is Narrow.X else multiply.y
    return next(name for name, place in own.at.states.items() if place.address == address)


@WAYS
@WIDTHS
def test_the_narrow_operand_of_an_outer_product(
    left: str, right: str, narrow: str, way: Orientation
) -> None:
    own = products(left, right)
    assert narrow_of(own, outer(own, way)) == narrow


@WIDTHS
def test_the_narrow_operand_of_a_product_of_elements(left: str, right: str, narrow: str) -> None:
    own = products(left, right)
    assert narrow_of(own, own.elementwise(own.definitions["each"], 0)) == narrow


@WAYS
def test_no_operand_is_narrow_enough(way: Orientation) -> None:
    with pytest.raises(Unmappable, match="neither fits the multiplier's narrow side"):
        outer(products(LONG, LONG), way)
