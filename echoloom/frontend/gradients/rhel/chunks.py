"""Time in chunks of K steps: nothing as long as the sequence is ever made, beside the sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax

Carry = TypeVar("Carry")
# (carry, first step of the chunk, its length, which is known when compiling) -> carry
Body = Callable[[Carry, jax.Array | int, int], Carry]


def fitting(steps: int, chunk: int) -> int:
    """The largest length from chunk / 2 to chunk that divides `steps`, or `chunk` if none does.

    A last chunk of another length has to be compiled again.
    """
    lengths = range(min(chunk, steps), (chunk - 1) // 2, -1)
    return next((length for length in lengths if steps % length == 0), chunk)


def upwards(body: Body[Carry], carry: Carry, steps: int, chunk: int) -> Carry:
    """`body` over all chunks in order, of `chunk` steps or fewer."""
    chunk = fitting(steps, chunk)
    whole, rest = divmod(steps, chunk)
    if whole:
        carry = jax.lax.fori_loop(0, whole, lambda i, at: body(at, i * chunk, chunk), carry)
    return body(carry, whole * chunk, rest) if rest else carry


def downwards(body: Body[Carry], carry: Carry, steps: int, chunk: int) -> Carry:
    """`body` over the chunks of `upwards` in reverse order."""
    chunk = fitting(steps, chunk)
    whole, rest = divmod(steps, chunk)
    if rest:
        carry = body(carry, whole * chunk, rest)
    if not whole:
        return carry
    return jax.lax.fori_loop(
        0, whole, lambda i, at: body(at, (whole - 1 - i) * chunk, chunk), carry
    )


def cut(rows: jax.Array, start: jax.Array | int, length: int, like: jax.Array) -> jax.Array:
    """rows [start : start + length] in the type of `like`; a cast of all rows would be as long."""
    return jax.lax.dynamic_slice_in_dim(rows, start, length).astype(like.dtype)
