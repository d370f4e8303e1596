"""Optimisers and learning rates by the names that optax gives them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any

import jax.numpy as jnp
import msgspec
import optax

# Schedules that are made of other things than numbers, and parts of optimisers.
_OF_SCHEDULES = (optax.join_schedules, optax.sgdr_schedule)
_PARTS = (optax.scale_by_learning_rate, optax.scale_by_rprop)
Values = Mapping[str, Any]


class OptimiserSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An optax optimiser: its name, its learning rate, its other keyword arguments.

    learning_rate is a number or a table with `schedule`, an optax schedule's name, and that
    function's arguments. clip bounds the gradient's global norm.
    """

    name: str = "adam"
    learning_rate: float | dict[str, Any] = 3e-3
    clip: float | None = None
    arguments: dict[str, Any] = {}


def make_optimiser(section: OptimiserSection) -> optax.GradientTransformation:
    """What the section names. Raises ValueError, in one sentence, for what optax does not have."""
    if section.clip is not None and not section.clip > 0:
        raise ValueError(f"[optimiser] clip is {section.clip}, but it must be > 0.")
    rate = _rate(section.learning_rate)
    make = _named("[optimiser] name", section.name, optimisers())
    if "learning_rate" in section.arguments:
        raise ValueError("[optimiser] learning_rate belongs beside `arguments`, not in it.")
    made = _called(
        f"[optimiser] {section.name}", make, {**section.arguments, "learning_rate": rate}
    )
    zeros = {"w": jnp.zeros(1)}
    try:
        made.update(zeros, made.init(zeros), zeros)
    except Exception as error:  # optax and JAX refuse in many ways; all of them are the user's
        raise ValueError(
            f"[optimiser] {section.name} cannot make a step from a gradient alone: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if section.clip is None:
        return made
    return optax.chain(optax.clip_by_global_norm(section.clip), made)


def optimisers() -> dict[str, Callable[..., Any]]:
    """Optax's optimisers by name: what takes a learning rate and makes steps."""
    return {
        name: function
        for name, function in _public()
        if function not in _PARTS and "learning_rate" in inspect.signature(function).parameters
    }


def schedules() -> dict[str, Callable[..., Any]]:
    """Optax's schedules by name."""
    return {
        name: function
        for name, function in _public()
        if function not in _OF_SCHEDULES
        and inspect.signature(function).return_annotation == optax.Schedule
    }


def _public() -> list[tuple[str, Callable[..., Any]]]:
    """Optax's functions by name, without Python's private ones."""
    # Some are made from others: nadam is a partial of adam.
    functions = inspect.getmembers(optax, lambda own: isinstance(own, FunctionType | partial))
    return [(name, own) for name, own in functions if not name.startswith("_")]


def _rate(value: float | Values) -> float | Callable[[Any], Any]:
    if not isinstance(value, Mapping):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"[optimiser] learning_rate is {value}, but it must be > 0.")
        return float(value)
    where = "[optimiser] learning_rate"
    if "schedule" not in value:
        raise ValueError(f"{where} is a table, so it needs `schedule`, an optax schedule's name.")
    make = _named(f"{where} schedule", value["schedule"], schedules())
    arguments = {name: _with_steps(own) for name, own in value.items() if name != "schedule"}
    schedule = _called(f"{where} {value['schedule']}", make, arguments)
    try:
        first = float(schedule(0))
    except Exception as error:  # as above
        raise ValueError(f"{where} {value['schedule']}: {str(error).splitlines()[0]}") from error
    if not (first >= 0 and math.isfinite(first)):
        raise ValueError(f"{where} {value['schedule']} starts at {first}, but it must be >= 0.")
    return schedule


def _with_steps(value: Any) -> Any:
    """TOML's keys are texts, but those of `boundaries_and_scales` are steps."""
    if isinstance(value, Mapping) and all(key.isdigit() for key in value):
        return {int(key): own for key, own in value.items()}
    return value


def _named(where: str, name: object, known: Mapping[str, Any]) -> Callable[..., Any]:
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{where} is {name!r}, but optax knows {', '.join(known)}.")
    return known[name]


def _called(where: str, make: Callable[..., Any], arguments: Values) -> Any:
    known = inspect.signature(make).parameters
    for name in arguments:
        if name not in known:
            raise ValueError(f"{where} has no argument {name!r}; it knows {', '.join(known)}.")
    lacking = [
        name
        for name, parameter in known.items()
        if parameter.default is parameter.empty and name not in arguments
    ]
    if lacking:
        raise ValueError(f"{where} lacks {', '.join(lacking)}.")
    try:
        return make(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
