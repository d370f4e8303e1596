"""Waves: what an independent reader finds in them, and what may be asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pywellen
from small_models import tiny

import echoloom as el
from echoloom.ir.sections import STEPS, Section
from echoloom.sim.gtkwave import save_file
from echoloom.sim.locate import numpy_trace
from echoloom.sim.wave_layout import layout
from echoloom.sim.wave_record import PERIOD
from echoloom.sim.wave_signals import IDLE, UNKNOWN, drains, lanes, multiplications, vectors

CPP, LABEL = "verilator-cpp", 1


def verify(file: Path, **options: Any) -> el.VerifyReport:
    program, x = tiny()
    settings: dict[str, Any] = {"simulator": CPP, "levels": ("rtl",), "waves": file, **options}
    return el.verify(program, x[:1], [LABEL], **settings)


@dataclass(frozen=True)
class Waves:
    """An FST file, read as Surfer reads it."""

    file: Path

    @cached_property
    def signals(self) -> dict[str, Any]:
        return {v.full_name: v for v in pywellen.Waveform(str(self.file)).all_vars()}  # pyright: ignore[reportAttributeAccessIssue]

    def number(self, path: str, time: int) -> int:
        return self.signals[path].signal.value_at(time)

    def text(self, lane: str, time: int) -> str:
        signal = self.signals[f"echoloom.lanes.{lane}"]
        texts = {int(number, 2): text for number, text in signal.enum_type[1]}
        return texts[signal.signal.value_at(time)]

    def word(self, scope: str, name: str, index: int, width: int, time: int) -> int:
        word = self.number(f"echoloom.{scope}.{name}.[{index}]", time)
        return (word + (1 << width - 1)) % (1 << width) - (1 << width - 1)

    @cached_property
    def beginnings(self) -> dict[tuple[str, int], int]:
        """When iterations of sections begin, in nanoseconds."""
        found: dict[tuple[int, int], int] = {}
        section, iteration = (
            self.signals[f"echoloom.lanes.{name}"].signal for name in ("section", "iteration")
        )
        for time in range(0, 2_000_000, PERIOD):
            if section.value_at(time) is not None:
                found.setdefault((section.value_at(time), iteration.value_at(time)), time)
        texts = {int(n, 2): t for n, t in self.signals["echoloom.lanes.section"].enum_type[1]}
        return {(texts[s], i): time for (s, i), time in found.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Waves:
    file = tmp_path_factory.mktemp("waves") / "whole.fst"
    report = verify(file)
    assert report.waves is not None
    assert report.waves.shows == "the whole forward sweep and its echo"
    assert report.waves.clocks >= sum(cycles.rtl for cycles in report.cycles.values())
    return Waves(file)


def landings(waves: Waves, only: int | None = None) -> Iterator[tuple[Section, int, str, int, int]]:
    """Section, step (`only` this one), value, element and a time at which this step's word is
    there for sure."""
    program, x = tiny()
    mapped = program.artifact.mapped
    for section, plan in mapped.schedules.items():
        for entry, (value, group) in zip(plan.drain, plan.labels, strict=True):
            for step in range(len(x[0]) if section in STEPS else 1):
                if only not in (None, step):
                    continue
                begin = waves.beginnings.get((section.name.lower(), step + entry.stage))
                if begin is None:
                    continue
                chunks = -(-entry.count // mapped.config.drains)
                time = begin + PERIOD * (entry.start + chunks + mapped.timing.drain_table + 5)
                for lane in range(entry.count):
                    yield section, step, value, group * mapped.config.lanes + lane, time


def test_every_vector_of_the_program_holds_the_numpy_level_s_integers(whole: Waves) -> None:
    program, x = tiny()
    wanted = numpy_trace(program.artifact, x[0], LABEL)
    width, compared = program.artifact.mapped.config.word, Counter[str]()
    for section, step, value, element, time in landings(whole):
        if (section, step, value) not in wanted:
            continue  # a copy of a state, which is no value of the program
        words = wanted[section, step, value]
        expected = words[element] if words.ndim else words
        scope = section.name.lower()
        found = whole.word(scope, value, element, width, time)
        assert found == expected, (section, step, value, element)
        compared[scope] += 1
    assert compared["forward_step"] > 500 and compared["echo_step"] > 2000


def test_states_are_found_by_name(whole: Waves) -> None:
    program, x = tiny()
    result = program.run(x[0], LABEL)
    width = program.artifact.mapped.config.word
    end = 1_000_000
    for name, words in result.echo_states.items():
        for index, word in enumerate(words):
            assert whole.word("state", name, index, width, end) == word


def test_what_the_host_writes_is_there_before_the_pass_begins(whole: Waves) -> None:
    program, x = tiny()
    host, width = program.artifact.host, program.artifact.mapped.config.word
    shapes = {d.name: d.type.shape for d in program.ir.runtime}
    forward = host.forward(x[0])
    echo = host.echo(forward, program.run(x[0], LABEL).outputs, LABEL)
    for sweep, section in ((forward, "forward_prologue"), (echo, "echo_prologue")):
        time = whole.beginnings[section, 0]
        assert sweep.runtime
        for name, words in sweep.runtime.items():
            if shapes[name]:
                found = [whole.word("state", name, n, width, time) for n in range(len(words))]
            else:
                found = [whole.number(f"echoloom.state.{name}", time)]
            assert np.array_equal(found, words)


def test_a_word_changes_with_the_clock_that_writes_it(whole: Waves) -> None:
    """A chunk without a table, issued in cycle t, is at the memories in cycle t + drain_direct - 1,
    and the edge at that cycle's end writes it."""
    program, _ = tiny()
    mapped, changes = program.artifact.mapped, 0
    plan, begin = mapped.schedules[Section.FORWARD_STEP], whole.beginnings["forward_step", 3]
    for entry, (value, group) in zip(plan.drain, plan.labels, strict=True):
        if entry.use_table:
            continue
        path = f"echoloom.forward_step.{value}.[{group * mapped.config.lanes}]"
        time = begin + PERIOD * (entry.start + 1 + mapped.timing.drain_direct)
        changes += whole.number(path, time - PERIOD) != whole.number(path, time)
        assert whole.number(path, time) == whole.number(path, time + 5 * PERIOD)
    assert changes == sum(not entry.use_table for entry in plan.drain)


