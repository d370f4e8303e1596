"""What is done to good files and packets: bytes, numbers, JSON, TOML, .npy headers, zip members.

All of it is drawn from the given generator, so that an input follows from its number alone.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from random import Random
from typing import Any

import numpy as np

from echoloom.frontend.data.files import sealed

NUMBERS = (
    "-1", "0", "1", "2147483648", "-9223372036854775809", "18446744073709551616", "1e999", "nan",
    "-inf", "1e-320", "9" * 40, "9" * 5000, "true", '""', "[]", "{}", "999999999", "1000000",
)  # fmt: skip
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
CANARY = "echoloom-fuzz-canary"  # what a pickle that is executed would make


class Canary:
    """Unpickled, it makes a file; the audit of the driver sees that too."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (CANARY, "w")


PICKLE = pickle.dumps(Canary())


def raw(rng: Random, seeds: list[bytes]) -> bytes:
    """Bytes of one file, or of two of them, with a few things done to them."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(9):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at % len(data)] = rng.choice(b"\x00\xff\x7f\x80\n\r\"\\[]{}(),:;=#.%-9'\x1b")
            case 2:
                del data[at:]
            case 3:
                data[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
            case 4:
                del data[at : at + rng.choice((1, 4, 64, 1024))]
            case 5:
                part = data[at : at + rng.choice((1, 16, 256))]
                data[at:at] = part * rng.choice((1, 2, 100))
            case 6:
                other = rng.choice(seeds)
                data[at:] = other[rng.randrange(len(other) + 1) :]
            case 7:
                data = _number(rng, data)
            case _:
                data[at : at + 8] = struct.pack("<q", rng.choice((-1, 0, 1 << 31, 1 << 62, 255)))
    return bytes(data)


def _number(rng: Random, data: bytearray) -> bytearray:
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", data))
    if not found:
        return data
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(NUMBERS).encode() + data[one.end() :]


def value(rng: Random) -> Any:
    """A hostile JSON value."""
    deep: Any = []
    for _ in range(rng.choice((3, 900, 3000))):
        deep = [deep]
    return rng.choice((
        None, True, False, -1, 0, 1, 2**31, 2**63, -(10**40), 10**400, 1e308, float("nan"),
        float("inf"), "", "x", "\x00", "\x1b[2J\n", "9" * 5000, [], {}, [[]], {"": None}, deep,
        [0] * 5000, "|O", "<U999999999", "linear", "__import__('os')", "../../x", 1.5, 10**9,
        [10**9], [-1], [[1, 2, 3]], "os", "model", 999_999_999_999,
    ))  # fmt: skip


def tree(rng: Random, root: Any) -> Any:
    """A JSON value with something of another type, size or sign, absent, doubled or moved."""
    root = json.loads(json.dumps(root))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(root))
        if not places:
            return value(rng)
        box, key = rng.choice(places)
        match rng.randrange(7):
            case 0:
                del box[key]
            case 1 if isinstance(box, list):
                box.insert(key, box[key])
            case 2:
                other, there = rng.choice(places)
                box[key] = json.loads(json.dumps(other[there]))
            case 3 if isinstance(box, dict):
                box[str(value(rng))[:20]] = box.pop(key)
            case 4 if isinstance(box[key], int | float):
                box[key] = box[key] * rng.choice((-1, 2, 1000, 10**9, 0.5)) + rng.choice((0, 1, -1))
            case _:
                box[key] = value(rng)
    return root


def _places(root: Any) -> Any:
    waiting = [root]
    while waiting:
        box = waiting.pop()
        if isinstance(box, dict | list):
            keys = list(box) if isinstance(box, dict) else range(len(box))
            for key in keys:
                yield box, key
                waiting.append(box[key])


def json_text(rng: Random, seeds: list[bytes]) -> bytes:
    """A JSON file with another tree, or other bytes."""
    if rng.random() < 0.3:
        return raw(rng, seeds)
    if rng.random() < 0.02:
        return b'{"a":' + b"[" * 100_000
    return json.dumps(tree(rng, json.loads(rng.choice(seeds)))).encode()


def toml(rng: Random, seeds: list[bytes]) -> bytes:
    """A TOML file whose lines are missing, doubled, moved, or say something else."""
    if rng.random() < 0.3:
        return raw(rng, seeds)
    lines = rng.choice(seeds).decode().split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                lines.insert(rng.randrange(len(lines) + 1), lines[at])
            case 1 if len(lines) > 1:
                del lines[at]
            case 2:
                lines.insert(
                    at, rng.choice(("[", "[[data]]", "[a.b.c]", "x = 1", '"" = 1', "\x00"))
                )
            case _:
                name = lines[at].partition("=")[0]
                lines[at] = f"{name}= {_literal(rng)}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _literal(rng: Random) -> str:
    return rng.choice((
        *NUMBERS, '"x"', "'\x1b[2J'", "[1, 'a']", "1979-05-27", "[" * 2000, "{a = 1}", "-0.0",
        "0x7fffffffffffffff", '"""', '["a", "b"]', "[0.1, 0.2]", "[[1]]", '"a:b"', "1e-300",
        '"Q(4,22)"', '"Q(-5,2)"', '"Q(999999,999999)"', "[-3, -4]", "12.5", "400", '"Q(0,0;1,2)"',
        "[2, 3]", '"high"', '"P3 A=1"', '"ulx3s"', '"test.blinky.Blinky"', '"os.abort"',
    ))  # fmt: skip


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


