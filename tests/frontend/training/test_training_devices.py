"""Batches shared by four devices, which XLA makes of one CPU in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import echoloom
from echoloom.frontend.training.devices import make_mesh

SCRIPT = """
import json
import jax, jax.numpy as jnp, numpy as np, optax
import echoloom as el
from echoloom.frontend.data.data_sets import Data
from echoloom.frontend.training.devices import make_mesh, share_gradient
from echoloom.frontend.training.loop import fit, make_plan
from echoloom.frontend.training.run_file import TrainingSection
from echoloom.frontend.training.scores import make_scorer
from echoloom.frontend.training.source import float_source

assert len(jax.devices()) == 4
rng = np.random.default_rng(0)
X, y = rng.standard_normal((11, 6, 3)), np.arange(11) % 2
model = el.HSSM(inputs=3, outputs=2, hidden=5, state=3, blocks=1, key=jax.random.key(0))
said = {}
for kind in ("bptt", "rhel"):
    for count in (1, 4):
        mesh = make_mesh(count)
        make = {"bptt": el.bptt_value_and_grad, "rhel": el.rhel_value_and_grad}[kind]
        function = share_gradient(make(model), mesh)
        if mesh is not None:
            text = jax.jit(function).lower(model, X[:8], y[:8]).compile().as_text()
            assert "num_partitions=4" in text and "all-reduce" in text
            assert len(jax.jit(function)(model, X[:8], y[:8])[0].sharding.device_set) == 4
        # Two whole batches of 4 and one of 3, which four devices cannot share.
        plan = make_plan(TrainingSection(batch=4, epochs=2), 11, 0)
        found = fit(model, X, y, float_source(function), optax.sgd(1e-2), plan).model
        score = make_scorer(Data(X, y), 4, mesh)(found, ("train",))["train"]
        flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)])
        said[f"{kind} {count}"] = {"loss": score.loss, "model": flat.tolist()}
print(json.dumps(said))
"""


def test_four_devices_come_to_the_same_as_one():
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(echoloom.__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    for kind in ("bptt", "rhel"):
        one, four = said[f"{kind} 1"], said[f"{kind} 4"]
        np.testing.assert_allclose(four["model"], one["model"], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(four["loss"], one["loss"], rtol=1e-12)
    assert said["bptt 1"]["model"] != said["rhel 1"]["model"]


def test_more_devices_than_there_are():
    assert make_mesh(1) is None
    with pytest.raises(ValueError, match=r"devices is 4096, but JAX sees \d+ here"):
        make_mesh(4096)
