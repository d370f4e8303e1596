"""Saved programs: the same integers back, or a refusal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_programs import STEPS, samples, small_model

import echoloom as el
from echoloom.backends.compile.archive import CorruptProgram
from echoloom.frontend.data.files import digest
from echoloom.frontend.energy.hamiltonian import Hamiltonian
from echoloom.frontend.training.train import save_model


class Tanh(Hamiltonian):
    """V = sum a q^2 / 2 - q tanh(B u): a unit with coefficients of its own."""

    a: jax.Array
    drive: jax.Array

    def potential(self, q: jax.Array, u: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(self.a * q**2) - q @ jnp.tanh(self.drive @ u)


def unit(seed: int) -> Tanh:
    key = jax.random.key(seed)
    return Tanh(jax.random.uniform(key, (2,)), jax.random.normal(key, (2, 4)))


def assert_same(loaded: el.CompiledProgram, program: el.CompiledProgram, label) -> None:
    x = samples()[0]
    assert loaded.ir == program.ir
    assert loaded.image == program.image
    wanted, found = program.run(x, label), loaded.run(x, label)
    for name, words in wanted.named().items():
        np.testing.assert_array_equal(found.named()[name], words, err_msg=name, strict=True)
    np.testing.assert_array_equal(loaded.predict(x), program.predict(x))
    assert eqx.tree_equal(loaded.gradient(x, label), program.gradient(x, label))
    assert eqx.tree_equal(loaded.model, program.model)
    assert (loaded.target, loaded.epsilons) == (program.target, program.epsilons)


def test_round_trip(classifier, tmp_path):
    path = tmp_path / "program.elp"
    classifier.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["program.elp"]
    assert_same(el.load(path), classifier, 1)


def test_saving_again_gives_the_same_bytes(classifier, tmp_path):
    classifier.save(tmp_path / "a.elp")
    el.load(tmp_path / "a.elp").save(tmp_path / "b.elp")
    assert (tmp_path / "a.elp").read_bytes() == (tmp_path / "b.elp").read_bytes()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_round_trip_of_narrow_floats(classifier, tmp_path, dtype):
    """A program of a model in another float type: the same integers and the same gradients."""
    # A little smaller: no weight is rounded out of its format.
    model = jax.tree.map(lambda a: (0.9 * a).astype(dtype), classifier.model)
    program = classifier.with_parameters(model)
    program.save(tmp_path / "program.elp")
    assert_same(el.load(tmp_path / "program.elp"), program, 1)


def test_round_trip_of_regression(tmp_path):
    model = small_model(outputs=2, task="regression", output_step=4, complex=False)
    targets = np.random.default_rng(1).uniform(-0.9, 0.9, (2, STEPS // 4, 2))
    program = el.compile(model, samples(), targets, lanes=3, drains=2, slots=2)
    program.save(tmp_path / "program.elp")
    assert_same(el.load(tmp_path / "program.elp"), program, targets[0])


def test_round_trip_of_own_unit(tmp_path):
    path = tmp_path / "program.elp"
    program = el.compile(small_model(unit=unit(0)), samples(), lanes=2)
    program.save(path)
    assert_same(el.load(path, unit(5)), program, 1)
    with pytest.raises(ValueError, match="unit is 'Tanh', but it is loaded with 'linear': pass"):
        el.load(path)


def test_single_precision_parameters_stay_single(tmp_path):
    model = jax.tree.map(lambda a: a.astype(jnp.float32), small_model())
    program = el.compile(model, samples(), lanes=2)
    program.save(tmp_path / "program.elp")
    assert_same(el.load(tmp_path / "program.elp"), program, 1)


def test_new_parameters_are_what_is_saved(classifier, tmp_path):
    model = jax.tree.map(lambda a: 0.9 * a, classifier.model)
    changed = classifier.with_parameters(model)
    changed.save(tmp_path / "program.elp")
    assert_same(el.load(tmp_path / "program.elp"), changed, 1)


def test_another_process_loads_the_same(classifier, tmp_path):
    """Neither JAX's default types nor the hashes of strings have a say in the result."""
    path = tmp_path / "program.elp"
    classifier.save(path)
    np.save(tmp_path / "x.npy", samples()[0])
    code = (
        "import sys, numpy as np, jax, echoloom as el\n"
        "p, x = el.load(sys.argv[1]), np.load(sys.argv[2])\n"
        "g = [np.asarray(a).tolist() for a in jax.tree.leaves(p.gradient(x, 1))]\n"
        "print(repr((p.image, p.predict(x).tolist(), g)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "x.npy"],
        env={**os.environ, "JAX_ENABLE_X64": "0", "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    x = samples()[0]
    gradient = [np.asarray(a).tolist() for a in jax.tree.leaves(classifier.gradient(x, 1))]
    expected = repr((classifier.image, classifier.predict(x).tolist(), gradient))
    assert done.stdout.strip() == expected


@pytest.fixture
def saved(classifier, tmp_path) -> Path:
    path = tmp_path / "program.elp"
    classifier.save(path)
    return path


def refusal(path: Path) -> str:
    """The sentence with which a file is refused, without the file's name."""
    with pytest.raises(CorruptProgram) as caught:
        el.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def test_any_flipped_bit_is_refused(saved):
    data = bytearray(saved.read_bytes())
    line = data.index(b"\n")
    for position in [*range(0, line + 2, 13), *range(line, len(data), len(data) // 60), -1]:
        data[position] ^= 1
        saved.write_bytes(data)
        refusal(saved)
        data[position] ^= 1


def test_any_truncation_is_refused(saved):
    data = saved.read_bytes()
    line = data.index(b"\n")
    for length in [*range(0, line + 2, 199), *range(line, len(data), len(data) // 30)]:
        saved.write_bytes(data[:length])
        refusal(saved)


FOREIGN = "this is not a saved Echoloom program; write one with program.save or `echoloom compile`."


def test_refusals_in_words(saved, classifier):
    data = saved.read_bytes()
    line = data.index(b"\n")
    payload = len(data) - line - 1

    saved.write_bytes(data[:-1])
    assert refusal(saved) == (
        f"the saved program is cut off, {payload - 1} of {payload} bytes follow its first line; "
        "save it again."
    )
    saved.write_bytes(data[: line // 2])
    assert refusal(saved) == (
        "the saved program's first line is damaged or cut off; save it again."
    )
    for changed in (data + b"\n", data.replace(b"ecp5-85k", b"ecp5-25k", 1)):
        saved.write_bytes(changed)
        assert refusal(saved) == (
            "the saved program is damaged, its checksum does not match; save it again."
        )
    saved.write_bytes(data.replace(b'"version": 1', b'"version": 2', 1))
    assert refusal(saved) == (
        "the saved program has version 2, but this release reads version 1; load it with release "
        f"{json.loads(data[:line])['release']}, which wrote it."
    )
    save_model(saved, classifier.model)
    assert refusal(saved) == FOREIGN
    saved.write_bytes(data[: line - 1] + b', "a": ' + b"[" * 100_000 + b"\n")
    assert "first line is damaged" in refusal(saved)
    for changed in (b"", b"\x00" * 100, b"PK\x03\x04", b"[1, 2]\n"):
        saved.write_bytes(changed)
        assert refusal(saved) == FOREIGN


def test_edits_with_a_new_checksum_are_refused(saved):
    """Somebody repaired the checksum after an edit: still a sentence, not a traceback."""
    line, _, payload = saved.read_bytes().partition(b"\n")
    header = json.loads(line)

    def write(**changes) -> None:
        changed = {**header, **changes}
        changed["sha256"] = digest(changed, payload)
        saved.write_bytes(json.dumps(changed).encode() + b"\n" + payload)

    write()
    el.load(saved)
    for changes in (
        {"target": "ecp5-99k"},
        {"engine": {**header["engine"], "lanes": 0}},
        {"engine": {}},
        {"tables": {}},
        {"epsilons": 3},
        {"parts": None},
        {"parts": [["model", -1]]},
        {"parts": [[["model"], 1]]},
        {"engine": {**header["engine"], "lanes": 10**400}},
        {"engine": {**header["engine"], "slots": 3_999_999_999}},  # memory for as many was taken
        {"engine": {**header["engine"], "slots": 0}},
        {"engine": {**header["engine"], "word": 1_000_000}},
        {"engine": {**header["engine"], "gradient": 2}},
        {"tables": {"b0.gelu": []}},
        {"output_step": "1"},
        {"learning": []},
        {"parts": [part for part in header["parts"] if part[0] != "ir"]},
    ):
        write(**changes)
        sentence = refusal(saved)
        assert sentence.startswith("the saved program does not make sense to this release (")
        assert sentence.endswith("); compile it again.")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        el.load(tmp_path / "none.elp")


def test_failed_save_leaves_nothing(classifier, saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr(Path, "replace", _refuse)
    with pytest.raises(OSError, match=r"^\[Errno 28\] cannot write .*program\.elp: No space left$"):
        classifier.save(saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["program.elp"]


def _refuse(*_) -> None:
    raise OSError(28, "No space left")


def test_a_program_that_learns_comes_back(tmp_path: Path) -> None:
    rule = el.ScaledUpdate(batch=2, updates=3, seed=4, halve_at=(1,), learn=("head", "b0.readout"))
    program = el.compile(small_model(outputs=2), samples(), [0, 1], lanes=4, learning=rule)
    program.save(tmp_path / "learns.elp")
    again = el.load(tmp_path / "learns.elp")
    assert again.learning == program.learning
    assert again.learning is not None
    assert again.learning.rule == rule
    assert [t.name for t in again.learning.tensors] == ["head.weight", "head.bias", "b0.readout"]
    assert again.image == program.image
    assert str(again) == str(program)
