"""Arrays in NumPy's own format, alone and in .npz files, from files that nobody vouches for.

What a file claims is compared with how long it is before memory is taken for it, and nothing in it
is executed. `numpy.load` takes a header's word for an array's size, expands whatever a zip file
holds, and raises a dozen kinds of errors; here all of it is one ValueError.
"""

from __future__ import annotations

import os
import sys
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Collection
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

# What NumPy's reader of headers raises, depending on what stands in one.
HEADER_ERRORS = (
    ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError, OverflowError,
    SystemError, tokenize.TokenError,
)  # fmt: skip
# What zipfile raises, depending on what is wrong with a member.
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError,
    ValueError, MemoryError,
)  # fmt: skip
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_SUFFIX = ".npy"
# A compressed file of numbers becomes a few times longer. Zeros alone would become a thousand times
# longer; that much is taken up to a size that every machine has to spare.
MOST_LONGER, ALWAYS_TAKEN = 100, 64 << 20
_CHUNK = 1 << 20


class Objects(ValueError):
    """An array of Python objects: reading it would run code from the file."""


class Expands(ValueError):
    """A compressed file that would take far more memory than disk; the text says how much."""


class Header(NamedTuple):
    """What a file says of an array. Its numbers come in Fortran's order or not."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        """How many follow the header."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_npy_header(file: BinaryIO) -> Header:
    """The header that comes next in a file, which stands at its numbers then.

    Raises ValueError for anything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Header(*_READERS[np.lib.format.read_magic(file)](file))
    except HEADER_ERRORS as error:
        raise ValueError("no array in NumPy's .npy format") from error
    if any(type(n) is not int or n < 0 for n in found.shape):
        raise ValueError(f"an array of shape {found.shape}")
    if not found.dtype.itemsize and 0 not in found.shape:
        raise ValueError("an array whose numbers have no bytes")
    return found


def read_npy(file: BinaryIO, most: int) -> NDArray:
    """The array that comes next in a file, of `most` bytes at most.

    Raises Objects, and ValueError for a longer one, one that is cut off, and anything else.
    """
    header = read_npy_header(file)
    if header.dtype.hasobject:
        raise Objects("an array of Python objects")
    if header.bytes > most:
        raise ValueError(f"an array of {header.bytes} bytes, where {most} are left")
    flat = np.empty(header.bytes, np.uint8)
    for start in range(0, len(flat), _CHUNK):
        part = file.read(min(_CHUNK, len(flat) - start))
        flat[start : start + len(part)] = np.frombuffer(part, np.uint8)
        if len(part) < min(_CHUNK, len(flat) - start):
            raise ValueError("an array that is cut off")
    if not len(flat):
        return np.zeros(header.shape, header.dtype)
    if header.dtype.kind == "U":
        letters = flat.view(np.dtype(np.uint32).newbyteorder(header.dtype.byteorder))
        if letters.max() > sys.maxunicode:
            raise ValueError("texts of what are no letters")
    order = "F" if header.fortran_order else "C"
    return flat.view(header.dtype).reshape(header.shape, order=order)


def read_npz(path: str | os.PathLike[str], names: Collection[str]) -> dict[str, NDArray]:
    """The arrays of these names in an .npz file, those that are there.

    Raises Objects, Expands, ValueError for anything else that is no .npz file, and OSError.
    """
    with open(path, "rb") as file:
        try:
            return _members(file, names)
        except _ZIP_ERRORS as error:
            if isinstance(error, Objects | Expands):
                raise
            raise ValueError("no .npz file") from error


def _members(file: BinaryIO, names: Collection[str]) -> dict[str, NDArray]:
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        found = {
            member.filename.removesuffix(_SUFFIX): member
            for member in archive.infolist()
            if member.filename.removesuffix(_SUFFIX) in names
        }
        expanded = sum(member.file_size for member in found.values())
        if expanded > max(ALWAYS_TAKEN, MOST_LONGER * size):
            raise Expands(f"{size:,} bytes that expand to {expanded:,}")
        arrays = {}
        for name, member in found.items():
            with archive.open(member) as content:
                arrays[name] = read_npy(content, member.file_size)  # type: ignore[arg-type]
        return arrays
