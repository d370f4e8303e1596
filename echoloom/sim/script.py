"""The script that every simulator plays and the recording that it makes.

A script holds everything that goes into the engine's streams, for all passes of one simulation,
already packed into stream words and with the gaps of random stalls drawn. Players (cocotb,
Amaranth, C++) only move words, so all of them give the same stimulus. Scripts and recordings
travel between processes as raw little-endian files, one an array, in a directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path

import numpy as np

FAILURE = "failure.txt"  # a player that gives up writes one sentence here
JOB = "ECHOLOOM_JOB"  # environment variable that tells the cocotb player its directory
STREAMS = ("request", "response", "samples", "outputs")
FINISHED = 2  # bit 1 of STATUS
SILENCE = 64  # clocks after the last pass, in which words that nobody asked for have time to show

WORDS = np.dtype("<u8")

# One row a pass. First `before` requests (the last one starts the pass), then `samples` words
# in and `outputs` words out, with a poll of STATUS `first_poll` clocks after the start and every
# `poll` clocks from then on, then `after` requests. All within `limit` clocks.
TURN = np.dtype(
    [
        (name, "<u8")
        for name in ("before", "samples", "outputs", "first_poll", "poll", "after", "limit")
    ]
)

# One row a pass: how many words of each kind had been recorded at its end, and when it ended.
MARK = np.dtype([(name, "<u8") for name in ("outputs", "responses", "trace", "clock")])


@dataclass(frozen=True, eq=False)
class Script:
    """All stimulus of one simulation, flat over its passes.

    `turns` is TURN[passes]; `requests` and `poll` hold request payloads as two 64-bit columns;
    `samples` are payload bits. `gaps_*[i modulo length]` is the number of clocks in which a
    stream is not offered (valid low) or not accepted (ready low) before its i-th word.
    `trace_columns` is one word: 64-bit columns of a recorded row of the trace, 0 to record none.
    """

    turns: np.ndarray
    requests: np.ndarray
    poll: np.ndarray
    samples: np.ndarray
    gaps_request: np.ndarray
    gaps_response: np.ndarray
    gaps_samples: np.ndarray
    gaps_outputs: np.ndarray
    trace_columns: np.ndarray


@dataclass(frozen=True)
class Turn:
    """One pass of a script: its requests before and after, its samples, how many words of outputs
    there are by its end, and the numbers of its TURN."""

    before: list[int]
    samples: list[int]
    outputs: int
    first_poll: int
    poll: int
    after: list[int]
    limit: int


def turns(script: Script) -> Iterator[Turn]:
    """The passes in order."""
    requests, samples, outputs = iter(joined(script.requests)), iter(script.samples.tolist()), 0
    for row in script.turns.tolist():
        numbers = dict(zip(TURN.names or (), row, strict=True))
        outputs += numbers["outputs"]
        yield Turn(
            list(islice(requests, numbers["before"])),
            list(islice(samples, numbers["samples"])),
            outputs,
            numbers["first_poll"],
            numbers["poll"],
            list(islice(requests, numbers["after"])),
            numbers["limit"],
        )


@dataclass(frozen=True, eq=False)
class Recording:
    """All that came out of one simulation, flat over its passes.

    `marks` is MARK[passes]; `outputs` and `responses` are payload bits, one word each;
    `trace` holds the trace's bits as 64-bit columns, one row for every clock with a write.
    Words that came after the last pass ended are there beyond the last mark.
    """

    outputs: np.ndarray
    responses: np.ndarray
    trace: np.ndarray
    marks: np.ndarray  # written last: a recording without marks is incomplete

    @classmethod
    def of(
        cls,
        script: Script,
        outputs: Sequence[int],
        responses: Sequence[int],
        trace: Sequence[int],
        marks: Sequence[tuple[int, ...]],
    ) -> Recording:
        """What a player has kept in lists."""
        return cls(
            np.array(outputs, WORDS),
            np.array(responses, WORDS),
            split_columns(trace, int(script.trace_columns[0])),
            np.array(marks, MARK),
        )


_DTYPES = {"turns": TURN, "marks": MARK}


def save(arrays: Script | Recording, directory: Path) -> None:
    """Write every array to its own file. Raises OSError, one sentence, if there is no room."""
    for item in fields(arrays):
        array = np.asarray(getattr(arrays, item.name), dtype=_DTYPES.get(item.name, WORDS))
        write_raw(directory / f"{item.name}.bin", array.tobytes())


def write_raw(path: Path, data: bytes) -> None:
    """A file of a job. Raises OSError, one sentence, if there is no room; NumPy's `tofile` does not
    say why it could not write."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write {path}: {error.strerror}; set TMPDIR to another folder"
        ) from error


