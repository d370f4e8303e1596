"""Samples for the commands: what DATA names, or the data of a run file."""

from __future__ import annotations

from pathlib import Path

from echoloom.frontend.data_sets import Data as Data
from echoloom.frontend.data_sets import Split as Split
from echoloom.frontend.data_sets import prepare
from echoloom.frontend.data_sources import read_source
from echoloom.frontend.hssm import HSSM
from echoloom.frontend.training.run_file import read_run, run_data


def load_data(source: str, normalise: bool, model: HSSM | None = None) -> Data:
    """The data that `source` names; a run file says itself whether they are normalised.

    Texts that are labels get the numbers that `model` knows them by.

    Raises ValueError or OSError for what is not usable data, MissingPackage without aeon.
    """
    classes = () if model is None else model.classes
    if source.endswith(".toml"):
        path = Path(source)
        return run_data(read_run(path), path, classes)
    return prepare(source, read_source(source), normalise=normalise, classes=classes)
