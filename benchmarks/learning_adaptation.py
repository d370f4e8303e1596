"""A sensor that is mounted anew: what a model that others trained learns of it on the board.

A phone's accelerometers and gyroscopes tell six activities apart (HAPT). A model is trained in
floats on 21 people. Then the phone is turned, its axes' gains have drifted, and other people carry
it. The board learns from windows of five of them, few and small updates; the other four judge. The
compiler sees the first 21 people only, each window turned at random and its gains drifted: formats
that hold for any mounting, made before the new one is known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import output
from learning_cases import CASES, OF_EACH, SETTINGS, evenly, hapt_windows
from learning_floats import accuracy, adam_course
from learning_runs import LANES, taught
from parity.tasks import Missing, Task

import echoloom as el
from echoloom.frontend.data.normalise import mean_and_deviation
from echoloom.ir.learning import batch_order

Floats = np.ndarray
BATCH, UPDATES = 16, 32
RATES = (3e-3, 1e-2)  # of Adam in floats, for comparison
SHOWN = (0, 1, 2, 4, 8, 16, 32)  # updates after which a model is judged
LEARN_FROM = 5  # people of the test split, the others judge
CALIBRATION = 96
# The new mounting: turned a quarter about the third axis, then by 40 degrees about the first; and
# by how much too large each axis of the accelerometer then measures.
TURNS, GAINS = ((2, 90.0), (0, 40.0)), (1.2, 0.9, 1.1)


@dataclass(frozen=True, eq=False)
class Mounting:
    """Turns the three axes of both sensors alike, then scales those of the first."""

    rotation: Floats  # [3, 3]
    gains: Floats  # [3]

    def apply(self, x: Floats) -> Floats:
        """x [..., 6] as this mounting would have measured it."""
        return np.concatenate(
            [(x[..., :3] @ self.rotation.T) * self.gains, x[..., 3:] @ self.rotation.T], axis=-1
        )


def new_mounting() -> Mounting:
    rotation = np.eye(3)
    for axis, degrees in TURNS:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.eye(3)
        others = [at for at in range(3) if at != axis]
        turn[np.ix_(others, others)] = [[c, -s], [s, c]]
        rotation = turn @ rotation
    return Mounting(rotation, np.array(GAINS))


def any_mounting(generator: np.random.Generator) -> Mounting:
    """A uniform rotation, and gains up to a quarter off."""
    q, r = np.linalg.qr(generator.normal(size=(3, 3)))
    rotation = q * np.sign(np.diag(r))
    rotation[:, 0] *= np.sign(np.linalg.det(rotation))
    return Mounting(rotation, generator.uniform(0.75, 1.25, 3))


@dataclass(frozen=True, eq=False)
class Scene:
    """before: what the model is trained on, and the judges' windows in the old mounting. anywhere:
    the same training windows, each mounted at random. after: new people's windows to learn from
    and the judges', in the new mounting."""

    before: Task
    anywhere: Task
    after: Task


