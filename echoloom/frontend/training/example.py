"""A run file that shows every field."""

from __future__ import annotations

from importlib.resources import files

EXAMPLE = files("echoloom.frontend.training").joinpath("example.toml").read_text()
