"""Arrays that lie one after another in a file, each in NumPy's own format, as Equinox writes them.

Every header is compared with what is expected before its data are touched, so that what a file
claims never decides how much memory is taken, and nothing in it is executed.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np

from echoloom.frontend.data.npy import read_npy_header

Kind = Literal["real", "bool", "whole"]
# What the reader does with an array: nothing, or takes its numbers as they are; of variances and of
# whether a norm is fresh it asks more, and the three settings must agree wherever they stand.
Setting = Literal["classification", "output_step", "complex_ssm"]
Use = Literal["none", "value", "variance", "fresh", Setting]
_DTYPES: dict[Kind, tuple[type, ...]] = {
    "real": (np.float32, np.float64),
    "bool": (np.bool_,),
    "whole": (np.int32, np.int64),
}
# NumPy's headers of plain arrays take 128 bytes.
_HEADER_LIMIT = 1024


@dataclass(frozen=True)
class Header:
    """What a file says of its next array."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran_order: bool
    start: int  # where the header begins in the file
    data: int  # where the array's bytes begin

    def __str__(self) -> str:
        return f"{self.dtype.newbyteorder('=')} {list(self.shape)}"


@dataclass(frozen=True)
class Slot:
    """One array of a sequence: its path in the model, and what it must be.

    `optional` ones may be left out.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()
    use: Use = "value"
    optional: bool = False

    def fits(self, header: Header) -> bool:
        wanted = _DTYPES[self.kind]
        return header.shape == self.shape and header.dtype.newbyteorder("=") in wanted

    def __str__(self) -> str:
        return f"{' or '.join(np.dtype(t).name for t in _DTYPES[self.kind])} {list(self.shape)}"


class NpySequence:
    """Reads arrays from an open file; `path` names it in messages."""

    def __init__(self, file: BinaryIO, path: str | os.PathLike[str]):
        self.file, self.path, self.count = file, path, 0
        self.size = os.fstat(file.fileno()).st_size

    def header(self, name: str) -> Header:
        """The next array's, which stays the next one. Raises ValueError, with `name`."""
        start = self.file.tell()
        head = self.file.read(_HEADER_LIMIT)
        self.file.seek(start)
        if not head:
            raise ValueError(
                f"{self.path}: the file ends after {self.count} arrays, before {name}."
            )
        stream = io.BytesIO(head)
        try:
            shape, fortran_order, dtype = read_npy_header(stream)
        except ValueError as error:
            if stream.tell() == len(head) < _HEADER_LIMIT:
                raise self._cut(name) from error
            raise ValueError(
                f"{self.path}: at byte {start}, where array {self.count} ({name}) should begin, "
                "there is no array in NumPy's .npy format."
            ) from error
        return Header(dtype, shape, fortran_order, start, start + stream.tell())

    def read(self, slot: Slot, header: Header) -> np.ndarray:
        """The next array, whose header fits the slot. Raises ValueError if it is cut off."""
        dtype = header.dtype
        count = int(np.prod(slot.shape, dtype=object))
        if self.size - header.data < count * dtype.itemsize:
            raise self._cut(slot.name)
        self.file.seek(header.data)
        flat = np.frombuffer(self.file.read(count * dtype.itemsize), dtype)
        self.count += 1
        array = flat.reshape(slot.shape, order="F" if header.fortran_order else "C")
        return array.astype(dtype.newbyteorder("="))

    def end(self) -> None:
        """Raises ValueError if anything follows."""
        if extra := self.size - self.file.tell():
            raise ValueError(
                f"{self.path}: {extra} bytes follow the last of {self.count} arrays, but the file "
                "should end there."
            )

    def _cut(self, name: str) -> ValueError:
        return ValueError(
            f"{self.path}: the file is cut off at byte {self.size}, inside array {self.count} "
            f"({name})."
        )
