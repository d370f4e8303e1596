"""A unit that fabric cannot hold, on the command line."""

from __future__ import annotations

from pathlib import Path

import jax
import pytest
from runner import CHANNELS, CLASSES, refused, write_data

import echoloom as el
from echoloom.cli.options import load_unit
from echoloom.cli.outcome import Exit
from echoloom.frontend.training.train import save_model

MODULE = """
import jax, jax.numpy as jnp
import echoloom as el


class Curved(el.Hamiltonian):
    k: jax.Array

    def potential(self, q, u):
        well = jnp.sum(self.k * q**2)
        return well + jnp.sum(
            jnp.arctan(q) * u[0]
        )


def new():
    return Curved(jnp.ones(2))
"""


def test_its_refusal_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "curved.py").write_text(MODULE)
    unit = load_unit("curved:new")
    assert unit is not None
    model = el.HSSM(CHANNELS, CLASSES, 4, 2, 1, unit=unit, key=jax.random.key(0))
    save_model(tmp_path / "model.eqx", model)
    data = write_data(tmp_path / "data.npz")
    arguments = (tmp_path / "model.eqx", data, "--unit", "curved:new", "-o", "p.elp")
    said = refused(Exit.INPUT, "compile", *arguments)
    assert "\n" not in said
    assert said.startswith(
        f"Curved.potential at {tmp_path}/curved.py:12:13: the operation 'atan' has no form in "
        "fabric, which has sums, products and tables of a few functions; write it with "
    )
