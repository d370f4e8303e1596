"""Commands that are killed without warning: what they leave is whole or absent, and the next works.

Every command is run once undisturbed; then again and again, each time killed at a random moment of
its usual duration, with SIGKILL: the command alone, or its whole process group. What is then at its
outputs has to be absent, or byte for byte what the undisturbed run gave. After every kill it runs
undisturbed, and has to give the same bytes and leave nothing else behind, no process either. A
board goes on all the while: only its hosts are killed, and in the last row the board itself. With
--together a command is run so many times at once in one folder.

Bitstreams are built by stubs in the place of the tools, which take a moment each.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from killed_commands import (
    CASES,
    Case,
    Place,
    clear,
    finish,
    held,
    kill,
    left_whole,
    others,
    prepared,
    ready,
    serving,
    started,
    survivors,
)
from output import arguments, progress, show

SERVE = "board serve"
PATIENCE_S = 60.0  # for compilers that a killed command has started


def measure(case: Case, place: Place, kills: int, chance: random.Random) -> dict[str, object]:
    with ready(place, case) as command:
        code = finish(place, command)  # leaves whatever it keeps for the next time
        clear(place, case)
        began = time.monotonic()
        code = finish(place, command) or code
        usual = time.monotonic() - began
        wanted, before = held(place, case), others(place, case)
        if code or (case.outputs and not wanted):
            raise SystemExit(f"{case.name} ends with {code}: {place.log.read_text()}")
        left = Counter[str]()
        in_time = failed = 0
        for number in range(kills):
            clear(place, case)
            process = started(place, command)
            process.join(chance.uniform(0.0, usual))
            in_time += process.exitcode is None
            kill(process, group=number % 2 == 0)
            found = left_whole(held(place, case), wanted)
            # What a later run goes on from is of an earlier moment: its end has to be the same.
            left["some" if case.goes_on and found == "broken" else found] += 1
            code = finish(place, command)
            if code or held(place, case) != wanted or others(place, case) != before:
                failed += 1
                extra = others(place, case) ^ before
                progress.print(case.name, code, extra, place.log.read_text()[-500:])
    alive = survivors(place, PATIENCE_S)
    return {
        "command": case.name,
        "s": round(usual, 1),
        "killed": in_time,
        "nothing left": left["nothing"],
        "all whole": left["whole"],
        "some files, each whole": left["some"],
        "broken": left["broken"],
        "next run failed, differs or leaves more": failed,
        "processes left": len(alive),
    }


def measure_board(place: Place, kills: int, chance: random.Random) -> dict[str, object]:
    """The process that serves a board is killed; the next board has to pass its check."""
    failed = 0
    with serving(place, "p.elp") as (port, _):
        began = time.monotonic()
        assert finish(place, ("board", "check", port, "p.elp")) == 0
        usual = time.monotonic() - began
    for _ in range(kills):
        with serving(place, "p.elp") as (port, server):
            host = started(place, ("board", "check", port, "p.elp"))
            host.join(chance.uniform(0.0, usual))
            server.kill()
            host.join(PATIENCE_S)
            said = place.log.read_text().splitlines()
            if host.exitcode is None or "Traceback" in "".join(said):
                failed += 1
                progress.print(SERVE, host.exitcode, said)
        with serving(place, "p.elp") as (port, _):
            failed += finish(place, ("board", "check", port, "p.elp")) != 0
    alive = survivors(place, PATIENCE_S)
    nothing = dict.fromkeys(("nothing left", "all whole", "some files, each whole", "broken"), "-")
    return {
        "command": SERVE, "s": "-", "killed": kills, **nothing,
        "next run failed, differs or leaves more": failed, "processes left": len(alive),
    }  # fmt: skip


def at_once(case: Case, place: Place, count: int) -> dict[str, object]:
    """The same command so many times at once, in one folder, and at one board."""
    with ready(place, case) as command:
        finish(place, command)
        wanted, before = held(place, case), others(place, case)
        clear(place, case)
        processes = [started(place, command) for _ in range(count)]
        for process in processes:
            process.join()
        codes = [process.exitcode for process in processes]
        same = held(place, case) == wanted and others(place, case) == before
    # A board has one line: all but one host are told so (7), or that it is not theirs (3).
    refusals = (3, 7) if case.board else (3,)
    return {
        "command": case.name,
        "at once": count,
        "done": codes.count(0),
        "refused in one sentence": sum(code in refusals for code in codes),
        "failed": sum(code not in (0, *refusals) for code in codes),
        "results": "whole" if same and 0 in codes else "BROKEN",
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of every command")
    parser.add_argument("--together", type=int, default=0, help="run so many at once instead")
    parser.add_argument("--only", action="append", help="a command's name; repeatable")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    cases = [case for case in CASES if not given.only or case.name in given.only]
    chance, rows = random.Random(given.seed), []
    with tempfile.TemporaryDirectory(prefix="killed-") as root:
        place = prepared(Path(root))
        for case in cases:
            progress.print(case.name)
            clear(place, case)
            if given.together:
                rows.append(at_once(case, place, given.together))
            else:
                rows.append(measure(case, place, given.kills, chance))
            progress.print(rows[-1])
            clear(place, case)
        if not given.together and (not given.only or SERVE in given.only):
            rows.append(measure_board(place, given.kills, chance))
    show(f"Seed {given.seed}", rows, ["jax", "amaranth", "verilator"], given.json)
    wrong = ("broken", "next run failed, differs or leaves more", "processes left", "failed")
    if any(row.get(name, 0) not in (0, "-") for row in rows for name in wrong) or "BROKEN" in str(
        rows
    ):
        sys.exit(1)


if __name__ == "__main__":
    main()
