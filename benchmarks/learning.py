"""Learning by a board's own rules beside Adam in floats: python benchmarks/learning.py

From an untrained model to the end of a training, by the integers of an engine that updates its own
weights (at the JAX level, which verify holds against the circuit), for every rule; and by Adam in
floats on the same batches. What a training came to is kept under --results and not run again.

--choose compares steps and batches, the rules in floats, on a part of the training split that they
do not learn from; no test sequence has a part in it.
--adaptation: learning_adaptation.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import learning_adaptation
import numpy as np
import output
from learning_cases import CASES, SETTINGS, Case, Setting, evenly
from learning_runs import Outcome, in_fabric, in_floats
from parity.tasks import Missing, Task

PACKAGES = ("echoloom", "jax", "numpy", "optax")
RULES = ("adam", "sign", "momentum", "scaled")
# Steps around those of SETTINGS, by rule, and batches, that --choose compares.
STEPS = {
    "adam": (1e-3, 3e-3, 1e-2),
    "sign": (2.0**-8, 2.0**-7, 2.0**-6),
    "momentum": (2.0**-9, 2.0**-8, 2.0**-7),
    "scaled": (2.0**-6, 2.0**-5, 2.0**-4),
}
BATCHES = (8, 16)


def outcome(
    name: str, case: Case, task: Task, rule: str, setting: Setting, seed: int, folder: Path,
    floats: bool = False,
) -> Outcome:  # fmt: skip
    """What a training came to: what its file in `folder` says, or what it gives now."""
    sizes = f"{setting.step:.4g}-{setting.batch}-{case.sequences}"
    file = folder / f"{name}-{rule}-{sizes}-{seed}.json"
    if file.is_file():
        return Outcome(**json.loads(file.read_text()))
    if floats or rule == "adam":
        found = in_floats(case, task, seed, rule, setting)
    else:
        found = in_fabric(case, task, seed, rule, setting)
    output.progress.print(
        f"{file.stem}: train {found.train:.1%}, test {found.test:.1%}, "
        f"{found.compile_seconds:.0f} s + {found.seconds:.0f} s"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(found), indent=1) + "\n")
    return found


def spread(values: Sequence[float]) -> float:
    """Their standard deviation as a sample of many (n - 1); 0 for one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def row(
    name: str, rule: str, setting: Setting, own: Sequence[Outcome], adam: Sequence[Outcome]
) -> dict[str, Any]:
    """One line of the table. "from adam": how far the mean test accuracy is from Adam's, and one
    standard deviation beside it, the root of the mean of both variances over the seeds."""
    tests = [o.test for o in own]
    apart = float(np.mean(tests) - np.mean([o.test for o in adam]))
    deviation = float(np.sqrt((spread(tests) ** 2 + spread([o.test for o in adam]) ** 2) / 2))
    first = own[0]
    share = first.cycles and first.cycles["update"] / (
        setting.batch * first.cycles["sequence"] + first.cycles["update"]
    )
    return {
        "data set": name,
        "rule": rule,
        "step": f"{setting.step:.4g}",
        "batch": setting.batch,
        "updates": first.updates,
        "train %": " ".join(f"{100 * o.train:.1f}" for o in own),
        "test %": " ".join(f"{100 * o.test:.1f}" for o in own),
        "mean, deviation": f"{100 * np.mean(tests):.1f} ± {100 * spread(tests):.1f}",
        "from adam": f"{100 * apart:+.1f} (sd {100 * deviation:.1f})",
        "loss": " ".join(f"{o.loss:.2g}" for o in own),
        "overflowed": sum(o.overflowed for o in own),
        "clamped": sum(o.clamped for o in own),
        "update's cycles": f"{first.cycles['update']:,} ({share:.2%})" if share else "-",
        "s": f"{np.mean([o.seconds for o in own]):.0f}",
    }


def compared(options: Any) -> list[dict[str, Any]]:
    """The table, and on the way what every training came to."""
    rows: list[dict[str, Any]] = []
    for name in options.tasks:
        case = sized(CASES[name], options.sequences)
        task = loaded(name, case, options.data)
        if task is None:
            continue
        found: dict[str, list[Outcome]] = {}
        for rule, seed in product(options.rules, options.seeds):
            own = outcome(name, case, task, rule, SETTINGS[rule], seed, options.results)
            found.setdefault(rule, []).append(own)
        adam = found.get("adam", [])
        rows += [row(name, rule, SETTINGS[rule], own, adam or own) for rule, own in found.items()]
    return rows


def settings(rule: str) -> list[Setting]:
    """Those that --choose compares."""
    return [Setting(step, batch) for step in STEPS[rule] for batch in BATCHES]


def chosen(options: Any) -> list[dict[str, Any]]:
    """Steps and batches, judged by every fourth sequence of each class of the training split."""
    rows: list[dict[str, Any]] = []
    for name in options.tasks:
        case = sized(CASES[name], options.sequences)
        whole = loaded(name, case, options.data)
        if whole is None:
            continue
        out = evenly(whole.y, min(np.bincount(whole.y)) // 4)
        rest = np.setdiff1d(np.arange(len(whole.y)), out)
        task = Task(whole.X[rest], whole.y[rest], whole.X[out], whole.y[out])
        for rule in options.rules:
            for setting, seed in ((s, n) for s in settings(rule) for n in options.seeds):
                own = outcome(
                    f"chosen-{name}", case, task, rule, setting, seed, options.results, floats=True
                )
                rows.append(
                    {
                        "data set": name,
                        "rule": rule,
                        "step": f"{setting.step:.4g}",
                        "batch": setting.batch,
                        "seed": seed,
                        "learnt from %": f"{100 * own.train:.1f}",
                        "held out %": f"{100 * own.test:.1f}",
                        "loss at the end": f"{own.loss:.3g}",
                    }
                )
    return rows


def sized(case: Case, sequences: int | None) -> Case:
    return case if sequences is None else replace(case, sequences=sequences)


def loaded(name: str, case: Case, folder: Path) -> Task | None:
    """The task, or None after a sentence about why it is left out."""
    try:
        return case.load(name, folder)
    except Missing as missing:
        output.progress.print(f"left out: {missing}")
        return None


def main() -> None:
    parser = output.arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of .npz")
    parser.add_argument("--tasks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--sequences", type=int, help="that a training sees, instead of its own")
    parser.add_argument("--results", type=Path, default=Path("build/learning"))
    parser.add_argument("--choose", action="store_true", help="steps and batches, by held-out data")
    parser.add_argument("--adaptation", action="store_true", help="to a sensor's new mounting")
    options = parser.parse_args()
    if options.adaptation:
        learning_adaptation.adapt(options)
        return
    rows = chosen(options) if options.choose else compared(options)
    if rows:
        title = "steps and batches" if options.choose else "learning by integers"
        output.show(title, rows, PACKAGES, options.json)


if __name__ == "__main__":
    main()
