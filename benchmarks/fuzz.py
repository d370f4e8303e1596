"""Hostile bytes for every reader: files, reports, graphs, and both ends of the link.

Every input follows from the reader's name, the seed and its number; `--reader NAME --show NUMBER`
writes it to the standard output. Finds are printed with the number of their first input, and end
the run with code 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

from fuzz_readers import READERS
from fuzz_worker import Counts, input_of, work
from output import arguments, progress, show

PATIENCE = 4  # limits of one input, after which its process is stuck where no alarm is heard


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--reader", nargs="+", default=list(READERS), choices=list(READERS))
    parser.add_argument("--count", type=int, default=1000, help="inputs of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--show", type=int, metavar="NUMBER", help="write that input, read none")
    options = parser.parse_args()
    if options.show is not None:
        _show(options)
        return
    rows, finds = [], []
    for name in options.reader:
        progress.print(f"{name}: {options.count} inputs")
        began = time.monotonic()
        counts = fuzz(name, options.seed, options.first, options.first + options.count)
        rows.append({
            "reader": name, "inputs": counts.inputs, "refused": counts.refused,
            "accepted": counts.accepted, "kinds of finds": len(counts.finds),
            "MB more": round(counts.memory / 1e6), "slowest, s": round(counts.slowest_s, 2),
            "all, s": round(time.monotonic() - began),
        })  # fmt: skip
        finds += [f"{name}: {what}: input {first}, {times} times"
                  for what, (first, times) in counts.finds.items()]  # fmt: skip
    show("Hostile inputs", rows, ("numpy", "jax", "onnx", "onnxruntime"), options.json)
    print(*finds, sep="\n", end="\n" if finds else "")
    sys.exit(bool(finds))


def fuzz(name: str, seed: int, begin: int, end: int) -> Counts:
    """Feed inputs `begin` to `end` to a reader, in a process that is made anew when it dies."""
    total, spawn, reader = Counts(), multiprocessing.get_context("spawn"), READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        seeds = reader.seeds(Path(folder))
    while begin < end:
        reached, (told, teller) = spawn.Value("q", begin), spawn.Pipe(duplex=False)
        process = spawn.Process(
            target=work_on, args=(name, seeds, seed, begin, end, reached, teller)
        )
        process.start()
        teller.close()
        patience_s = PATIENCE * reader.limit_s + 60
        while True:
            try:
                counts = told.recv() if told.poll(patience_s) else "stuck"
            except EOFError:
                counts = "died"
            if not isinstance(counts, Counts):
                break
            _add(total, counts)
        process.kill()
        process.join()
        if counts is None:
            break
        if not total.inputs and process.exitcode == 1:
            raise RuntimeError(f"{name}: a good file was not read")
        total.found(f"the process {counts}", reached.value)
        total.inputs += 1
        begin = reached.value + 1
    return total


def work_on(name: str, *rest: object) -> None:
    """`work`, for a new process: a reader itself cannot be sent there."""
    work(READERS[name], name, *rest)  # type: ignore[arg-type]


def _add(total: Counts, more: Counts) -> None:
    total.inputs += more.inputs
    total.accepted += more.accepted
    total.refused += more.refused
    total.memory = max(total.memory, more.memory)
    total.slowest_s = max(total.slowest_s, more.slowest_s)
    for what, (first, times) in more.finds.items():
        for _ in range(times):
            total.found(what, first)


def _show(options: argparse.Namespace) -> None:
    (name,) = options.reader
    with tempfile.TemporaryDirectory() as folder:
        seeds = READERS[name].seeds(Path(folder))
    data = input_of(READERS[name], name, seeds, options.seed, options.show)
    sys.stdout.buffer.write(data)


if __name__ == "__main__":
    main()
