"""What is done to good ONNX files: fields of messages say something else."""

from __future__ import annotations

from random import Random
from typing import Any

import onnx
from fuzz_bytes import raw


def graph(rng: Random, seeds: list[bytes]) -> bytes:
    """An ONNX file in which fields of a few messages say something else, are doubled or gone."""
    if rng.random() < 0.2:
        return raw(rng, seeds)
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
