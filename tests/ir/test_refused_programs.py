"""A refusal is said of the program, with names, and of the model, without."""

from __future__ import annotations

from echoloom.ir.places import Copy, Place
from echoloom.ir.refusals import Refused, Value

HELD = Value.of("b1.free.kick.hf", Place(1, Copy.FREE))


def test_with_names_and_without():
    refused = Refused("the term ", Value("b7.x"), " is too wide").at("echo_step", HELD)
    assert str(refused) == "echo_step: b1.free.kick.hf: the term b7.x is too wide"
    assert refused.of_a_model() == "the term a value is too wide"


def test_the_block_is_of_the_first_value_that_has_one():
    assert Refused("no names").block is None
    assert Refused(Value("b7.x"), " and ", HELD).block == 1  # a name says nothing
    assert Refused(Value.of("q", Place(2))).at("step", HELD).block == 1


def test_the_outermost_place_is_said_first():
    refused = Refused("too wide").at("first", "second").at("outside")
    assert str(refused) == "outside: first: second: too wide"
    assert refused.of_a_model() == "too wide"