def scene(folder: Path) -> Scene:
    """Raises Missing, in one sentence, where the data is not there."""
    windows = hapt_windows(folder)
    people = np.unique(windows.person[windows.is_test])
    pupils = np.isin(windows.person, people[:LEARN_FROM])
    groups = [np.flatnonzero(group) for group in
              (~windows.is_test, windows.is_test & pupils, windows.is_test & ~pupils)]  # fmt: skip
    known, own, judges = (group[evenly(windows.y[group], OF_EACH)] for group in groups)
    normal, mounted, generator = mean_and_deviation(windows.x[known]), new_mounting(), random()

    def task(x: Floats, x_judges: Floats, y: Floats) -> Task:
        return Task(normal.apply(x), y, normal.apply(x_judges), windows.y[judges])

    turned = np.stack([any_mounting(generator).apply(x) for x in windows.x[known]])
    old, new = windows.x[judges], mounted.apply(windows.x[judges])
    return Scene(
        task(windows.x[known], old, windows.y[known]),
        task(turned, new, windows.y[known]),
        task(mounted.apply(windows.x[own]), new, windows.y[own]),
    )


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def trained_before(given: Scene, seed: int, folder: Path) -> el.HSSM:
    """The model of the old mounting, kept in `folder`."""
    file = folder / f"adaptation-{seed}.eqx"
    if not file.is_file():
        case, old = CASES["HAPT"], given.before
        order = batch_order(len(old.X), BATCH, case.sequences // BATCH)
        rate = SETTINGS["adam"].step
        *_, (model, _) = adam_course(case.model(old, seed), old.X, old.y, order, rate)
        file.parent.mkdir(parents=True, exist_ok=True)
        el.save_model(file, model)
    return el.load_model(file)


def by_adam(given: Scene, model: el.HSSM, order: Floats, rate: float) -> dict[str, Any]:
    """Accuracies in floats after SHOWN, and in the old mounting before."""
    new, old = given.after, given.before
    found = [accuracy(model, new.X_test, new.y_test)]
    for update, (learnt, _) in enumerate(adam_course(model, new.X, new.y, order, rate), 1):
        if update in SHOWN:
            found.append(accuracy(learnt, new.X_test, new.y_test))
    return {"course": found, "old": accuracy(model, old.X_test, old.y_test)}


def by_board(given: Scene, model: el.HSSM, order: Floats) -> dict[str, Any]:
    """Accuracies of the integers after SHOWN; what overflowed and what was clamped."""
    rule = replace(SETTINGS["sign"], batch=BATCH).rule("sign", UPDATES)
    known = evenly(given.anywhere.y, CALIBRATION // given.anywhere.outputs)
    program = el.compile(
        model, given.anywhere.X[known], given.anywhere.y[known], lanes=LANES, learning=rule
    )
    done = taught(program, given.after.X, given.after.y, order)
    found, overflowed = list[float](), int(np.count_nonzero(done.result.overflowed))
    for update in SHOWN:
        right, over = done.right(given.after.X_test, given.after.y_test, update)
        found.append(right)
        overflowed += over
    clamped = sum(int(counts.sum()) for counts in done.result.clamped.values())
    return {"course": found, "overflowed": overflowed, "clamped": clamped}


def learners() -> Mapping[str, Callable[[Scene, el.HSSM, Floats], dict[str, Any]]]:
    """Who learns the new mounting, by what the table calls them."""
    adams = {
        f"adam {rate:g}": lambda given, model, order, r=rate: by_adam(given, model, order, r)
        for rate in RATES
    }
    return {"board": by_board, **adams}


def rows_of(found: Mapping[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """The table: a row for every number of sequences."""
    old = np.mean([one["old"] for one in found[f"adam {RATES[0]:g}"]])
    for at, update in enumerate(SHOWN):
        row: dict[str, Any] = {"sequences": update * BATCH, "updates": update}
        for name, seeds in found.items():
            own = [100 * one["course"][at] for one in seeds]
            row[f"{name} %"] = " ".join(f"{value:.1f}" for value in own)
            row[f"{name}, mean"] = f"{np.mean(own):.1f}"
        yield row | {"old mounting, mean": f"{100 * old:.1f}"}


def adapt(options: Any) -> None:
    """The table of all seeds; what each came to is kept under options.results."""
    try:
        given = scene(options.data)
    except Missing as missing:
        output.progress.print(f"left out: {missing}")
        return
    order = batch_order(len(given.after.X), BATCH, UPDATES)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in learners()}
    for seed in options.seeds:
        for name, learner in learners().items():
            file = options.results / f"adaptation-{name.replace(' ', '-')}-{seed}.json"
            if not file.is_file():
                model = trained_before(given, seed, options.results)
                file.write_text(json.dumps(learner(given, model, order), indent=1) + "\n")
                output.progress.print(f"{file.stem}: {json.loads(file.read_text())['course'][-1]}")
            found[name].append(json.loads(file.read_text()))
    output.progress.print(f"overflowed {sum(one['overflowed'] for one in found['board'])}, "
                          f"clamped {sum(one['clamped'] for one in found['board'])}")  # fmt: skip
    title = "accuracy on other people, in a new mounting"
    output.show(title, [*rows_of(found)], ("echoloom", "jax", "numpy", "optax"), options.json)
