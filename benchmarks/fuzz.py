"""Hostile bytes for every reader: files, reports, graphs, and both ends of the link.

Every input follows from the reader's name, the seed and its number. With --guided, atheris makes
the inputs instead, of those that reached new code before. Whatever is found ends the run with code
1; the first input of each kind is kept in a file, and --files has such files read again.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path

from fuzz_planted import PLANTED
from fuzz_process import fuzz
from fuzz_readers import READERS
from fuzz_worker import Job
from output import arguments, progress, show


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--reader", nargs="+", default=list(READERS), choices=[*READERS, *PLANTED])
    parser.add_argument("--count", type=int, default=1000, help="inputs of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--guided", action="store_true", help="inputs by what others reached")
    parser.add_argument("--finds", type=Path, default=Path("build/fuzz"), help="folder for them")
    parser.add_argument(
        "--files", type=Path, nargs="+", default=(),
        help="inputs to read instead, or to begin from if guided",
    )  # fmt: skip
    options = parser.parse_args()
    if options.guided and find_spec("atheris") is None:
        parser.error("--guided needs atheris: pip install 'echoloom[fuzz]'")
    files = tuple(options.files)
    only = bool(files) and not options.guided
    first, count = (0, len(files)) if only else (options.first, options.count)
    rows, finds = [], []
    for name in options.reader:
        progress.print(f"{name}: {count} inputs")
        began = time.monotonic()
        job = Job(name, options.seed, first, first + count, options.finds, options.guided, files)
        counts, reached = fuzz(job)
        rows.append({
            "reader": name, "inputs": counts.inputs, "refused": counts.refused,
            "accepted": counts.accepted, "kinds of finds": len(counts.finds), **reached,
            "MB more": round(counts.memory / 1e6), "slowest, s": round(counts.slowest_s, 2),
            "all, s": round(time.monotonic() - began),
        })  # fmt: skip
        finds += [f"{name}: {what}: {job.kept(first)}, {times} times"
                  for what, (first, times) in counts.finds.items()]  # fmt: skip
    packages = ("numpy", "jax", "onnx", "onnxruntime", *(("atheris",) if options.guided else ()))
    show("Hostile inputs", rows, packages, options.json)
    print(*finds, sep="\n", end="\n" if finds else "")
    sys.exit(bool(finds))


if __name__ == "__main__":
    main()
