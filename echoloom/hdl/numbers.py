"""Signed numbers as bytes, as few as each needs: what every packet's payload is made of.

A number is a row of digits of 7 bits, least significant first, one in each byte; bit 7 says that
another follows. The last digit's highest bit is the sign (signed LEB128). -64 to 63 take one byte,
a word of 28 bits up to four, and one of 64 bits up to `DIGITS`.
"""

from __future__ import annotations

from collections.abc import Iterable

DIGIT_BITS = 7
MORE = 1 << DIGIT_BITS  # another digit follows
NUMBER_BITS = 64
DIGITS = -(-NUMBER_BITS // DIGIT_BITS)  # most bytes of a number


def encode_numbers(numbers: Iterable[int]) -> bytes:
    """The bytes of numbers, one after another.

    Raises ValueError for one that needs more than NUMBER_BITS.
    """
    data = bytearray()
    for number in numbers:
        if not -(1 << NUMBER_BITS - 1) <= number < 1 << NUMBER_BITS - 1:
            raise ValueError(f"a number on the line has {NUMBER_BITS} bits at most, got {number}")
        rest = number
        while not -MORE // 2 <= rest < MORE // 2:
            data.append(rest & MORE - 1 | MORE)
            rest >>= DIGIT_BITS
        data.append(rest & MORE - 1)
    return bytes(data)


def decode_numbers(data: bytes) -> list[int]:
    """The numbers that bytes stand for.

    Raises ValueError if the last one is not complete, or one has more than DIGITS digits.
    """
    numbers = []
    value = shift = 0
    for byte in data:
        value |= (byte & MORE - 1) << shift
        shift += DIGIT_BITS
        if byte & MORE:
            if shift >= DIGITS * DIGIT_BITS:
                raise ValueError(f"a number has more than {DIGITS} digits")
            continue
        numbers.append(value - (1 << shift) if byte & MORE >> 1 else value)
        value = shift = 0
    if shift:
        raise ValueError("the last number is not complete")
    return numbers


def size_of(number: int) -> int:
    """How many bytes a number takes."""
    magnitude = (number if number >= 0 else ~number).bit_length()
    return magnitude // DIGIT_BITS + 1
