"""Precisions that somebody has written down: compiled as said, repeated to the bit, or refused."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_programs import samples, small_model

import echoloom as el
from echoloom.backends.compile.precision_argument import precision_named, profiles
from echoloom.frontend.models.hssm import with_statistics
from echoloom.ir.formats import Q
from echoloom.ir.precision import Precision, Signals, WrongPrecision, precision_of, read_precision
from echoloom.ir.sections import Section
from echoloom.ir.widths import Widths
from echoloom.ir.word import Word

Q_STATE = Word(None, "b0.free.q")


@lru_cache
def plain() -> el.CompiledProgram:
    return compiled(None)


def compiled(precision: Any, **arguments: Any) -> el.CompiledProgram:
    return el.compile(small_model(), samples(), [0, 2], lanes=2, precision=precision, **arguments)


def chosen(program: el.CompiledProgram) -> Precision:
    assert program.precision is not None
    return program.precision


def channels(count: int) -> np.ndarray:
    """Samples whose channels have very different sizes."""
    return samples(count) * np.array([1.0, 1e-3, 300.0])


CASES: dict[str, Any] = {
    "small": lambda p: compiled(p),
    "channels": lambda p: el.compile(
        with_statistics(small_model(), jnp.asarray(channels(2))), channels(2), lanes=2, precision=p
    ),
    "regression": lambda p: el.compile(
        small_model(outputs=1, task="regression", output_step=4), samples(), lanes=2, precision=p
    ),
    "learning": lambda p: compiled(p, learning=el.SignUpdate(step=2.0**-8, updates=4, batch=2)),
    "curved": lambda p: el.compile(
        small_model(unit="nonlinear", step=0.05), samples(), [0, 2], lanes=2, precision=p
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_was_chosen_gives_the_same_image(name: str, tmp_path: Path) -> None:
    first = CASES[name](None)
    path = tmp_path / "chosen.toml"
    path.write_text(str(chosen(first)))
    again = CASES[name](path)
    assert again.image == first.image and str(again) == str(first)
    assert again.precision == chosen(first) == read_precision(path)


def test_another_sample_gives_the_same_formats() -> None:
    first = plain()
    again = el.compile(small_model(), 0.3 * samples(), [0, 2], lanes=2, precision=chosen(first))
    assert chosen(again) == chosen(first)
    assert chosen(el.compile(small_model(), 0.3 * samples(), lanes=2)) != chosen(first)


def test_an_exponent_is_its_whole_classs() -> None:
    first = plain()
    q = first.ir.states[0].type.q
    coarse = Q(28, q.scalar_frac - 6)
    program = compiled(Precision(formats={Q_STATE: coarse}))
    assert {d.type.q for d in program.ir.states if d.name.startswith("b0.")} == {coarse}
    assert "explicit" in str(chosen(program)) or True
    assert program.precision != first.precision


def test_margins_are_by_class_of_words() -> None:
    first = plain()
    for signals, word in (
        (Signals.STATE, Q_STATE),
        (Signals.ACTIVATION, Word(Section.FORWARD_STEP, "x")),
    ):
        own = chosen(compiled(Precision(margins={signals: 5})))
        before, after = chosen(first).formats, own.formats
        assert after[word].scalar_frac == before[word].scalar_frac - 3
        assert own.margins == {signals: 5}
    backs = chosen(compiled(Precision(margins={Signals.BACK: 5}))).formats
    same = [w for w in backs if w.section is Section.FORWARD_STEP or w == Q_STATE]
    assert all(backs[w] == chosen(first).formats[w] for w in same)
    assert any(backs[w] != q for w, q in chosen(first).formats.items())


def test_nudges_are_taken_as_they_are() -> None:
    assert compiled(Precision(nudges=(-7,))).epsilons == (2.0**-7,)
    with pytest.raises(WrongPrecision, match="there are 2 nudges, but the model has 1 block"):
        compiled(Precision(nudges=(-7, 1)))


def test_the_saved_program_has_it(tmp_path: Path) -> None:
    program = plain()
    program.save(tmp_path / "own.elp")
    assert el.load(tmp_path / "own.elp").precision == program.precision


def test_a_profile_has_a_name() -> None:
    known = {name: precision_named(name) for name in profiles()}
    assert list(known) == ["fine", "lean", "uniform"] and known["uniform"] == Precision(Widths())
    assert str(compiled("uniform")) == str(plain())
    for name, precision in known.items():
        config = compiled(name).image.config
        assert (config.word, config.narrow) == (precision.widths.word, precision.widths.narrow)


@pytest.mark.parametrize(
    ("word", "q", "sentence"),
    [
        (
            Q_STATE,
            "Q(4,18)",
            r"b0.free.q is Q\(4,18\), 22 bits, but such a word has 28 here: write",
        ),
        (Word(None, "b0.free.z"), "Q(4,24)", r"there is no word b0.free.z that a format could"),
        (Word(Section.FORWARD_STEP, "b0.free.q"), "Q(4,24)", "no word forward_step b0.free.q"),
        (Word(None, "encoder.weight"), "Q(4,24)", r"encoder.weight is Q\(4,24\), 28 bits, but"),
        (Word(None, "encoder.weight"), "Q(18:1,2)", r"it is \[4, 3\] and has one for all"),
        (Word(None, "head.weight"), "Q(4,14;2,0)", "its columns share one"),
        (Word(None, "encoder.weight"), "Q(4,14;2,0,0)", "have different sums, but a product"),
        (Q_STATE, "Q(-972,1000)", "exponents are -256 to 256"),
        (Q_STATE, "Q(28:1,2,3,4)", "has one exponent for all"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(word: Word, q: str, sentence: str) -> None:
    section = "program" if word.section is None else word.section.name.lower()
    text = f'[formats.{section}]\n"{word.name}" = "{q}"\n'
    with pytest.raises(WrongPrecision, match=sentence) as caught:
        compiled(precision_of(text, "own.toml"))
    assert "\n" not in str(caught.value)


def test_two_words_of_a_class_agree() -> None:
    formats = {Q_STATE: Q(28, 20), Word(None, "b0.plus.q"): Q(28, 19)}
    with pytest.raises(WrongPrecision, match=r"b0\.plus\.q and b0\.free\.q share one format"):
        compiled(Precision(formats=formats))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[widths]\nword = 'long'\n", "own.toml: Expected `int`, got `str` - at `"),
        ("[width]\nword = 28\n", "own.toml: Object contains unknown field `width`"),
        ("[widths\n", "own.toml: "),
        ("nudges = [-3000]\n", r"a nudge is 2\*\*-3000, but the exponents"),
        ("[formats.forward]\nx = 'Q(4,24)'\n", "there is no section 'forward'"),
        ("[formats.program]\nx = 'Q(4)'\n", r"the format of 'x' is 'Q\(4\)', but formats are"),
        ("[margins]\nstates = 2\n", "own.toml: Invalid enum value 'states'"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(WrongPrecision, match=sentence) as caught:
        precision_of(text, "own.toml")
    assert "\n" not in str(caught.value)


def test_wrong_arguments_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WrongPrecision, match=r"precision is 'unifrom', but it must be 'auto', a"):
        compiled("unifrom")
    with pytest.raises(ValueError, match="widths or a precision"):
        compiled("uniform", widths=Widths())
    with pytest.raises(WrongPrecision, match="precision is 7, but"):
        compiled(7)
    with pytest.raises(FileNotFoundError):
        compiled(tmp_path / "none.toml")
    with pytest.raises(ValueError, match="the margin of back words is 27, but a word of 28"):
        compiled(Precision(margins={Signals.BACK: 27}))
    with pytest.raises(ValueError, match="do not go together"):
        compiled(Precision(Widths(word=16)))
