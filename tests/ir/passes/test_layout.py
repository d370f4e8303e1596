"""Where elements live: every one in its own word, and none where another one is."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_models import Sizes, build

from echoloom.ir.contract import EngineConfig, Timing
from echoloom.ir.passes.image import image, place
from echoloom.ir.passes.layout import (
    Extent,
    Orientation,
    Place,
    filled,
    groups,
    in_group,
    matrix,
    orientation,
)

LANES = st.integers(1, 7)
EXTENT = st.integers(1, 20)


@given(EXTENT, EXTENT, LANES, st.integers(0, 9), st.sampled_from(Orientation))
def test_elements_are_a_bijection(
    rows: int, columns: int, lanes: int, address: int, way: Orientation
) -> None:
    own = Place(address, rows, columns, way)
    elements = list(own.elements(lanes))
    assert sorted(index for index, _, _ in elements) == list(range(rows * columns))
    words = {(lane, word) for _, lane, word in elements}
    assert len(words) == rows * columns
    assert all(0 <= lane < lanes for lane, _ in words)
    assert {word for _, word in words} == set(range(address, address + own.words(lanes)))


@given(EXTENT, EXTENT, LANES, st.sampled_from(Orientation))
def test_elements_follow_the_orientation(
    rows: int, columns: int, lanes: int, way: Orientation
) -> None:
    """Stored row r is row r of the tensor, or its column r; row r is in bank r mod lanes."""
    shape = (rows, columns) if way is Orientation.ROWS else (columns, rows)
    tensor = np.arange(rows * columns).reshape(shape)
    stored = tensor if way is Orientation.ROWS else tensor.T
    for index, lane, word in Place(0, rows, columns, way).elements(lanes):
        row = word // columns * lanes + lane
        assert stored[row, word % columns] == index


@given(EXTENT, LANES)
def test_groups_are_full_but_for_the_last(size: int, lanes: int) -> None:
    count = groups(size, lanes)
    sizes = [in_group(size, g, lanes) for g in range(count)]
    assert sum(sizes) == size
    assert all(n == lanes for n in sizes[:-1]) and 1 <= sizes[-1] <= lanes


@given(EXTENT, EXTENT, LANES)
def test_the_orientation_is_the_one_with_fewer_words(rows: int, columns: int, lanes: int) -> None:
    shape = (rows, columns)
    memory = {way: filled(lanes, [("w", matrix(shape, way))]) for way in Orientation}
    chosen = orientation(rows, columns, lanes)
    assert memory[chosen].used == min(m.used for m in memory.values())
    if rows == columns:
        assert chosen is Orientation.ROWS


@given(st.lists(st.tuples(EXTENT, EXTENT), min_size=1, max_size=6), LANES)
def test_tensors_do_not_overlap(shapes: list[tuple[int, int]], lanes: int) -> None:
    extents = (
        Extent(shape[0]) if number % 2 else matrix(shape, orientation(*shape, lanes))
        for number, shape in enumerate(shapes)
    )
    memory = filled(lanes, ((f"t{number}", extent) for number, extent in enumerate(extents)))
    words = [
        (lane, word) for own in memory.places.values() for _, lane, word in own.elements(lanes)
    ]
    assert len(words) == len(set(words))
    assert max(word for _, word in words) < memory.used


@given(LANES)
@settings(max_examples=7, deadline=None)
def test_an_image_holds_every_coefficient_where_it_should_be(lanes: int) -> None:
    built = build(Sizes(hidden=4, state=3))
    mapped = place(built.quantised, built.tables, EngineConfig(lanes, 1, 2), Timing())
    loaded = image(mapped, built.words)
    at = mapped.allocation
    for d in built.quantised.coefficients:
        memory, banks = (
            (at.weight, loaded.weight)
            if d.name in at.weight.places
            else (at.vectors, loaded.vector)
        )
        flat = np.zeros(d.type.size, int)
        for index, lane, word in memory.places[d.name].elements(lanes):
            flat[index] = banks[lane][word]
        assert np.array_equal(flat.reshape(d.type.shape), built.words[d.name]), d.name