def _load(directory: Path, name: str) -> np.ndarray:
    return np.fromfile(directory / f"{name}.bin", dtype=_DTYPES.get(name, WORDS))


def load_script(directory: Path) -> Script:
    """Read a script; OSError if a file is missing."""
    arrays = {item.name: _load(directory, item.name) for item in fields(Script)}
    for name in ("requests", "poll"):
        arrays[name] = arrays[name].reshape(-1, 2)
    return Script(**arrays)


def load_recording(directory: Path, script: Script) -> Recording:
    """Read the recording of `script`; OSError if a file is missing, ValueError if one is cut."""
    arrays = {item.name: _load(directory, item.name) for item in fields(Recording)}
    columns = int(script.trace_columns[0])
    arrays["trace"] = arrays["trace"].reshape(-1 if columns else 0, columns)
    return Recording(**arrays)


def split_columns(values: Sequence[int], columns: int) -> np.ndarray:
    """Integers of up to `columns` x 64 bits as an array of 64-bit columns, lowest first."""
    mask = (1 << 64) - 1
    rows = [[value >> 64 * column & mask for column in range(columns)] for value in values]
    return np.array(rows, dtype=WORDS).reshape(len(values), columns)


def joined(rows: np.ndarray) -> list[int]:
    """Rows of two 64-bit columns as integers."""
    return [low | high << 64 for low, high in rows.tolist()]


def pack_fields(
    columns: Mapping[str, np.ndarray], layout: Mapping[str, tuple[int, int]]
) -> np.ndarray:
    """Struct payloads as two 64-bit columns; `layout` gives (offset, width) in bits by field."""
    count = len(next(iter(columns.values())))
    words = np.zeros((count, 2), dtype=np.uint64)
    for name, (offset, width) in layout.items():
        values = columns[name].astype(np.uint64)
        if width < 64 and count and int(values.max()) >> width:
            raise ValueError(f"a {name} of {int(values.max())} does not fit in {width} bits")
        for column in range(2):
            shift = offset - 64 * column
            if 0 <= shift < 64:
                words[:, column] |= values << np.uint64(shift)
            elif -64 < shift < 0:
                words[:, column] |= values >> np.uint64(-shift)
    return words


GAPS = 4093  # a prime, so that gaps and frames fall out of step


def draw_gaps(seed: int | None, longest: int) -> dict[str, np.ndarray]:
    """Clocks to wait before every word, by stream; all zero for seed None.

    Half of the words come at once and most others after a few clocks; one in a hundred waits up
    to `longest` clocks, or 16 on the host bus. `longest` must exceed a step for an engine with
    full input buffers to stall.
    """
    if seed is None:
        return {name: np.zeros(1, dtype=np.uint64) for name in STREAMS}
    gaps = {}
    for index, name in enumerate(STREAMS):
        # Loading tens of thousands of words must not wait for steps that do not run.
        most = 16 if name in ("request", "response") else longest
        draw = np.random.default_rng([seed, index])
        kind = draw.random(GAPS)
        short = draw.integers(1, 5, GAPS)
        long = draw.integers(1, most + 1, GAPS)
        gaps[name] = np.where(kind < 0.5, 0, np.where(kind < 0.99, short, long)).astype(np.uint64)
    return gaps


def total_gap(gaps: np.ndarray, words: int) -> int:
    """An upper bound of the clocks that `words` words wait, wherever in the cycle they begin."""
    whole = -(-words // len(gaps)) + 1 if gaps.any() else 0
    return whole * int(gaps.sum())
