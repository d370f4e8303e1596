"""What is done to good files of ours: another header or payload under a right checksum."""

from __future__ import annotations

import json
from random import Random

from fuzz_arrays import npys
from fuzz_bytes import raw
from fuzz_texts import tree

from echoloom.frontend.data.files import sealed


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
