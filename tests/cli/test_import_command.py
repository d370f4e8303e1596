"""`echoloom import-rhel`: what it says of a good file, and of every wrong one."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest
from published_files import HIDDEN, STATE, PublishedFile, published_file
from runner import echoloom, refused

from echoloom.cli.outcome import Exit
from echoloom.frontend.models.checkpoint import load_model

Change = Callable[[PublishedFile], object]
REAL = "float32 or float64"


@pytest.mark.parametrize(
    ("arguments", "unit"), [({"complex": False}, "linear"), ({"model": "NonlinHRU"}, "nonlinear")]
)
def test_it_writes_a_checkpoint_and_says_what_it_is(tmp_path, arguments, unit):
    files = published_file(classification=False, output_step=5, **arguments).write(tmp_path)
    said = echoloom("import-rhel", *files, "--out", tmp_path / "own.eqx", "--json")
    assert said.code == 0
    model = load_model(tmp_path / "own.eqx")
    assert said.json == {
        "command": "import-rhel",
        "ok": True,
        "exit_code": 0,
        "checkpoint": str(tmp_path / "own.eqx"),
        "unit": unit,
        "task": "regression",
        "inputs": model.inputs,
        "outputs": model.outputs,
        "hidden": HIDDEN,
        "state": STATE,
        "blocks": 2,
        "complex": False,
        "output_step": 5,
        "parameters": sum(a.size for a in jax.tree.leaves(model)),
    }
    shown = echoloom("import-rhel", *files, "-o", tmp_path / "again.eqx")
    assert "output step" in shown.out
    assert ("half a step later" in shown.out) == (unit == "nonlinear")
    assert (tmp_path / "again.eqx").read_bytes() == (tmp_path / "own.eqx").read_bytes()


def test_it_compiles(tmp_path):
    files = published_file().write(tmp_path)
    own, program = tmp_path / "own.eqx", tmp_path / "own.elp"
    assert echoloom("import-rhel", *files, "--out", own).code == 0
    np.savez(tmp_path / "data.npz", X=np.random.default_rng(0).standard_normal((3, 10, 2)))
    said = echoloom("compile", own, tmp_path / "data.npz", "-o", program, "--lanes", 2)
    assert said.code == 0, said.err


def stated(**values: object) -> Change:
    return lambda file: file.configuration.update(values)


def array(name: str, change: Callable[[np.ndarray], object]) -> Change:
    return lambda file: file.arrays.update({name: np.asarray(change(file.arrays[name]))})


def put(index: tuple[int, ...], value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(old: np.ndarray) -> np.ndarray:
        new = old.copy()
        new[index] = value
        return new

    return change


JSON_CASES: dict[str, tuple[Change, str]] = {
    "key": (
        lambda file: file.configuration.pop("ssm_dim"),
        'there is no "ssm_dim", which an import needs.',
    ),
    "model": (
        stated(model="S5"),
        'model is \'S5\', but must be "LinHRU" or "NonlinHRU".',
    ),
    "no text": (
        stated(model=["LinHRU"]),
        'model is [\'LinHRU\'], but must be "LinHRU" or "NonlinHRU".',
    ),
    "text": (stated(hidden_dim="4"), "hidden_dim is '4', but must be a whole number >= 1."),
    "boolean": (stated(num_blocks=True), "num_blocks is True, but must be a whole number >= 1."),
    "zero": (stated(data_dim=0), "data_dim is 0, but must be a whole number >= 1."),
    "long": (
        stated(label_dim=[0] * 999),
        "label_dim is [0, 0, 0, 0, 0, 0, ...], but must be a whole number >= 1.",
    ),
    "switch": (stated(complex_ssm=1), "complex_ssm is 1, but must be true or false."),
    "rate": (stated(output_step=1.0), "output_step is 1.0, but must be a whole number >= 1."),
}
FILE_CASES: dict[str, tuple[Change, str]] = {
    "hidden": (
        stated(hidden_dim=5),
        "array 0 (linear_encoder.weight) is float32 [4, 2], but the LinHRU in JSON needs "
        f"{REAL} [5, 2].",
    ),
    "state": (
        stated(ssm_dim=4),
        f"array 6 (blocks[0].ssm.A_diag) is float32 [3], but the LinHRU in JSON needs {REAL} [4].",
    ),
    "fewer blocks": (
        stated(num_blocks=1),
        f"array 20 (linear_layer.weight) is bool [], but the LinHRU in JSON needs {REAL} [3, 4].",
    ),
    "other model": (
        stated(model="NonlinHRU"),
        "array 7 (blocks[0].ssm.B) is float32 [3, 4, 2], but JSON names a NonlinHRU and it looks "
        "like that of a LinHRU.",
    ),
    "shape": (
        array("blocks[1].ssm.B", lambda a: a[..., :1]),
        "array 25 (blocks[1].ssm.B) is float32 [3, 4, 1], but the LinHRU in JSON needs "
        f"{REAL} [3, 4, 2].",
    ),
    "type": (
        array("blocks[1].glu.w2.bias", lambda a: a.astype(np.float16)),
        "array 35 (blocks[1].glu.w2.bias) is float16 [4], but the LinHRU in JSON needs "
        f"{REAL} [4].",
    ),
    "NaN": (
        array("blocks[0].ssm.C", put((1, 2, 1), np.nan)),
        "array 8 (blocks[0].ssm.C) holds nan at [1, 2, 1], but its values must be finite.",
    ),
    "infinity": (
        array("state.blocks[1].norm.mean", put((3,), np.inf)),
        "array 46 (state.blocks[1].norm.mean) holds inf at [3], but its values must be finite.",
    ),
    "variance": (
        array("state.blocks[0].norm.variance", put((2,), -0.5)),
        "array 44 (state.blocks[0].norm.variance) holds -0.5 at [2], but its values must be >= 0.",
    ),
    "untrained": (
        array("state.blocks[1].norm.first_time", np.ones_like),
        "array 45 (state.blocks[1].norm.first_time) is True: this norm has seen no batch and has "
        "no statistics yet; train the model before you save it.",
    ),
    "missing": (
        lambda file: file.arrays.pop("state.blocks[1].norm.variance"),
        "the file ends after 47 arrays, before state.blocks[1].norm.variance.",
    ),
    "surplus": (
        lambda file: file.arrays.update(more=np.zeros(2)),
        "144 bytes follow the last of 48 arrays, but the file should end there.",
    ),
    "complex": (
        stated(complex_ssm=False),
        "blocks[0].ssm.complex_ssm is True, but JSON says False.",
    ),
    "mixed": (
        lambda file: (
            stated(complex_ssm=None)(file),
            array("blocks[1].ssm.complex_ssm", np.zeros_like)(file),
        ),
        "blocks[1].ssm.complex_ssm is False, unlike that of the blocks before.",
    ),
    "task": (stated(classification=False), "classification is True, but JSON says False."),
    "rate": (stated(output_step=9), "output_step is 1, but JSON says 9."),
    "no rate": (
        array("output_step", np.zeros_like),
        "output_step is 0, but it must be >= 1.",
    ),
    "one class": (
        lambda file: (
            stated(label_dim=1)(file),
            array("linear_layer.weight", lambda a: a[:1])(file),
            array("linear_layer.bias", lambda a: a[:1])(file),
        ),
        "the model classifies, which needs a label_dim of 2 or more, but JSON says 1.",
    ),
}


@pytest.mark.parametrize("case", JSON_CASES)
def test_a_wrong_configuration_is_refused(tmp_path, case):
    change, sentence = JSON_CASES[case]
    file = published_file()
    change(file)
    checkpoint, configuration = file.write(tmp_path)
    before = sorted(tmp_path.iterdir())
    arguments = ("import-rhel", checkpoint, configuration, "--out", tmp_path / "own.eqx")
    assert refused(Exit.INPUT, *arguments) == f"{configuration}: {sentence}"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("case", FILE_CASES)
def test_a_wrong_checkpoint_is_refused(tmp_path, case):
    change, sentence = FILE_CASES[case]
    file = published_file()
    change(file)
    checkpoint, configuration = file.write(tmp_path)
    before = sorted(tmp_path.iterdir())
    arguments = ("import-rhel", checkpoint, configuration, "--out", tmp_path / "own.eqx")
    expected = f"{checkpoint}: {sentence}".replace("JSON", str(configuration))
    assert refused(Exit.INPUT, *arguments) == expected
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "this is not JSON; a JSON object {...} is needed."),
        ("\xff", "this is not JSON; a JSON object {...} is needed."),
        ("[" * 100_000, "this is not JSON; a JSON object {...} is needed."),
        ("9" * 10_000, "this is not JSON; a JSON object {...} is needed."),
        ("[1]", "this is a list, not a JSON object {...}."),
    ],
    ids=["half", "bytes", "deep", "number", "list"],
)
def test_what_is_no_json_is_refused(tmp_path, text, sentence):
    checkpoint, configuration = published_file().write(tmp_path)
    configuration.write_text(text, encoding="latin-1")
    arguments = ("import-rhel", checkpoint, configuration, "--out", tmp_path / "own.eqx")
    assert refused(Exit.INPUT, *arguments) == f"{configuration}: {sentence}"


def test_a_nonlinear_configuration_needs_a_nonlinear_file(tmp_path):
    file = published_file("NonlinHRU")
    file.configuration["model"] = "LinHRU"
    checkpoint, configuration = file.write(tmp_path)
    arguments = ("import-rhel", checkpoint, configuration, "--out", tmp_path / "own.eqx")
    assert refused(Exit.INPUT, *arguments) == (
        f"{checkpoint}: array 7 (blocks[0].ssm.B) is float32 [3, 4], but {configuration} names a "
        "LinHRU and it looks like that of a NonlinHRU."
    )


def test_missing_files_are_refused(tmp_path):
    checkpoint, configuration = published_file().write(tmp_path)
    missing, out = tmp_path / "missing", ("--out", tmp_path / "own.eqx")
    sentence = f"{missing}: No such file or directory"
    assert refused(Exit.INPUT, "import-rhel", missing, configuration, *out) == sentence
    assert refused(Exit.INPUT, "import-rhel", checkpoint, missing, *out) == sentence
    nowhere = ("--out", tmp_path / "none" / "own.eqx")
    assert refused(Exit.INPUT, "import-rhel", checkpoint, configuration, *nowhere) == (
        f"cannot write {nowhere[1]}: No such file or directory"
    )
    assert not (tmp_path / "own.eqx").exists()