def test_lanes_tell_the_instructions_as_they_are_scheduled(whole: Waves) -> None:
    program, _ = tiny()
    sections = ("forward_step", "echo_step")
    for lane, found in (("multiply", multiplications), ("drain", drains)):
        for section in sections:
            own = [i for i in found(program.artifact) if i.section.name.lower() == section]
            begin = whole.beginnings[section, 3]
            for instruction in own:
                # The entry is taken in the cycle `start`, and issues from the next one on.
                first = begin + PERIOD * (instruction.entry.start + 1)
                last = first + PERIOD * (instruction.cycles - 1)
                assert whole.text(lane, first) == whole.text(lane, last) == instruction.text
                step = whole.number(f"echoloom.lanes.{lane}_step", first)
                assert step == 3 - instruction.entry.stage
            length = program.artifact.mapped.schedules[
                {s.name.lower(): s for s in Section}[section]
            ].length
            texts = [whole.text(lane, begin + PERIOD * (n + 1)) for n in range(length)]
            assert sum(t != IDLE for t in texts) == sum(i.cycles for i in own)
            assert UNKNOWN not in texts


def test_the_circuit_s_own_signals_are_there_too(whole: Waves) -> None:
    assert {"TOP.clk", "TOP.samples__valid", "TOP.engine.engine.sequencer.time"} <= set(
        whole.signals
    )
    rising = PERIOD * 5000
    assert whole.number("TOP.clk", rising) == 1 and whole.number("TOP.clk", rising - 5) == 0


def test_a_window_of_steps(tmp_path: Path) -> None:
    file = tmp_path / "window.fst"
    report = verify(file, around=3)
    assert report.waves is not None
    assert report.waves.shows == "forward_step 1 to 5 and echo_step 1 to 5"
    iterations = {i for (s, i) in Waves(file).beginnings if s == "forward_step"}
    program, _ = tiny()
    overlap = program.artifact.mapped.schedules[Section.FORWARD_STEP].overlap
    assert iterations == set(range(1, 6 + overlap))
    assert any(section == "not_recorded" for section, _ in Waves(file).beginnings)


