"""What the RHEL paper's published code (github.com/guillaumepourcel/rhel) puts into its files.

The JSON says which model of which sizes it is. The checkpoint is the model's leaves and the running
state of its batch norms, one array after another, without names: their order is written down here.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from echoloom.frontend.data.files import read_json
from echoloom.frontend.models.published.npy_sequence import Slot

Path = str | os.PathLike[str]

# A published class -> the unit of its blocks.
UNITS = {"LinHRU": "linear", "NonlinHRU": "nonlinear"}
_SIZES = ("num_blocks", "hidden_dim", "ssm_dim", "data_dim", "label_dim")
_JSON_LIMIT = 1 << 20


@dataclass(frozen=True)
class Published:
    """What the JSON says of a model; `stated` is all of it."""

    model: str
    blocks: int
    hidden: int
    state: int
    inputs: int
    outputs: int
    stated: dict[str, Any]


def read_sizes(path: Path) -> Published:
    """What a JSON file says. ValueError, in one sentence, for one that says no model's sizes."""
    with open(path, "rb") as file:
        text = file.read(_JSON_LIMIT)
    try:
        stated = read_json(text)
    except ValueError as error:
        raise ValueError(f"{path}: this is not JSON; a JSON object {{...}} is needed.") from error
    if not isinstance(stated, dict):
        raise ValueError(f"{path}: this is a {type(stated).__name__}, not a JSON object {{...}}.")
    for name in ("model", *_SIZES):
        if name not in stated:
            raise ValueError(f'{path}: there is no "{name}", which an import needs.')

    def refuse(name: str, wanted: str) -> ValueError:
        return ValueError(f"{path}: {name} is {reprlib.repr(stated[name])}, but must be {wanted}.")

    if stated["model"] not in list(UNITS):
        raise refuse("model", " or ".join(f'"{name}"' for name in UNITS))
    for name in _SIZES:
        if type(stated[name]) is not int or stated[name] < 1:
            raise refuse(name, "a whole number >= 1")
    if stated.get("output_step") is not None and type(stated["output_step"]) is not int:
        raise refuse("output_step", "a whole number >= 1")
    for name in ("classification", "complex_ssm"):
        if stated.get(name) is not None and type(stated[name]) is not bool:
            raise refuse(name, "true or false")
    blocks, hidden, state, inputs, outputs = (stated[name] for name in _SIZES)
    return Published(stated["model"], blocks, hidden, state, inputs, outputs, stated)


def slots(sizes: Published) -> Iterator[Slot]:
    """The arrays in the order of the file: the model's leaves, then its norms' running state."""
    H, n = sizes.hidden, sizes.state
    yield from _linear("linear_encoder", H, sizes.inputs)
    for index in range(sizes.blocks):
        block = f"blocks[{index}]"
        # A norm also holds the values that its state had at first: memory that nobody had written.
        yield Slot(f"{block}.norm.ema_first_time_index.init", "bool", use="none")
        yield Slot(f"{block}.norm.ema_state_index.init[0]", "real", (H,), use="none")
        yield Slot(f"{block}.norm.ema_state_index.init[1]", "real", (H,), use="none")
        yield Slot(f"{block}.norm.inference", "bool", use="none")
        linear = sizes.model == "LinHRU"
        if linear:
            own = {"A_diag": (n,), "B": (n, H, 2), "C": (H, n, 2), "D": (H,), "steps": (n,)}
        else:
            own = {"W_diag": (n,), "B": (n, H), "C": (H, n), "D": (H,)}
            own |= {"b": (n,), "c": (n,), "alpha": (1,), "step": (1,)}
        yield from (Slot(f"{block}.ssm.{name}", "real", shape) for name, shape in own.items())
        # None, and then not in the file, in models that were made for BPTT.
        yield Slot(f"{block}.ssm.epsilon", "real", use="none", optional=True)
        if linear:
            yield Slot(f"{block}.ssm.complex_ssm", "bool", use="complex_ssm")
            yield Slot(f"{block}.ssm.train_steps", "bool", use="none")
        yield from _linear(f"{block}.glu.w1", H, H)
        yield from _linear(f"{block}.glu.w2", H, H)
        yield Slot(f"{block}.drop.p", "real", use="none")
        yield Slot(f"{block}.drop.inference", "bool", use="none")
    yield from _linear("linear_layer", sizes.outputs, H)
    yield Slot("classification", "bool", use="classification")
    yield Slot("output_step", "whole", use="output_step")
    for index in range(sizes.blocks):
        norm = f"state.blocks[{index}].norm"
        yield Slot(f"{norm}.first_time", "bool", use="fresh")
        yield Slot(f"{norm}.mean", "real", (H,))
        yield Slot(f"{norm}.variance", "real", (H,), use="variance")


def _linear(name: str, outputs: int, inputs: int) -> Iterator[Slot]:
    yield Slot(f"{name}.weight", "real", (outputs, inputs))
    yield Slot(f"{name}.bias", "real", (outputs,))
