"""TOML into typed values: what `msgspec` does, for files that nobody vouches for."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def read_toml(text: bytes | str, kind: type[T]) -> T:
    """The value of that type which a TOML text says.

    Raises msgspec.ValidationError for another one, and msgspec.DecodeError for what is no TOML.
    """
    try:
        return msgspec.toml.decode(text, type=kind)
    except msgspec.DecodeError:
        raise
    except RecursionError as error:
        raise msgspec.DecodeError("brackets in brackets without end") from error
    except ValueError as error:  # no text, or a number of thousands of digits
        raise msgspec.DecodeError(str(error)) from error
