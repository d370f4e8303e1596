"""Inputs that atheris makes: what reached new code is kept, and changed further.

libFuzzer's own changes of bytes take turns with those that know the format, and also take place
inside these, under right checksums.
"""

from __future__ import annotations

import gc
import os
import sys
from types import FunctionType
from typing import Any

import atheris
from fuzz_bytes import Guided
from fuzz_worker import Feeding, Job, Place, Reader

BYTES = 0.4  # of all inputs: libFuzzer's changes of a whole file
ANEW = 0.2  # of all inputs: a good file's changes, not those of what was kept
LONGEST = 1 << 20  # bytes of an input
OURS = ("-timeout=0", "-rss_limit_mb=0", "-malloc_limit_mb=0")  # limits that Feeding has


def work(
    reader: Reader, job: Job, place: Place, seeds: list[bytes], at: Any, told: Any
) -> None:  # fmt: skip
    """Feed as many inputs as a job has numbers; the process ends with them."""
    feeding = Feeding(reader, place, seeds, job, at, told)
    numbers = iter(range(job.begin, job.end))

    def read(data: bytes) -> None:
        number = next(numbers, None)
        if number is None:
            feeding.end()
            os._exit(0)
        feeding.input(number, data)

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        rng = Guided(seed, lambda part: atheris.Mutate(part, max(size, len(part))))
        kind = rng.random()
        try:
            if kind >= BYTES:
                return reader.mutate(rng, seeds if kind >= 1 - ANEW else [data])[:size]
        except Exception:  # too damaged to be changed as a file of its format
            pass
        return atheris.Mutate(data, size)

    for number, data in enumerate((*seeds, *(file.read_bytes() for file in job.files))):
        (place.corpus / f"given-{number}").write_bytes(data)
    _watch_branches(reader.led_by)
    with place.log.open("ab") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
    feeding.begin()
    options = (
        *OURS, f"-max_len={LONGEST}", f"-artifact_prefix={place.corpus}/",
        f"-seed={job.seed + job.begin + 1}",  # nothing that killed a process once more
        str(place.corpus),
    )  # fmt: skip
    atheris.Setup([job.name, *options], read, custom_mutator=mutate)
    atheris.Fuzz()


def _watch_branches(modules: tuple[str, ...]) -> None:
    for one in gc.get_objects():
        if type(one) is FunctionType and (one.__module__ or "").startswith(modules):
            atheris.instrument_func(one)  # type: ignore[attr-defined]
