"""All-to-all cosine coupling: tables that take more than the least address field can say."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import echoloom as el
from echoloom.backends.link.image_writes import image_writes
from echoloom.ir.entry_layouts import DRAIN_LAYOUT

STATE, HIDDEN = 4, 4


class Coupled(el.Hamiltonian):
    """Every phase pulls at every other one."""

    coupling: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        distance = q[:, None] - q[None, :]
        return -jnp.sum(self.coupling * jnp.cos(distance)) - q @ (self.drive @ u)


@lru_cache(maxsize=1)
def coupled() -> tuple[el.CompiledProgram, np.ndarray]:
    """Two blocks, whose phases run away so far that a table takes all the segments that it may."""
    random = np.random.default_rng(0)
    coupling = jnp.asarray(random.uniform(0.1, 0.4, (STATE, STATE)))
    unit = Coupled(coupling, jnp.asarray(random.normal(size=(STATE, HIDDEN))))
    model = el.HSSM(
        inputs=1, outputs=2, hidden=HIDDEN, state=STATE, blocks=2, unit=unit, step=0.4,
        key=jax.random.key(0),
    )  # fmt: skip
    k = np.arange(24)
    x = np.stack([np.sin(f * k + a) for f in (0.25, 0.5) for a in (0.0, 1.5)])[:, :, None]
    return el.compile(model, x, np.repeat([0, 1], 2), lanes=2, drains=1), x


def test_large_tables_pack():
    program, x = coupled()
    image = program.image
    last = max(entry.table for entry in image.drain)
    assert last >= 2 ** DRAIN_LAYOUT["table"]  # more than the standard sizes address
    assert max(address for space, _, address, _ in image_writes(image)) == len(image.table) - 1
    assert not program.run(x[0], 1).overflow


def test_equal_tables_are_stored_once():
    """Over blocks, copies and drifts: the memory holds as many words as there are lines."""
    program, _ = coupled()
    tables = program.artifact.tables.values()
    distinct = {(table.base, table.slope) for table in tables}
    assert len(distinct) < sum(entry.use_table for entry in program.image.drain)
    assert len(program.image.table) == sum(len(base) for base, _ in distinct)


@pytest.mark.long
def test_large_tables_at_every_level():
    program, x = coupled()
    report = el.verify(program, x[:1, :2], [1], levels=["jax", "rtl"], simulator="amaranth")
    assert all(level.mismatches == 0 for level in report.levels.values())
    assert report.lsb_off == 0
    for cycles in report.cycles.values():
        assert cycles.rtl == cycles.predicted
