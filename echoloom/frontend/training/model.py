"""The untrained model that a run file and its data describe."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from numpy.typing import NDArray

from echoloom.frontend.data.data_sets import Data
from echoloom.frontend.data.named import import_unit
from echoloom.frontend.data.samples import check_samples
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.models.hssm import HSSM, with_statistics
from echoloom.frontend.models.sizes import Task
from echoloom.frontend.training.run_file import ModelSection


def task_of(task: str, y: NDArray[Any]) -> Task:
    """`task`, where "auto" means classification if the labels are whole numbers [n]."""
    if task == "auto":
        return "classification" if y.ndim == 1 and y.dtype.kind in "iu" else "regression"
    return task  # type: ignore[return-value]


def make_model(
    section: ModelSection, data: Data, seed: int, norm_samples: int | None = None
) -> HSSM:
    """An untrained model that fits the data, its norm statistics measured on training samples.

    Without `output_step`, targets [n, T', outputs] mean one every T // T' steps. `norm_samples`
    takes so many sequences, evenly spread, in place of all. Raises ValueError for a section that
    describes no model, or labels that do not fit it.
    """
    assert data.y is not None, "there is nothing to learn"
    task = task_of(section.task, data.y)
    outputs = max(2, len(data.classes)) if data.classes else _outputs(data.y, task)
    unit = section.unit
    decided = {
        "unit": _unit(unit) if isinstance(unit, str) else [_unit(name) for name in unit],
        "task": task,
        "output_step": section.output_step or _output_step(data, task),
    }
    model = HSSM(
        data.X.shape[2], outputs,
        **{**msgspec.structs.asdict(section), **decided},
        classes=data.classes if len(data.classes) == outputs else (),
        key=jax.random.key(seed),
    )  # fmt: skip
    for X, y in data.splits().values():
        if y is not None:
            check_samples(model, X, y)
    count = len(data.X)
    picks = np.unique(np.linspace(0, count - 1, min(norm_samples or count, count)).astype(int))
    return with_statistics(model, jnp.asarray(data.X[picks], model.encoder.weight.dtype))


def _unit(name: str) -> str | Hamiltonian:
    return import_unit(name, "[model] unit") if ":" in name else name


def _outputs(y: NDArray[Any], task: Task) -> int:
    """How many the labels need; what is wrong with them is for `check_samples` to say.

    Raises ValueError for labels that can be no count of classes: outputs that nobody has would cost
    memory, and learn nothing.
    """
    if task == "regression":
        return y.shape[-1] if y.ndim == 3 else 1
    if not y.size or y.dtype.kind not in "iu":
        return 2
    used, largest = np.unique(y), int(y.max())
    if 2 * len(used) < largest + 1:
        raise ValueError(
            f"labels: there are {len(used)} different ones from {used[0]} to {largest}, but "
            "classes are counted from 0: map them with `ids, y = numpy.unique(y, "
            "return_inverse=True)`, or write them as texts, y.astype(str), which are kept with the "
            "model as names."
        )
    return max(2, largest + 1)


def _output_step(data: Data, task: Task) -> int:
    assert data.y is not None
    if task == "classification" or data.y.ndim != 3 or not data.y.shape[1]:
        return 1
    return max(1, data.X.shape[1] // data.y.shape[1])
