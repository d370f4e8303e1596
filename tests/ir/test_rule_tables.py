"""Every interpreter says what every operation means; a new operation shows here first."""

from __future__ import annotations

from echoloom.backends.onnx import integer_rules, qonnx_rules, real_rules
from echoloom.backends.run import jax_words, run_numpy
from echoloom.ir import real
from echoloom.ir.ops import ARITY, ATTRIBUTE_OF, Op
from echoloom.ir.parity import PRODUCTS

REAL_ONLY = {Op.SHIFT}  # a quantised program shifts in its requants
ECHO_ONLY = {Op.OUTER}


def test_the_real_interpreter_knows_every_operation() -> None:
    assert set(real.RULES) == set(Op)
    assert set(real_rules.RULES) == set(Op)


def test_the_integer_interpreters_know_every_quantised_operation() -> None:
    assert set(run_numpy.RULES) == set(Op) - REAL_ONLY
    assert set(jax_words.RULES) == set(Op) - REAL_ONLY
    assert set(integer_rules.RULES) == set(Op) - REAL_ONLY
    assert set(qonnx_rules.RULES) == set(Op) - REAL_ONLY - ECHO_ONLY


def test_every_operation_has_an_arity_and_only_unknown_ones_attributes() -> None:
    assert set(ARITY) == set(Op)
    assert set(ATTRIBUTE_OF) < set(Op)
    plain = {op for op in Op if op not in ATTRIBUTE_OF}
    assert plain == PRODUCTS | {Op.ADD, Op.SUB}
