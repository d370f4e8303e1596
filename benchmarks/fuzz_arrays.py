"""What is done to good arrays in NumPy's format and to zip files of them."""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from random import Random
from typing import Any

import numpy as np
from fuzz_bytes import raw

SHAPES = (
    "()", "(0,)", "(-1,)", "(1,)", "(4294967296,)", "(1099511627776, 1099511627776)", "(2.0,)",
    "('a',)", "(1," * 40, "None", "(True,)", "(" * 300, "(4, 0, 1152921504606846976)",
    "(100000000,)", "(9223372036854775807, 2)",
)  # fmt: skip
DTYPES = (
    "'|O'", "'<f8'", "'<f4'", "'>f8'", "'|b1'", "'<i8'", "'<U8'", "'<U536870911'", "'|S0'", "'|V8'",
    "'<M8[s]'", "'<c16'", "'<f2'", "[('a', '<f8')]", "[('a', '|O')]", "('<f8', (1000000, 1000000))",
    "'os.system'", "None", "7", "'f8,(1000000,1000)f8'", "'<f16'", "{'names': ['a']}",
)  # fmt: skip
ZEROS = 1 << 20
LARGEST = 1 << 24  # bytes of members that are expanded to be changed
CANARY = "echoloom-fuzz-canary"  # what a pickle that is executed would make


class Canary:
    """Unpickled, it makes a file; the audit of the driver sees that too."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (CANARY, "w")


PICKLE = pickle.dumps(Canary())


def npy(rng: Random, data: bytes) -> bytes:
    """An array's bytes in NumPy's own format, with another header, or none."""
    match rng.randrange(8):
        case 0:
            return PICKLE
        case 1:
            return raw(rng, [data])
        case 2:
            return data[:6] + bytes([rng.randrange(4), rng.randrange(2)]) + data[8:]
        case 3:
            array = np.lib.format.read_array(io.BytesIO(data))
            buffer = io.BytesIO()
            kind = rng.choice(("f4", ">f8", "i8", "u1", "b1", "f2", "U3", "c16", "M8[s]"))
            array = array if array.dtype.kind in "biuf" else np.ones(array.shape)
            np.save(buffer, np.clip(array, 0, 200).astype("i8").astype(kind))
            return buffer.getvalue()
    header = re.sub(
        r"'shape': \([^)]*\)", f"'shape': {rng.choice(SHAPES)}", _header(data)
    ) if rng.random() < 0.6 else _header(data)  # fmt: skip
    if rng.random() < 0.5:
        header = re.sub(r"'descr': '[^']*'", f"'descr': {rng.choice(DTYPES)}", header)
    if rng.random() < 0.2:
        header = header.replace("False", rng.choice(("True", "2", "__import__('os')", "None")))
    if rng.random() < 0.1:
        header = raw(rng, [header.encode()]).decode("latin-1")
    text = header.encode("latin-1", "replace")[:65000]
    body = rng.choice((data[128:], PICKLE, b"", data[128:] * 3))
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def _header(data: bytes) -> str:
    (length,) = struct.unpack("<H", data[8:10])
    return data[10 : 10 + length].decode("latin-1")


def npys(rng: Random, data: bytes) -> bytes:
    """Arrays one after another, one of them hostile, missing, doubled or moved."""
    arrays = split_npys(data)
    at = rng.randrange(len(arrays))
    match rng.randrange(5):
        case 0:
            del arrays[at]
        case 1:
            arrays.insert(rng.randrange(len(arrays)), arrays[at])
        case _:
            arrays[at] = npy(rng, arrays[at])
    return b"".join(arrays)


def split_npys(data: bytes) -> list[bytes]:
    """The arrays of a sequence, each with its header; the last one with what follows it."""
    stream, found = io.BytesIO(data), []
    while data.startswith(b"\x93NUMPY", begin := stream.tell()):
        np.lib.format.read_array(stream)
        found.append(data[begin : stream.tell()])
    found[-1] += data[stream.tell() :]
    return found


def npz(rng: Random, seeds: list[bytes]) -> bytes:
    """A zip file whose members have right sums and wrong contents, or claim to be larger."""
    if rng.random() < 0.25:
        return raw(rng, seeds)
    with zipfile.ZipFile(io.BytesIO(rng.choice(seeds))) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST:
            return raw(rng, seeds)
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    match rng.randrange(6):
        case 0:
            del members[name]
        case 1:
            members[
                rng.choice(("X_test.npy", "y_test.npy", "../../x.npy", "/x", "X", "z" * 300))
            ] = members[name]
        case _:
            members[name] = npy(rng, members[name])
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for own, content in members.items():
            for _ in range(rng.choice((1,) * 20 + (2,))):
                archive.writestr(own, content)
    if rng.random() < 0.05:
        return bomb(rng.choice((32, 2048, 4000)) * ZEROS)
    data = bytearray(buffer.getvalue())
    if rng.random() < 0.2:  # the list of members says something else than they do
        at = data.rfind(b"PK\x01\x02")
        data[at + rng.randrange(46)] ^= 1 << rng.randrange(8)
    return bytes(data)


def bomb(size: int) -> bytes:
    """A small .npz file whose X is that many bytes of zeros."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (1, size // 8, 1)}
    )
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin = packer.compress(header.getvalue()) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(ZEROS)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = begin + block * (size // ZEROS) + packer.flush()
    total = size + len(header.getvalue())
    name = b"X.npy"
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(packed), total, 5, 0)
    where = struct.pack(
        "<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(packed), total, 5, 0, 0, 0, 0, 0, 0
    )
    begin_of_list = len(local) + len(name) + len(packed)
    end = struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(where) + len(name), begin_of_list, 0
    )
    return local + name + packed + where + name + end


def arrays(rng: Random, seeds: list[bytes]) -> bytes:
    """A file of arrays one after another."""
    return raw(rng, seeds) if rng.random() < 0.3 else npys(rng, rng.choice(seeds))
