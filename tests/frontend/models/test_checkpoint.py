"""Models on disk: the same bits back, or a refusal."""

from __future__ import annotations

import errno
import json
import pickle
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoloom.frontend.data.files import digest
from echoloom.frontend.models.units import NonlinearUnit, RawUnit
from echoloom.frontend.training.train import load_model, save_model

FIRST_VERSION = Path(__file__).parent / "version1.eqx"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"complex": False, "blocks": 3},
        {"task": "regression", "output_step": 5},
        {"unit": "nonlinear", "activation": "gelu_tanh", "substeps": 2},
        {
            "unit": ["nonlinear", "linear"],
            "state": [2, 5],
            "complex": [True, False],
            "substeps": [3, 1],
            "integrator": ["imex", "leapfrog"],
        },
    ],
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


FLOATS = (jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn, jnp.float32, jnp.float64)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_float_type_comes_back(make_model, custom_units, tmp_path, dtype, mixed):
    """Each array in its own type, bit for bit; one has another type where they are `mixed`."""
    unit = custom_units["saturating"]
    model = make_model(unit=["linear", unit], blocks=2)
    model = jax.tree.map(lambda a: a.astype(dtype), model)
    if mixed:
        head = model.head.weight.astype(jnp.float16 if dtype != jnp.float16 else jnp.bfloat16)
        model = eqx.tree_at(lambda m: m.head.weight, model, head)
    path = tmp_path / "model.eqx"
    save_model(path, model)
    loaded = load_model(path, ["linear", unit])
    # float64 holds all of these types exactly.
    for own, found in zip(jax.tree.leaves(model), jax.tree.leaves(loaded), strict=True):
        assert found.dtype == own.dtype
        assert np.array_equal(np.asarray(found, np.float64), np.asarray(own, np.float64))
    with jax.enable_x64(False):  # where there is no float64, it becomes float32 and nothing else
        for own, found in zip(
            jax.tree.leaves(model), jax.tree.leaves(load_model(path, ["linear", unit])), strict=True
        ):
            assert found.dtype == (jnp.float32 if own.dtype == jnp.float64 else own.dtype)


def test_arrays_of_numpy_are_stored_like_those_of_jax(make_model, tmp_path):
    model = make_model()
    save_model(tmp_path / "a.eqx", model)
    save_model(tmp_path / "b.eqx", jax.tree.map(np.asarray, model))
    assert (tmp_path / "a.eqx").read_bytes() == (tmp_path / "b.eqx").read_bytes()


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


def test_units_of_several_kinds_need_an_instance_each(make_model, custom_units, tmp_path):
    path, units = tmp_path / "model.eqx", ["linear", *custom_units.values()]
    model = make_model(blocks=3, unit=units, substeps=[1, 2, 3])
    save_model(path, model)
    assert eqx.tree_equal(load_model(path, units), model)
    with pytest.raises(ValueError, match="block 1's unit is 'Saturating', but it is loaded with"):
        load_model(path)
    with pytest.raises(ValueError, match=r"block 2's unit is 'Relativistic', but .* 'Saturating'"):
        load_model(path, custom_units["saturating"])
    with pytest.raises(ValueError, match="has 3 blocks, but `unit` holds 2 values"):
        load_model(path, units[:2])


def test_one_instance_serves_all_blocks_of_its_class(make_model, custom_units, tmp_path):
    path, unit = tmp_path / "model.eqx", custom_units["saturating"]
    model = make_model(blocks=3, unit=["nonlinear", unit, unit])
    save_model(path, model)
    assert eqx.tree_equal(load_model(path, unit), model)
    save_model(path, make_model())
    with pytest.raises(ValueError, match=r"block 0's unit is 'linear', but .* with 'Saturating'"):
        load_model(path, unit)


def test_how_a_nonlinear_unit_resolves_is_kept(make_model, tmp_path):
    path, model = tmp_path / "model.eqx", make_model(unit="nonlinear")
    unit = NonlinearUnit(7, 4, 0.1, jax.random.key(1), 2, "identity", shared_step=True)
    model = eqx.tree_at(lambda m: m.blocks[1].unit, model, unit)
    save_model(path, model)
    loaded = load_model(path)
    assert eqx.tree_equal(loaded, model)
    assert isinstance(own := loaded.blocks[1].unit, NonlinearUnit) and own.step.shape == (1,)
    assert eqx.tree_equal(loaded.resolve(), model.resolve())


class Rest(RawUnit):
    """A raw unit that no checkpoint knows."""

    def resolve(self):
        raise NotImplementedError


