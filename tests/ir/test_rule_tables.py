"""Every interpreter says what every operation means; a new operation shows here first."""

from __future__ import annotations

from echoloom.backends.onnx import integer_rules, qonnx_rules, real_rules
from echoloom.backends.run import jax_words, run_numpy
from echoloom.ir import real
from echoloom.ir.ops import ARITY, ATTRIBUTE_OF, PRODUCTS, Op

REAL_ONLY = {Op.SHIFT}  # a quantised program shifts in its requants
ECHO_ONLY = {Op.OUTER}


def test_the_real_interpreter_knows_every_operation() -> None:
    assert set(real.REAL_RULES) == set(Op)
    assert set(real_rules.REAL_NODES) == set(Op)


def test_the_integer_interpreters_know_every_quantised_operation() -> None:
    assert set(run_numpy.NUMPY_RULES) == set(Op) - REAL_ONLY
    assert set(jax_words.JAX_RULES) == set(Op) - REAL_ONLY
    assert set(integer_rules.INT64_NODES) == set(Op) - REAL_ONLY
    assert set(qonnx_rules.QUANT_NODES) == set(Op) - REAL_ONLY - ECHO_ONLY


def test_every_operation_has_an_arity_and_only_unknown_ones_attributes() -> None:
    assert set(ARITY) == set(Op)
    assert set(ATTRIBUTE_OF) < set(Op)
    plain = {op for op in Op if op not in ATTRIBUTE_OF}
    assert plain == PRODUCTS | {Op.ADD, Op.SUB}
