"""`el.build`: a compiled program as a bitstream, and what a host sends to fill it.

The directory gets four things, whole or not at all, the bitstream last:

    <board>.bit   the engine behind its host link, for the board's flash or SRAM
    program.link  bytes for the serial line that load the program into the engine
    report.json   sizes, clock, every seed, cycles, tools, and the checksums of the two files above
    *.log         what the tools said

`program.link` can be sent as it is: it brings the link between two packets, resets the engine and
writes every memory word, so it does not matter what ran before. The board answers each packet;
a sender may check the answers or drop them. `el.open_board` knows such a board as loaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from echoloom.backends.bitstream.aim import MARGIN, Aim
from echoloom.backends.bitstream.route import Besides, BuildReport, check_fits, to_bitstream
from echoloom.backends.bitstream.targets.boards import find_board
from echoloom.backends.chips.resources import link_sizes
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.link.conversation import LOADING, Request, all_writes, signed
from echoloom.backends.link.image_writes import image_mark, image_writes
from echoloom.frontend.data.arrays import whole_number
from echoloom.frontend.data.files import json_bytes
from echoloom.hdl.commands import Command, identity
from echoloom.hdl.numbers import encode_numbers
from echoloom.hdl.packets import FLUSH, encode
from echoloom.ir.blocks import CHIPS
from echoloom.ir.contract import Image
from echoloom.ir.passes.estimate import step_cycles, utilisation
from echoloom.ir.sections import STEPS

STREAM = "program.link"
REPORT = "report.json"


def build(
    program: CompiledProgram,
    board: str = "ulx3s-85f",
    directory: Path | str = "build/bitstream",
    *,
    clock_mhz: float | None = None,
    target_mhz: float | None = None,
    margin: float = MARGIN,
    seed: int = 1,
    seeds: int = 1,
    jobs: int = 1,
    baud: int | None = None,
    samples: int | None = None,
    checks: bool | None = None,
) -> BuildReport:
    """Build the bitstream of the program's engine, and the program as its host sends it; minutes.

    The design is synthesised once, and placed and routed with each of the `seeds` seeds from `seed`
    on, `jobs` at a time; the quickest is built. `clock_mhz` is the engine's clock; without it, it
    is the highest that the PLL makes and that lies `margin` (a part of 1) or more below what the
    quickest reaches. `target_mhz` is what the router aims at: `clock_mhz`, else the board's own,
    unless given; a target near what can be reached gives the best result.

    `baud` is the serial line's speed, the board's own if not given; `samples`, a power of two, are
    how many the board keeps: up to 8,192 in half of the block RAM that the engine leaves.
    Without `checks` (which iCE40 boards have to be asked for) the board makes no checksums of its
    memories, for `open_board(guard=...)`; they are read word by word then.

    `board` is a name, or a board's own file (`.toml`; docs/boards.md).

    Raises, before any work, ValueError for an unknown board, an impossible clock or a program that
    takes more block RAM or multipliers than there are, ToolMissing, and OSError if `directory`
    cannot be written; then TimingMissed, or BuildFailed if a tool fails. After a failure no
    bitstream is there, and nothing that belonged to an older one.
    """
    target = find_board(board)
    check_fits(program.artifact.mapped.config, target)
    target.toolchain()
    first, count = whole_number("build: seed", seed), whole_number("build: seeds", seeds, least=1)
    jobs = whole_number("build: jobs", jobs, least=1)
    aim = Aim(clock_mhz, target_mhz, margin, tuple(range(first, first + count)), jobs)
    directory = Path(directory)
    stream = link_stream(program.image)
    mapped = program.artifact.mapped
    link = link_sizes(mapped.config, CHIPS[target.chip], samples, checks)
    line = {"baud": baud or target.baud, **asdict(link)}
    if not program.image.config.learns:  # such a link has no list of an update
        del line["listed"]

    def besides(report: BuildReport, bits: bytes) -> dict[str, bytes]:
        files = {report.bitstream.name: bits, STREAM: stream}
        return {STREAM: stream, REPORT: json_bytes(_report(program, report, files, line))}

    return to_bitstream(
        mapped.config, mapped.timing, board, directory, aim, baud=baud, samples=samples,
        checks=checks, besides=Besides((STREAM, REPORT), besides),
    )  # fmt: skip


def link_stream(image: Image) -> bytes:
    """The bytes that load `image` over the serial line into an engine of its sizes.

    Raises ValueError if the image does not fit its own config.
    """
    requests = (
        Request(Command.MARK, (LOADING,)),
        Request(Command.RESET),
        *all_writes(sorted(image_writes(image, clear=True))),
        Request(Command.MARK, (signed(image_mark(image)),)),
    )
    packets = (encode(request.command, encode_numbers(request.numbers)) for request in requests)
    return bytes(FLUSH) + b"".join(packets)


def _report(
    program: CompiledProgram, report: BuildReport, files: dict[str, bytes], line: dict[str, int]
) -> dict[str, Any]:
    mapped = program.artifact.mapped
    used = utilisation(mapped)
    return {
        "kind": "build",
        "echoloom": version("echoloom"),
        **asdict(report),
        "bitstream": report.bitstream.name,
        "engine": asdict(mapped.config),
        "line": line,
        "identity": f"{identity(mapped.config, mapped.timing):016x}",
        "steps": {
            section.name.lower(): {
                "cycles": step_cycles(mapped, section),
                "utilisation": used[section],
            }
            for section in STEPS
        },
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