def test_a_sequence_that_does_not_begin_at_rest(tmp_path: Path) -> None:
    program, x = tiny()
    pairs = [(np.full(4, 0.25), np.full(4, -0.5)) for _ in range(2)]
    file = tmp_path / "begun.fst"
    el.verify(
        program, x[:1], [LABEL], initial=[pairs], simulator=CPP, levels=("rtl",), waves=file
    )  # fmt: skip
    waves, width = Waves(file), program.artifact.mapped.config.word
    time = waves.beginnings["forward_step", 0]
    (q,) = (d.type.q for d in program.ir.states if d.name == "b1.free.q")
    found = [waves.word("state", "b1.free.q", n, width, time) for n in range(4)]
    assert found == [2**q.scalar_frac // 4] * 4


@pytest.mark.parametrize("around", [None, "first-difference"])
def test_after_a_mismatch_waves_are_of_the_steps_around_it(around: Any, tmp_path: Path) -> None:
    program, _ = tiny()
    width = program.artifact.mapped.config.word
    place = program.artifact.mapped.allocation.weight.places["b1.unit.drive"]
    weight = [list(bank) for bank in program.image.weight]
    weight[1][place.address + 2] ^= 4
    image = replace(program.image, weight=tuple(map(tuple, weight)))
    file = tmp_path / "wrong.fst"
    with pytest.raises(el.Mismatch) as caught:
        verify(file, around=around, image=image)
    difference = caught.value.difference
    assert difference.section == "forward_step" and difference.step is not None
    (note,) = caught.value.__notes__
    assert note.startswith("waves: forward_step 0 to ") and str(file) in note
    found = {
        Waves(file).word(scope, value, element, width, time)
        for section, step, value, element, time in landings(Waves(file), difference.step)
        if (scope := section.name.lower()) == difference.section
        and value == f"{difference.block}.{difference.signal.removesuffix(f' ({scope})')}"
        and (element,) == difference.element
    }
    assert found == {difference.actual}


def test_no_difference_no_waves(tmp_path: Path) -> None:
    file = tmp_path / "none.fst"
    report = verify(file, around="first-difference")
    assert report.waves is None and not file.exists()
    assert report.notes == ("no waves were written, since nothing differs",)


def test_viewers_are_told_names_that_are_there(whole: Waves) -> None:
    """Surfer's names are the reader's. GTKWave keeps a vector's brackets and adds the bits."""
    program, _ = tiny()
    commands = whole.file.with_suffix(".sucl").read_text().splitlines()
    added = [line.split(" ")[1] for line in commands if line.startswith("variable_add ")]
    assert len(added) > 100 and set(added) <= set(whole.signals)
    saved = whole.file.with_suffix(".gtkw").read_text().splitlines()
    traces = {line.split(" ")[-1] for line in saved if line.startswith("+")}
    elements = [e for v in vectors(program.artifact) for e in v.elements]
    bits = {f"{e.path}[{e.width - 1 - e.frac}:{-e.frac}]" for e in elements}
    assert traces == bits | {f"{lane.path}[31:0]" for lane in lanes(program.artifact)}


def test_a_point_is_put_where_the_format_has_it() -> None:
    program, _ = tiny()
    text = save_file(Path("a.fst"), layout(program.artifact, ()), 0)
    (q,) = (d.type.q for d in program.ir.states if d.name == "b0.free.q")
    frac, width = q.scalar_frac, program.artifact.mapped.config.word
    name = f"echoloom.state.b0.free.q[1][{width - 1 - frac}:{-frac}]"
    shown = f"+{{b0.free.q[1] Q({width - frac},{frac})}} {name}"
    assert f"[fpshift_count] {frac}\n@40000420\n{shown}\n" in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"simulator": "icarus"}, "the simulator icarus writes no waves: take verilator or"),
        ({"levels": ("jax",)}, "waves are of the level rtl, which is not among the levels"),
        ({"waves": "out.vcd"}, "waves are written as FST: name a file *.fst, not out.vcd"),
        ({"around": 6}, "there is no step 6 to show waves around: the first sequence has steps 0"),
        ({"around": "middle"}, "around a step's number or around 'first-difference'"),
        ({"waves": None, "around": 3}, "around 3 of what"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    options: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program, _ = tiny()

    def never(*_: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(type(program), "run", never)
    with pytest.raises(ValueError, match="(?s)" + sentence.replace("*", r"\*")):
        verify(tmp_path / "out.fst", **options)


def test_a_long_sequence_needs_a_step() -> None:
    program, x = tiny()
    long = np.tile(x[0], (2000, 1))
    with pytest.raises(
        ValueError, match="more than 100,000: show the steps around one of 0 to 11,999"
    ):
        el.verify(program, [long], [LABEL], simulator=CPP, waves="out.fst")


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder.fst").mkdir()
    with pytest.raises(OSError, match="it is a folder"):
        verify(tmp_path / "folder.fst")
    with pytest.raises(OSError, match="cannot write"):
        verify(tmp_path / "nowhere" / "out.fst")
    (tmp_path / "out.gtkw").mkdir()
    with pytest.raises(OSError, match=r"out\.gtkw: it is a folder"):
        verify(tmp_path / "out.fst")
    assert not (tmp_path / "out.fst").exists()
