"""Commands on disks that get full, and on disks that cannot be written.

Their folder, the one for temporary files and the cache of simulators are put, one after the other,
on a file system in memory that has from none to all of the room that the command takes there; then
on one that is read-only. A command has to end well with all that it writes, or with a code of its
own, one sentence and nothing; with room again it has to give the bytes of an undisturbed run.

Mounting is for root; `unshare -rm python benchmarks/full_disks.py` makes anybody root in a world of
its own.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from killed_commands import (
    CASES,
    Case,
    Place,
    clear,
    finish,
    held,
    left_whole,
    others,
    prepared,
    ready,
)
from output import arguments, progress, show

ROOMY = 1 << 30
PAGE = 4096  # bytes in which a file system in memory counts
REFUSED = (3, 6, 7)  # what docs/cli.md has for files that cannot be written, and tools that fail


@contextlib.contextmanager
def memory(folder: Path) -> Iterator[None]:
    """A file system in memory at a folder, with what the folder holds."""
    kept = folder.with_name(f"{folder.name}-kept")
    shutil.copytree(folder, kept, symlinks=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOMY}", "disk", folder], check=True)
    try:
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        shutil.rmtree(kept)


def again(folder: Path, *options: str) -> None:
    """Mount it with other options."""
    subprocess.run(["mount", "-o", ",".join(["remount", *options]), folder], check=True)


def used(folder: Path) -> int:
    return shutil.disk_usage(folder).used


class Peak:
    """The most that is used of a disk in the course of a context."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._done = folder, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = used(folder)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.bytes = max(self.bytes, used(self._folder))


def measure(case: Case, place: Place, folder: Path, count: int, chance: random.Random) -> dict:
    row: dict[str, object] = {"command": case.name, "disk of": folder.name}
    counts, wrong = Counter[str](), 0
    with memory(folder), ready(place, case) as command:
        before_bytes = used(folder)
        with Peak(folder) as peak:
            code = finish(place, command)
        if code:
            raise SystemExit(f"{case.name} ends with {code}: {place.log.read_text()}")
        wanted, before = held(place, case), others(place, case)
        room = peak.bytes - before_bytes
        row["KiB that it takes"] = room >> 10
        sizes = [chance.randrange(0, room + PAGE, PAGE) for _ in range(count)] if room else []
        for size in [*sizes, "ro"]:
            clear(place, case)
            least = max(used(folder), PAGE)
            again(folder, "ro" if size == "ro" else f"size={least + int(size)}")
            code = finish(place, command)
            log = place.log.read_text()
            said = [line for line in log.splitlines() if line.startswith("echoloom ")]
            found = left_whole(held(place, case), wanted)
            ended = "done" if code == 0 else "refused" if code in REFUSED else "failed"
            again(folder, "rw", f"size={ROOMY}")
            # Whoever is done has written all; whoever is not says why, and has written nothing.
            good = found == ("whole" if wanted else "nothing") if ended == "done" else (
                ended == "refused" and len(said) == 1
                and (found == "nothing" or (case.goes_on and found != "whole")))  # fmt: skip
            next_code = finish(place, command)
            same = held(place, case) == wanted and others(place, case) == before
            if size == "ro":
                row["read-only"] = ended
            else:
                counts[ended] += 1
            if not good or next_code or not same:
                wrong += 1
                extra = others(place, case) ^ before
                progress.print(size, code, found, next_code, same, extra, log)
            progress.print(*(line[:200] for line in said), sep="\n", markup=False)
    row |= {"full: done": counts["done"], "refused": counts["refused"], "wrong": wrong}
    return row


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=6, help="sizes of every disk")
    parser.add_argument("--only", action="append", help="a command's name; repeatable")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if os.geteuid():
        sys.exit("full_disks.py mounts file systems: run it as root, or under unshare -rm")
    cases = [case for case in CASES if not given.only or case.name in given.only]
    chance, rows = random.Random(given.seed), []
    with tempfile.TemporaryDirectory(prefix="full-") as root:
        place = prepared(Path(root))
        for case in cases:
            for folder in (place.work, place.temporary, place.cache):
                clear(place, case)
                rows.append(measure(case, place, folder, given.count, chance))
                progress.print(rows[-1])
        for case in cases:
            clear(place, case)
    show(f"Seed {given.seed}", rows, ["jax", "amaranth", "verilator"], given.json)
    if any(row["wrong"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
