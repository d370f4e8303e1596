"""Scripts and recordings: packing, stalls, travelling through files, and what they mean."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import CONFIG, FRAME, echo, forward, frames, leaky_machine

from echoloom.backends.engine.requests import COUNTERS, PassRequest
from echoloom.hdl.layouts import REQUEST
from echoloom.hdl.pass_results import Write
from echoloom.ir.contract import Register, Space
from echoloom.ir.sections import Section
from echoloom.sim.bench import sign_extend, trace_columns, trace_layout, trace_writes
from echoloom.sim.compose import compose, predicted_cycles, results
from echoloom.sim.image_load import reads, writes
from echoloom.sim.script import (
    MARK,
    Recording,
    draw_gaps,
    load_recording,
    load_script,
    pack_fields,
    save,
    split_columns,
    total_gap,
)
from echoloom.sim.simulation_error import SimulationError

IMAGE = leaky_machine()


@given(
    st.integers(0, 1), st.integers(0, 15), st.integers(0, 255), st.integers(0, 2**16 - 1),
    st.integers(0, 2**64 - 1),
)  # fmt: skip
def test_packing_is_the_hardware_layout(write: int, space: int, lane: int, address: int, word: int):
    accesses = writes([(space, lane, address, word)])
    accesses["write"] = write
    places = {name: (field.offset, field.width) for name, field in REQUEST}
    (columns,) = pack_fields({name: accesses[name] for name in places}, places).tolist()
    constant = REQUEST.const(
        {"write": write, "space": space, "lane": lane, "address": address, "data": word}
    )
    assert columns[0] | columns[1] << 64 == constant.as_value().value


def test_fields_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="a space of 16 does not fit in 4 bits"):
        pack_fields({"space": np.array([3, 16])}, {"space": (1, 4)})


@given(st.lists(st.integers(-(2**27), 2**27 - 1), max_size=5))
def test_sign_extend(words: list[int]):
    bits = np.array([word % 2**28 for word in words], dtype=np.uint64)
    assert sign_extend(bits, 28).tolist() == words


def test_script_and_recording_survive_files(tmp_path: Path):
    script = compose(IMAGE, [forward(frames(3)), echo(frames(2))], stall_seed=1, trace=True)
    save(script, tmp_path)
    again = load_script(tmp_path)
    for item in fields(script):
        assert np.array_equal(getattr(script, item.name), getattr(again, item.name)), item.name
    recording = Recording(
        outputs=np.array([1, 2], dtype=np.uint64),
        responses=np.array([2**64 - 1], dtype=np.uint64),
        trace=split_columns([1 << 70, 5], trace_columns(CONFIG)),
        marks=np.array([(2, 1, 2, 99)], dtype=MARK),
    )
    save(recording, tmp_path)
    back = load_recording(tmp_path, script)
    for item in fields(recording):
        assert np.array_equal(getattr(recording, item.name), getattr(back, item.name))


def test_a_pass_ends_with_its_command_and_names_every_register():
    requests = [forward(frames(3), every=2), echo(frames(5))]
    script = compose(IMAGE, requests)
    assert script.turns["samples"].tolist() == [9, 15]
    assert script.turns["outputs"].tolist() == [4, 0]
    assert script.turns["after"].tolist() == [len(COUNTERS) + 4, len(COUNTERS) + 12]
    second = script.requests[-int(script.turns["before"][1] + script.turns["after"][1]) :]
    registers = (
        (Register.OUTPUT_STEP, 1), (Register.OUTPUT_PHASE, 0), (Register.SHIFT_LENGTH, 0),
        (Register.LENGTH, 5), (Register.COMMAND, 2),
    )  # fmt: skip
    expected = [
        1 | Space.REGISTER << 1 | register << 13 | value << 29 for register, value in registers
    ]
    assert second[: len(expected), 0].tolist() == expected


def test_predicted_cycles():
    step = IMAGE.sections[Section.FORWARD_STEP].length
    assert predicted_cycles(IMAGE, "forward", 10) == 10 * (step + 2)
    sections = list(IMAGE.sections)
    sections[Section.FORWARD_EPILOGUE] = replace(sections[Section.FORWARD_STEP], length=7, last=7)
    longer = replace(IMAGE, sections=tuple(sections))
    assert predicted_cycles(longer, "forward", 10) == 10 * (step + 2) + 9
    # Two steps more in flight take two iterations more, of which the last one is shorter.
    sections[Section.FORWARD_STEP] = replace(sections[Section.FORWARD_STEP], overlap=2, last=5)
    overlapped = replace(IMAGE, sections=tuple(sections))
    assert predicted_cycles(overlapped, "forward", 10) == 11 * (step + 2) + 7 + 9
    assert predicted_cycles(overlapped, "forward", 1) == 2 * (step + 2) + 7 + 9
    assert predicted_cycles(overlapped, "forward", 0) == 9


def test_gaps_are_repeatable_and_long_enough_to_stall():
    first, second = draw_gaps(3, longest=100), draw_gaps(3, longest=100)
    for name, clocks in first.items():
        assert np.array_equal(clocks, second[name])
        assert (clocks == 0).mean() > 0.4
    assert first["samples"].max() > 90
    assert not np.array_equal(first["samples"], first["outputs"])
    assert all(not clocks.any() for clocks in draw_gaps(None, longest=100).values())


def test_total_gap_is_a_bound():
    gaps = np.array([0, 5, 1], dtype=np.uint64)
    for words in range(10):
        exact = max(sum(int(gaps[(start + n) % 3]) for n in range(words)) for start in range(3))
        assert exact <= total_gap(gaps, words)


def test_requests_that_mean_nothing_are_refused():
    good = forward(frames(2))
    with pytest.raises(ValueError, match="one of forward, echo, resume, add, scan, update"):
        replace(good, kind="sideways")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="int64"):
        replace(good, frames=np.zeros((2, FRAME)))
    with pytest.raises(ValueError, match="at least one frame"):
        replace(good, frames=frames(0))
    with pytest.raises(ValueError, match="cannot set LENGTH"):
        replace(good, registers={Register.LENGTH: 5})
    with pytest.raises(ValueError, match="negative"):
        replace(good, outputs=-1)


def test_frames_must_fit_the_engine():
    words = frames(2)
    words[1, 1] = 2**27
    with pytest.raises(ValueError, match="sample of pass 1 does not fit in 28"):
        compose(IMAGE, [forward(frames(2)), forward(words)])
    wide = PassRequest("forward", np.zeros((2, 5), dtype=np.int64))
    with pytest.raises(ValueError, match="frames of 5 elements, the image 3"):
        compose(IMAGE, [wide])


def test_trace_rows_are_decoded():
    layout = trace_layout(CONFIG)
    value = {"section": 4, "iteration": 2**32 - 1, "drains": [
        {"valid": 0, "lane": 3, "address": 1, "value": 1},
        {"valid": 1, "lane": 2, "address": 31, "value": -(2**27)},
    ]}  # fmt: skip
    bits = layout.const(value).as_value().value
    rows = split_columns([bits], trace_columns(CONFIG))
    wanted = Write(Section.ECHO_STEP, 2**32 - 1, lane=2, address=31, value=-(2**27))
    assert trace_writes(CONFIG, rows) == (wanted,)


def recording(outputs: int, responses: int, mark: tuple[int, int]) -> Recording:
    return Recording(
        outputs=np.zeros(outputs, dtype=np.uint64),
        responses=np.arange(responses, dtype=np.uint64),
        trace=split_columns([], 0),
        marks=np.array([(*mark, 0, 0)], dtype=MARK),
    )


def test_recordings_must_be_exactly_what_was_asked():
    request = forward(frames(1))  # 4 output words, 4 counters and 4 reads
    (good,) = results(IMAGE, [request], recording(4, 8, (4, 8)))
    assert (good.flags, good.cycles, good.stalls, good.busy) == (0, 1, 2, 3)
    assert good.reads.tolist() == [4, 5, 6, 7]
    for broken, message in (
        (recording(3, 8, (3, 8)), "gave 3 output words, expected 4"),
        (recording(5, 8, (4, 8)), "gave 5 output words, expected 4"),
        (recording(4, 7, (4, 7)), "answered 7 reads, expected 8"),
        (recording(4, 9, (4, 8)), "answered 9 reads, expected 8"),
        (replace(recording(4, 8, (4, 8)), marks=np.zeros(0, dtype=MARK)), "recorded 0 of 1"),
    ):
        with pytest.raises(SimulationError, match=message):
            results(IMAGE, [request], broken)


def test_reads_and_writes_have_their_direction():
    assert reads([(Space.VECTOR, 1, 2)])["write"].tolist() == [0]
    assert writes([(Space.VECTOR, 1, 2, -1)])["data"].tolist() == [2**64 - 1]


def test_requests_beyond_the_bus_or_a_register_are_refused():
    words = frames(2)
    with pytest.raises(ValueError, match="OUTPUT_STEP holds 0 to 65535, got 65536"):
        PassRequest("forward", words, {Register.OUTPUT_STEP: 65_536})
    with pytest.raises(ValueError, match="got lane 256 and address 0"):
        PassRequest("forward", words, writes=((Space.VECTOR, 256, 0, 1),))
    with pytest.raises(ValueError, match="got lane 0 and address 65536"):
        PassRequest("forward", words, reads=((Space.VECTOR, 0, 65_536),))
    endless = np.broadcast_to(np.zeros((1, 1), np.int64), (2**32, 1))  # one word of memory
    with pytest.raises(ValueError, match="LENGTH holds 0 to 4294967295, got 4294967296"):
        PassRequest("forward", endless)
