"""What samples and labels have to fit: all that this folder knows of a model."""

from __future__ import annotations

from typing import Protocol


class Interface(Protocol):
    """A model as its data see it, such as an HSSM.

    inputs: channels of a sample. outputs: classes, or a target's width. output_step: steps for each
    output. classes: the outputs' names, or none.
    """

    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def output_step(self) -> int: ...
    @property
    def task(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
