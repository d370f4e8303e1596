"""Samples for the commands: what DATA names, or the data of a run file."""

from __future__ import annotations

from pathlib import Path

from echoloom.frontend.data_sets import Data as Data
from echoloom.frontend.data_sets import Split as Split
from echoloom.frontend.data_sets import prepare
from echoloom.frontend.data_sources import read_source
from echoloom.frontend.training.run_file import read_run, run_data


def load_data(source: str, normalise: bool) -> Data:
    """The data that `source` names; a run file says itself whether they are normalised.

    Raises ValueError or OSError for what is not usable data, MissingPackage without aeon.
    """
    if source.endswith(".toml"):
        path = Path(source)
        return run_data(read_run(path), path)
    return prepare(source, read_source(source), normalise=normalise)
