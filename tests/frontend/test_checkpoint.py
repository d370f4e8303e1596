"""Models on disk: the same bits back, or a refusal."""

from __future__ import annotations

import errno
import json
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from echoloom.frontend.train import load_model, save_model


@pytest.mark.parametrize(
    "arguments",
    [{}, {"complex": False, "blocks": 3}, {"task": "regression", "output_step": 5}],
)
def test_round_trip_is_exact(make_model, tmp_path, arguments):
    model = make_model(**arguments)
    save_model(tmp_path / "model.eqx", model)
    assert eqx.tree_equal(load_model(tmp_path / "model.eqx"), model)
    assert [p.name for p in tmp_path.iterdir()] == ["model.eqx"]


def test_single_precision_stays_single_on_disk(make_model, tmp_path):
    model = jax.tree.map(lambda a: a.astype(jnp.float32), make_model())
    save_model(tmp_path / "model.eqx", model)
    assert json.loads((tmp_path / "model.eqx").read_bytes().split(b"\n")[0])["dtype"] == "float32"
    assert eqx.tree_equal(load_model(tmp_path / "model.eqx"), model)


def test_own_units_need_an_instance(make_model, custom_units, tmp_path):
    path = tmp_path / "model.eqx"
    unit = custom_units["saturating"]
    model = make_model(unit=unit)
    save_model(path, model)
    assert eqx.tree_equal(load_model(path, unit), model)
    with pytest.raises(ValueError, match="unit is 'Saturating', but it is loaded with 'linear'"):
        load_model(path)
    with pytest.raises(ValueError, match="loaded with 'Relativistic'"):
        load_model(path, custom_units["relativistic"])
    with pytest.raises(ValueError, match="units differ"):
        save_model(path, make_model(unit=list(custom_units.values())))


def test_every_kind_of_damage_is_refused(make_model, tmp_path):
    good = tmp_path / "good.eqx"
    save_model(good, make_model())
    data = good.read_bytes()
    line = data.index(b"\n")

    def refused(name: str, content: bytes, sentence: str) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=sentence):
            load_model(path)

    for place in (line + 1, line + 200, len(data) - 1):
        flipped = bytearray(data)
        flipped[place] ^= 1
        refused(f"flipped{place}", bytes(flipped), "damaged, its checksum")
    refused("torn", data[:-1], "damaged, its checksum")
    refused("longer", data + b"\0", "damaged, its checksum")
    refused("edited", data.replace(b'"hidden": 7', b'"hidden": 9'), "damaged, its checksum")
    for name, content in {
        "empty": b"",
        "no-line": b"x" * 200_000,
        "not-json": b"{oops\n" + data[line + 1 :],
        "a-list": b"[]\n",
        "binary": bytes(range(256)),
        "pickle": pickle.dumps({"format": "echoloom.hssm"}),
    }.items():
        refused(name, content, "not an Echoloom checkpoint")


def test_a_failed_save_leaves_the_old_file(make_model, tmp_path, monkeypatch):
    path = tmp_path / "model.eqx"
    model = make_model()
    save_model(path, model)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        save_model(path, make_model(seed=1))
    assert [p.name for p in tmp_path.iterdir()] == ["model.eqx"]
    assert eqx.tree_equal(load_model(path), model)
