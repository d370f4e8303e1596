"""Samples for the commands: what DATA names, or the data of a run file."""

from __future__ import annotations

from pathlib import Path

from echoloom.frontend.data.data_sets import Data as Data
from echoloom.frontend.data.data_sets import Split as Split
from echoloom.frontend.data.data_sets import prepare
from echoloom.frontend.data.sources import read_source
from echoloom.frontend.training.run_file import read_run, run_data


def load_data(
    source: str, normalise: bool, task: str = "auto", classes: tuple[str, ...] = ()
) -> Data:
    """The data that `source` names, for a task and the names that a model has for its classes.

    A run file says itself whether data are normalised, and which task they are for.

    Raises ValueError or OSError for what is not usable data, MissingPackage without aeon.
    """
    if source.endswith(".toml"):
        path = Path(source)
        return run_data(read_run(path), path, classes)
    raw = read_source(source)
    return prepare(source, raw, normalise=normalise, task=task, classes=classes)