def test_a_raw_unit_of_ones_own_is_refused(make_model, tmp_path):
    model = eqx.tree_at(lambda m: m.blocks[1].unit, make_model(), Rest())
    with pytest.raises(ValueError, match=r"blocks\[1\]\.unit is a Rest, but a checkpoint holds"):
        save_model(tmp_path / "model.eqx", model)
    assert not any(tmp_path.iterdir())


def test_a_file_of_the_first_version_is_still_read():
    model = load_model(FIRST_VERSION)
    assert (model.state, model.complex, model.substeps) == (1, True, 1)
    assert (model.integrator, model.activation) == ("leapfrog", "gelu")
    x = jnp.sin(jnp.arange(9.0))[:, None]
    # What the release that wrote it gave.
    np.testing.assert_allclose(model(x), [0.34503192294752016, -0.24976828813308405], rtol=1e-12)


def resealed(data: bytes, change) -> bytes:
    """A checkpoint with another header under a right checksum: what another release may write."""
    line, _, payload = data.partition(b"\n")
    header = json.loads(line)
    change(header)
    header["sha256"] = digest(header, payload)
    return json.dumps(header).encode() + b"\n" + payload


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h: h.update(version=3), "has version 3, but this release reads versions 1 and 2"),
        (lambda h: h.pop("version"), "has version None"),
        (lambda h: h["model"].pop("unit"), "describes no model that this release knows"),
        (lambda h: h["model"].update(unit=7), "describes no model that this release knows"),
        (lambda h: h["model"].update(substeps=[1, 0]), r"describes no model .*substeps\[1\] is 0"),
        (lambda h: h["model"].update(integrator="euler"), "describes no model .*'euler'"),
        (lambda h: h["model"].update(colour="red"), "describes no model .*colour"),
        (lambda h: h["model"]["unit"][0].update(step_through="tanh"), "describes no model"),
        (lambda h: h["model"]["unit"][0].update(shared_step=True), "arrays do not fit the model"),
        (lambda h: h["model"].update(hidden=10**9), "describes no model .* size of 1000000000 in "),
        (lambda h: h["model"].update(hidden=500), "arrays do not fit the model"),
        (lambda h: h["model"].update(blocks=300), "describes no model"),
        (lambda h: (h.update(version=1), h["model"].update(blocks=10**9)), "describes no model"),
        (lambda h: h["model"].update(blocks=-1), "describes no model"),
        (lambda h: h["model"].update(state=[10**400]), "describes no model"),
        (lambda h: h["model"].update(classes=7), "describes no model"),
        (lambda h: h["model"].update(unit=[["linear"]]), "describes no model"),
        (lambda h: h.update(model=[]), "describes no model that this release knows"),
        (lambda h: h.update(dtypes=7), "describes no model that this release knows"),
        (lambda h: h.update(dtypes=["(1,f8"]), "describes no model that this release knows"),
        (lambda h: h.update(dtype="(1,f8"), "describes no model that this release knows"),
        (lambda h: h.update(dtype="<U999"), "arrays do not fit the model"),
        (lambda h: h.update(dtype="|O"), "arrays do not fit the model"),
        (lambda h: h.update(dtype="colour"), "describes no model that this release knows"),
    ],
)
def test_headers_that_describe_no_model(make_model, tmp_path, change, sentence):
    path = tmp_path / "model.eqx"
    save_model(path, make_model(unit="nonlinear"))
    path.write_bytes(resealed(path.read_bytes(), change))
    with pytest.raises(ValueError, match=sentence):
        load_model(path)


@pytest.mark.parametrize(
    "header",
    [b"'|O', 'shape': (7,)", b"'<f8', 'shape': (1099511627776,)", b"'<f8', 'shape': (7,", b"os"],
)
def test_arrays_that_nobody_wrote(make_model, tmp_path, header):
    """The first array of a checkpoint with a right checksum has another header in NumPy's format:
    Python objects, a terabyte, no end, no type."""
    path = tmp_path / "model.eqx"
    save_model(path, make_model())
    line, _, payload = path.read_bytes().partition(b"\n")
    text = b"{'fortran_order': False, 'descr': " + header + b"}"
    payload = b"\x93NUMPY\x01\x00v\x00" + text.ljust(118) + payload[128:]
    path.write_bytes(resealed(line + b"\n" + payload, lambda header: None))
    with pytest.raises(ValueError, match="the arrays do not fit the model in the header"):
        load_model(path)


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
