"""Numbers as bytes, and back."""

from __future__ import annotations

import random

import pytest

from echoloom.hdl.numbers import DIGITS, decode_numbers, encode_numbers, size_of

LIMIT = 1 << 63


def test_numbers_come_back():
    rng = random.Random(0)
    edges = [0, 1, -1, 63, 64, -64, -65, 8191, 8192, -8192, -8193, LIMIT - 1, -LIMIT]
    numbers = edges + [rng.randrange(-(1 << b), 1 << b) for b in range(63) for _ in range(20)]
    assert decode_numbers(encode_numbers(numbers)) == numbers
    for number in numbers:
        assert len(encode_numbers([number])) == size_of(number) <= DIGITS


def test_as_few_bytes_as_there_can_be():
    assert encode_numbers([0, -1, 63, -64]) == bytes([0, 0x7F, 0x3F, 0x40])
    assert encode_numbers([64, -65]) == bytes([0xC0, 0x00, 0xBF, 0x7F])
    assert size_of(1 << 26) == size_of(-1 << 27) == 4  # a word of 28 bits


def test_what_is_no_number():
    for data in (b"\x80", b"\x01\xff", bytes([0x80] * DIGITS)):
        with pytest.raises(ValueError, match=r"not complete|more than 10 digits"):
            decode_numbers(data)
    with pytest.raises(ValueError, match=f"64 bits at most, got {LIMIT}"):
        encode_numbers([LIMIT])
