"""Loading an image writes exactly the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from machines import CONFIG, leaky_machine

from echoloom.ir.contract import Register, Space
from echoloom.ir.entry_layouts import COLUMN_BITS
from echoloom.ir.fields import drain_fields, layout_bits, mac_fields, pack, section_fields
from echoloom.ir.sections import SWEPT
from echoloom.sim.image_load import load_image

Memory = dict[tuple[int, int, int], int]


def play(memory: Memory, accesses: np.ndarray) -> None:
    for access in accesses:
        assert access["write"] == 1
        place = int(access["space"]), int(access["lane"]), int(access["address"])
        memory[place] = int(access["data"])


def test_every_word_is_written():
    image = replace(leaky_machine(), table=((-3, 5), (2**20, -7)), exponent=((1, 2), (3,)))
    memory: Memory = {}
    play(memory, load_image(image))
    for lane in range(CONFIG.lanes):
        for address, word in enumerate(image.weight[lane]):
            assert memory.pop((Space.WEIGHT, lane, address)) == word % 2**CONFIG.narrow
        state = image.vector[lane][0]
        assert memory.pop((Space.VECTOR, lane, 0)) == state % 2**CONFIG.word
    assert memory.pop((Space.TABLE, 0, 0)) == 5 << CONFIG.word | -3 % 2**CONFIG.word
    assert memory.pop((Space.TABLE, 0, 1)) == (-7 % 2**CONFIG.narrow) << CONFIG.word | 2**20
    assert memory.pop((Space.EXPONENT, 0, 0)) == 1
    assert memory.pop((Space.EXPONENT, 0, 1)) == 2
    assert memory.pop((Space.EXPONENT, 1, 0)) == 3
    for space, layout, entries in (
        (Space.MAC, mac_fields(CONFIG), image.mac),
        (Space.DRAIN, drain_fields(CONFIG), image.drain),
        (Space.SECTION, section_fields(CONFIG), image.sections),
    ):
        columns = -(-layout_bits(layout) // COLUMN_BITS)
        assert columns > 1
        for address, entry in enumerate(entries):
            words = [memory.pop((space, column, address)) for column in range(columns)]
            assert sum(word << COLUMN_BITS * n for n, word in enumerate(words)) == pack(
                layout, entry
            )
    assert memory.pop((Space.REGISTER, 0, Register.FRAME)) == image.frame
    assert memory == {}


def test_clear_makes_a_load_right_after_any_other():
    small, large = leaky_machine(1), leaky_machine(2)
    large = replace(
        large,
        weight=tuple((7,) * CONFIG.weight_depth for _ in range(CONFIG.lanes)),
        vector=tuple((7,) * CONFIG.vector_depth for _ in range(CONFIG.lanes)),
        table=((7, 7),) * CONFIG.table_depth,
        exponent=tuple((7,) * CONFIG.exponent_depth for _ in range(CONFIG.drains)),
    )
    after, fresh = Memory(), Memory()
    play(after, load_image(large))
    play(after, load_image(small, clear=True))
    play(fresh, load_image(small))
    data = (Space.WEIGHT, Space.VECTOR, Space.TABLE, Space.EXPONENT)
    for place, word in after.items():
        if place[0] in data:
            assert word == fresh.get(place, 0), place
    for place, word in fresh.items():
        assert after[place] == word


def test_a_short_list_of_sections_leaves_no_older_program():
    accesses = load_image(replace(leaky_machine(), sections=leaky_machine().sections[:2]))
    sections = accesses[accesses["space"] == Space.SECTION]
    assert set(sections["address"].tolist()) == set(SWEPT)
    assert not sections["data"][sections["address"] >= 2].any()


def test_images_that_do_not_fit_are_refused():
    image = leaky_machine()
    lanes = ((0,),) * CONFIG.lanes
    for broken, message in (
        (replace(image, weight=((2**17,),)), "WEIGHT lane 0 address 0 = 131072 does not fit"),
        (replace(image, vector=((0, -(2**27) - 1),)), "VECTOR lane 0 address 1"),
        (replace(image, vector=((0,) * 33,)), "VECTOR lane 0 has 33 words, the engine has 32"),
        (replace(image, weight=(*lanes, (0,))), "WEIGHT has 5 lanes, the engine has 4"),
        (replace(image, table=((0, 2**17),)), "slope of TABLE address 0"),
        (replace(image, table=((0, 0),) * 33), "TABLE has 33 entries"),
        (replace(image, mac=image.mac * 4), "MAC has 20 entries, the engine has 16"),
        (replace(image, frame=9), "a frame of 9 elements does not fit frame_depth 8"),
    ):
        with pytest.raises(ValueError, match=message):
            load_image(broken)
