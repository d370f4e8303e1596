"""What is done to good JSON and TOML: values of other types, sizes and signs."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from fuzz_bytes import NUMBERS, raw


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
