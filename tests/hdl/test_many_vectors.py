"""Every arithmetic component at the engine's own widths, on 131,072 random vectors.

Small widths are exhausted beside each component's other tests; here words are as long as those of
the demo. What is added up in a lane is proven for all inputs (`echoloom prove --blocks`).
"""

from __future__ import annotations

import numpy as np
import pytest
from streaming import stream_through
from test_carry_select import sums
from test_lookup import WithTable
from test_lookup import run as look_up
from test_requantise import golden as requantised
from test_requantise import run as requantise

from echoloom.hdl.multiplier import Multiplier
from echoloom.hdl.requantise import Requantise
from echoloom.hdl.tree import AdderTree
from echoloom.ir.arithmetic import Overflow, piecewise_linear
from echoloom.ir.contract import Add, EngineConfig

pytestmark = pytest.mark.long

COUNT = 1 << 17
WORD, NARROW, ACCUMULATOR, LANES = 28, 18, 54, 4


def words(random: np.random.Generator, bits: int, *shape: int) -> np.ndarray:
    """Signed words of all sizes: as many of few bits as of all."""
    wide = random.integers(-(1 << bits - 1), 1 << bits - 1, (COUNT, *shape))
    return wide >> random.integers(0, bits, (COUNT, *shape))


def test_requantiser():
    random = np.random.default_rng(1)
    columns = (
        words(random, ACCUMULATOR), random.integers(0, 64, COUNT), words(random, WORD),
        random.choice(list(Add), COUNT), random.integers(2, WORD + 1, COUNT),
        random.choice(list(Overflow), COUNT),
    )  # fmt: skip
    rows = [tuple(row) for row in np.stack(columns, axis=1).tolist()]
    found = requantise(Requantise(accumulator=ACCUMULATOR, word=WORD), rows)
    expected = requantised(rows)
    assert len(found) == COUNT and expected[:, 1].any()
    np.testing.assert_array_equal(found, expected)


def test_table_unit():
    random = np.random.default_rng(2)
    base = random.integers(-(1 << WORD - 1), 1 << WORD - 1, 512)
    slope = random.integers(-(1 << NARROW - 1), 1 << NARROW - 1, 512)
    z = words(random, WORD)
    entries = [(int(b), int(s)) for b, s in zip(base, slope, strict=True)]
    component = WithTable(word=WORD, narrow=NARROW, depth=1024)
    found = look_up(component, WORD, entries, 512, [(int(v), 512, 9, 16, 17) for v in z])
    expected = piecewise_linear(
        z, base, slope, segment_bits=9, fraction_bits=16, slope_shift=17, word=WORD
    )
    assert len(found) == COUNT
    np.testing.assert_array_equal(found, np.stack(expected, axis=1))


def test_multiplier():
    random = np.random.default_rng(3)
    narrow, wide = words(random, NARROW), words(random, WORD)
    rows = list(zip(narrow.tolist(), wide.tolist(), strict=True))
    found = stream_through(
        Multiplier(NARROW, WORD), ("narrow", "wide"), rows, ("product",), latency=Multiplier.latency
    )
    assert len(found) == COUNT
    assert [product for (product,) in found] == (narrow * wide).tolist()


def test_carry_select_sum():
    random = np.random.default_rng(4)
    a, b = words(random, ACCUMULATOR), words(random, ACCUMULATOR)
    carry = random.integers(0, 2, COUNT)
    found = sums(ACCUMULATOR, list(zip(a.tolist(), b.tolist(), carry.tolist(), strict=True)))
    assert len(found) == COUNT
    assert found == (a + b + carry).tolist()


def test_tree():
    config = EngineConfig(lanes=LANES, drains=1, word=WORD, narrow=NARROW)
    products = words(np.random.default_rng(5), WORD + NARROW, LANES)
    tree = AdderTree(config)
    ports = [f"products_{lane}" for lane in range(LANES)]
    for name, port in zip(ports, tree.products, strict=True):
        setattr(tree, name, port)
    found = stream_through(tree, ports, products.tolist(), ("total",), latency=tree.latency)
    assert len(found) == COUNT
    assert [total for (total,) in found] == products.sum(axis=1).tolist()