def resealed(rng: Random, seeds: list[bytes], arrays: bool) -> bytes:
    """A file of ours, another header or other parts under a right checksum; `arrays`: its payload
    begins with arrays in NumPy's format."""
    if rng.random() < 0.15:
        return raw(rng, seeds)
    line, _, payload = rng.choice(seeds).partition(b"\n")
    header = json.loads(line)
    if rng.random() < 0.7:
        kind = header.pop("format")
        header = {"format": kind, "x": 0} if rng.random() < 0.01 else tree(rng, header)
        header = {"format": kind, **header} if isinstance(header, dict) else {"format": kind}
    else:
        size = len(payload)
        payload = npys(rng, payload) if arrays and rng.random() < 0.7 else raw(rng, [payload])
        if "bytes" in header:
            header["bytes"] = len(payload)
        if "parts" in header and rng.random() < 0.7:
            header["parts"][-1][1] += len(payload) - size
    header.pop("sha256", None)
    try:
        return sealed(header, payload)
    except RecursionError:
        return json.dumps({"format": header["format"]}).encode()[:-1] + b',"a":' + b"[" * 50_000


def arrays(rng: Random, seeds: list[bytes]) -> bytes:
    """A file of arrays one after another."""
    return raw(rng, seeds) if rng.random() < 0.3 else npys(rng, rng.choice(seeds))


def graph(rng: Random, seeds: list[bytes]) -> bytes:
    """An ONNX file in which fields of a few messages say something else, are doubled or gone."""
    if rng.random() < 0.2:
        return raw(rng, seeds)
    import onnx

    model = onnx.ModelProto.FromString(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4))):
        message: Any = model
        while fields := message.ListFields():  # from above to some field of some message
            field, content = rng.choice(fields)
            if field.type != field.TYPE_MESSAGE:
                _scalar(rng, message, field, content)
                break
            many = not hasattr(content, "DESCRIPTOR")
            if rng.random() < 0.15:
                if not many:
                    message.ClearField(field.name)
                elif rng.random() < 0.5:
                    content.append(rng.choice(list(content)))
                else:
                    del content[rng.randrange(len(content))]
                break
            message = rng.choice(list(content)) if many else content
    return model.SerializeToString()


def _scalar(rng: Random, message: Any, field: Any, content: Any) -> None:
    hostile: Any
    if field.cpp_type == field.CPPTYPE_STRING:
        binary = field.type == field.TYPE_BYTES
        hostile = rng.choice(("", "x", "Loop", "../../etc/passwd", "x" * 5000, "\x1b[2J", "Expand"))
        hostile = hostile.encode() if binary else hostile
    elif field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        hostile = rng.choice((0.0, -1.0, 1e300, float("nan"), float("inf")))
    else:
        hostile = rng.choice((0, 1, -1, 2, 7, 16, 2**31 - 1, 10**9))
    try:
        if hasattr(content, "append"):
            if rng.random() < 0.3:
                content.append(hostile)
            else:
                content[rng.randrange(len(content))] = hostile
        else:
            setattr(message, field.name, hostile)
    except (ValueError, TypeError):  # an enumeration, or a field of fewer bits
        message.ClearField(field.name)
