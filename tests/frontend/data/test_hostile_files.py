"""Files that somebody made to harm their reader: what fuzzing found, as small as it goes."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from echoloom.frontend.data.files import is_intact, read_header, read_json
from echoloom.frontend.data.npy import ALWAYS_TAKEN, read_npy
from echoloom.frontend.data.sources import read_source

MB = 1 << 20
NO_NPZ = "this is not an .npz file of numbers; write one with numpy.savez"


def npy(descr: str = "'<f8'", shape: str = "(1,)", body: bytes = bytes(8)) -> bytes:
    """An array in NumPy's format with any header."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def npz(path: Path, method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def refusal(path: Path) -> str:
    """The sentence that refuses a file, which takes neither time nor memory."""
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(ValueError) as refused:
        read_source(str(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.monotonic() - began < 5.0 and peak < 32 * MB
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    "content",
    [
        npy(shape="(1,"),  # tokenize.TokenError
        npy(shape="(" * 300),  # MemoryError of the parser
        npy(descr="'os.system'"),
        npy(descr="{'names': ['a']}"),
        npy(shape="(1099511627776, 1099511627776)"),
        npy(shape="(4, 0, 1152921504606846976)", body=b""),
        npy(shape="(-1,)"),
        npy(shape="(100000000,)"),  # 800 MB, which are not there
        npy(descr="'<U0'", shape="(1000000000,)"),  # no bytes, and yet a thousand million texts
        npy(descr="'<U2'", body=b"\xff" * 8),  # SystemError: no such letters
        b"\x93NUMPY\x03\x00" + bytes(20),
        b"PK\x03\x04",
        b"",
    ],
)
def test_arrays_that_numpy_stumbles_over(tmp_path, content):
    assert refusal(npz(tmp_path / "a.npz", X=content)).startswith(NO_NPZ)


def test_a_pickle_is_not_executed(tmp_path):
    made = tmp_path / "made"
    pickle = b"cbuiltins\nopen\n(V%s\nVw\ntR." % str(made).encode()
    objects = npy("'|O'", body=pickle)
    assert "Python objects" in refusal(npz(tmp_path / "a.npz", X=objects))
    assert refusal(npz(tmp_path / "b.npz", X=pickle)).startswith(NO_NPZ)
    assert not made.exists()


def bomb(path: Path, size: int) -> Path:
    """A member that says, and is, `size` bytes of zeros, a thousandth of that in the file."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(npy(shape=f"(1, {size // 8}, 1)", body=b""))
    first += packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = first + block * (size // MB) + packer.flush()
    common = struct.pack("<4H3I2H", 0, 8, 0, 0, 0, len(packed), size + 100, 5, 0)
    local = b"PK\x03\x04" + struct.pack("<H", 20) + common + b"X.npy" + packed
    listed = b"PK\x01\x02" + struct.pack("<2H", 20, 20) + common
    listed += struct.pack("<3H2I", 0, 0, 0, 0, 0) + b"X.npy"
    end = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 1, 1, len(listed), len(local), 0)
    path.write_bytes(local + listed + end)
    return path


def test_a_bomb_is_refused_before_it_is_expanded(tmp_path):
    path = bomb(tmp_path / "bomb.npz", 2048 * MB)
    size = path.stat().st_size
    assert size < 3 * MB
    assert refusal(path) == (
        f"it has {size:,} bytes that expand to {2048 * MB + 100:,}, which is more than an .npz "
        "file of samples needs; if it really holds so many equal numbers, write it with "
        "numpy.savez, without compression."
    )


def test_what_says_that_it_is_small_stays_small(tmp_path):
    """The list of members lies: no more is expanded than it says."""
    path = bomb(tmp_path / "bomb.npz", 512 * MB)
    size = struct.pack("<I", 512 * MB + 100)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 4096)))
    assert refusal(path).startswith(NO_NPZ)


def test_methods_of_compression_and_bits_of_encryption(tmp_path):
    X = npy(shape="(1, 1, 1)")
    data = bytearray(npz(tmp_path / "a.npz", X=X).read_bytes())
    at = data.index(b"PK\x01\x02")
    for place, bits in ((at + 8, 1), (at + 10, 97)):
        strange = bytearray(data)
        strange[place] |= bits
        (tmp_path / "a.npz").write_bytes(strange)
        assert refusal(tmp_path / "a.npz").startswith(NO_NPZ)


def test_what_compresses_well_is_still_taken(tmp_path):
    X = np.zeros((1, ALWAYS_TAKEN // 16, 1))
    np.savez_compressed(tmp_path / "a.npz", X=X, strange=np.asarray([None]))
    assert (tmp_path / "a.npz").stat().st_size < X.nbytes // 500
    assert np.array_equal(read_source(str(tmp_path / "a.npz")).X, X)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2", "|b1", ">U3", "|S2", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_those_that_numpy_reads(dtype, order):
    array = np.asarray(np.arange(6).reshape(2, 3) % 2, dtype, order=order)
    file = io.BytesIO()
    np.save(file, array)
    file.seek(0)
    found = read_npy(file, array.nbytes)
    assert found.dtype == array.dtype and np.array_equal(found, array)


def test_brackets_without_end():
    deep = b'{"format": "x", "a": ' + b"[" * 100_000
    assert read_header(deep, "x") is None
    with pytest.raises(ValueError, match="brackets in brackets"):
        read_json(deep)
    header: dict[str, object] = {}
    for _ in range(5000):
        header = {"a": header}
    assert not is_intact(header, b"")


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (b"@classLabel true a", b"\xff\xfe:a"),
        (b"@classLabel", b"1:a"),  # IndexError
        (b"@timestamps true\n@classLabel true a", b"(1,2):(:a"),
    ],
)
def test_series_that_aeon_stumbles_over(tmp_path, header, line):
    pytest.importorskip("aeon.datasets")
    path = tmp_path / "a.ts"
    path.write_bytes(header + b"\n@data\n" + line + b"\n" + line)
    assert refusal(path).startswith("aeon ")


def test_a_series_takes_no_more_memory_than_it_has_letters(tmp_path):
    """aeon would make an array of 9001 x 300,000 first."""
    pytest.importorskip("aeon.datasets")
    path = tmp_path / "a.ts"
    path.write_bytes(b"@classLabel true a\n@data\n" + b"1," * 9000 + b"1" + b":" * 300_000)
    assert refusal(path) == (
        "in line 3 the first channel has 9,001 values and others have fewer, but all channels of a "
        "sequence have one length."
    )
