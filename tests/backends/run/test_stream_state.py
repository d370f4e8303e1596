"""States of streams: whole files or a sentence, and only under the program that they are of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import numpy as np
import pytest
from tiny_programs import samples, small_model

import echoloom as el
from echoloom.frontend.data.files import sealed
from echoloom.ir.carried import Carried

X = samples()[0]


@pytest.fixture(scope="module")
def state(classifier: el.CompiledProgram) -> el.StreamState:
    stream = classifier.stream(window=3)
    stream.push(X)
    return stream.state


def test_a_file_has_all_of_it(
    classifier: el.CompiledProgram, state: el.StreamState, tmp_path: Path
) -> None:
    state.save(tmp_path / "state")
    found = el.load_state(tmp_path / "state")
    assert (found.program, found.steps) == (state.program, len(X))
    for name, words in state.carried.words.items():
        assert np.array_equal(found.carried.words[name], words)
        assert found.carried.words[name].dtype == np.int64
    assert np.array_equal(found.samples, X[-3:])
    assert np.array_equal(found.outputs, state.outputs)
    header = json.loads((tmp_path / "state").read_bytes().split(b"\n")[0])
    assert header["format"] == "echoloom.stream" and header["steps"] == len(X)
    # It goes on as if nothing had been.
    went_on, stream = classifier.stream(window=3, initial=found), classifier.stream(window=3)
    stream.push(X)
    assert np.array_equal(went_on.push(X), stream.push(X))
    assert eqx.tree_equal(went_on.gradient(1), stream.gradient(1))


def test_a_state_is_of_a_program_not_of_an_engine(
    classifier: el.CompiledProgram, state: el.StreamState
) -> None:
    wider = el.compile(small_model(), samples(), [0, 2], lanes=4)
    assert np.array_equal(
        wider.stream(initial=state).push(X), classifier.stream(initial=state).push(X)
    )


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda data: b"", "no saved state of a stream; write one with state.save"),
        (lambda data: b"PK\x03\x04" + data, "no saved state of a stream"),
        (lambda data: data[:-3], "damaged or cut off: its checksum does not match"),
        (lambda data: data.replace(b'"steps": 12', b'"steps": 13'), "damaged or cut off"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "damaged or cut off"),
    ],
)
def test_a_file_that_is_not_whole(
    spoil: Callable[[bytes], bytes], sentence: str, state: el.StreamState, tmp_path: Path
) -> None:
    state.save(tmp_path / "state")
    (tmp_path / "state").write_bytes(spoil((tmp_path / "state").read_bytes()))
    with pytest.raises(el.WrongState, match=sentence):
        el.load_state(tmp_path / "state")


def test_files_of_other_makers(state: el.StreamState, tmp_path: Path) -> None:
    state.save(tmp_path / "state")
    line, _, payload = (tmp_path / "state").read_bytes().partition(b"\n")
    header = {k: v for k, v in json.loads(line).items() if k != "sha256"}
    for changes, sentence in (
        ({"version": 2}, "has version 2, but this release reads version 1"),
        ({"arrays": [["own", "samples", "|O", [1]]]}, "the state makes no sense to this release"),
        ({"arrays": header["arrays"][:-1]}, "the state makes no sense to this release"),
        ({"arrays": None}, "the state makes no sense to this release"),
        ({"arrays": [["own", "samples", "<f8", [-1]]]}, "the state makes no sense to this release"),
        ({"arrays": [["own", "samples", "<f8", [2**40]]]}, "no sense .*samples is cut off"),
        (
            {"arrays": [["own", "samples", "(1,f8", [1]]]},
            "the state makes no sense to this release",
        ),
        ({"arrays": [[{}, "samples", "<f8", [1]]]}, "the state makes no sense to this release"),
        ({"steps": "many"}, "the state makes no sense to this release"),
    ):
        (tmp_path / "state").write_bytes(sealed({**header, **changes}, payload))
        with pytest.raises(el.WrongState, match=sentence):
            el.load_state(tmp_path / "state")
    with pytest.raises(OSError, match="No such file"):
        el.load_state(tmp_path / "nothing")


def test_states_of_other_programs(classifier: el.CompiledProgram, state: el.StreamState) -> None:
    louder = el.compile(small_model(), 2 * samples(), [0, 2], lanes=2)
    with pytest.raises(el.WrongState, match="belongs to another program, whose words mean"):
        louder.stream(initial=state)
    with pytest.raises(el.WrongState, match="belongs to a program with other formats"):
        state.under(louder.artifact)
    model = eqx.tree_at(lambda m: m.head.weight, classifier.model, replace_fn=lambda w: 0.5 * w)
    learned = classifier.with_parameters(model)
    with pytest.raises(el.WrongState, match="made with other parameters than this program's"):
        learned.stream(initial=state)
    stream = learned.stream(initial=state.under(learned.artifact))
    assert stream.push(X).shape == (3,)
    with pytest.raises(el.WrongState, match="other parameters"):
        classifier.stream(initial=stream.state)
    with pytest.raises(el.WrongState, match="another program"):
        classifier.stream().restore(louder.stream().state)


def changed(state: el.StreamState, name: str, words: np.ndarray) -> el.StreamState:
    own = {n: words if n == name else w for n, w in state.carried.words.items()}
    states = {n: w for n, w in own.items() if n in state.carried.states}
    sums = {n: w for n, w in own.items() if n in state.carried.sums}
    return replace(state, carried=Carried(state.steps, states, sums))


def test_words_that_no_format_has(classifier: el.CompiledProgram, state: el.StreamState) -> None:
    for name, words in state.carried.words.items():
        types = (*classifier.ir.states, *classifier.ir.accumulators)
        width = next(d.type.q.width for d in types if d.name == name)
        for word in (1 << width - 1, -(1 << width - 1) - 1):
            wrong = np.where(np.arange(len(words)) == 1, word, words)
            with pytest.raises(el.WrongState, match=f"holds {word}, which is no word of {width}"):
                classifier.stream(initial=changed(state, name, wrong))
        with pytest.raises(el.WrongState, match=r"int64 \[1\], but int64"):
            classifier.stream(initial=changed(state, name, words[:1]))
        with pytest.raises(el.WrongState, match="is float64"):
            classifier.stream(initial=changed(state, name, words * 1.0))
    carried = replace(state.carried, states=dict(list(state.carried.states.items())[1:]))
    for wrong, sentence in (
        (replace(state, carried=carried), "has not the states that this program has"),
        (
            replace(state, carried=replace(state.carried, steps=2)),
            "3 samples and 1 outputs after 2",
        ),
        (replace(state, outputs=state.outputs[:0]), "3 samples and 0 outputs after 12 steps"),
        (replace(state, outputs=state.outputs + (1 << 60)), "the state's output 0 holds"),
        (replace(state, samples=state.samples[:, :1]), r"samples of shape \[3, 1\]"),
        (replace(state, samples=state.samples * np.nan), "samples that are not finite"),
    ):
        with pytest.raises(el.WrongState, match=sentence):
            classifier.stream(initial=wrong)


def test_initial_states_are_checked(classifier: el.CompiledProgram) -> None:
    zeros = np.zeros(4)
    rest, given = classifier.run(X), classifier.run(X, initial=[(zeros, zeros)])
    assert np.array_equal(rest.outputs, given.outputs)
    for initial, error, sentence in (
        ([], ValueError, r"there are 0 entries, but a pair \(q0, p0\) for each of 1 blocks"),
        ([(zeros,)], ValueError, r"but a pair \(q0, p0\)"),
        ([(zeros, zeros[:1])], ValueError, r"p0 of block 0 has shape \[1\], but \[4\] is needed"),
        ([(zeros * np.nan, zeros)], ValueError, "q0 of block 0 must be finite"),
        ([(zeros + 1e9, zeros)], el.InputRange, "q0 of block 0 reaches 1e\\+09, but this program"),
        (3, ValueError, r"a pair \(q0, p0\)"),
        ("rest", ValueError, r"a pair \(q0, p0\)"),
    ):
        with pytest.raises(error, match=sentence):
            classifier.run(X, initial=initial)
