"""What is seen of a run while it goes on."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from echoloom.frontend.training.history import Note, Row
from echoloom.frontend.training.state import Counters


class Watcher:
    """Told of everything; this one keeps it to itself."""

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def started(self, counters: Counters, steps: int) -> None:
        """At counters.step of `steps`; that is not 0 if the run was resumed."""

    def stepped(self, step: int, epoch: int, loss: float) -> None:
        """A step was made on a batch of this loss."""

    def noted(self, note: Note) -> None:
        """The gradient source had something to say."""

    def evaluated(self, row: Row) -> None:
        """The model was evaluated."""


class Bar(Watcher):
    """A progress bar of steps, with epoch, loss and the last evaluation; lines for events."""

    def __init__(self, name: str, console: Console | None = None):
        self._name = name
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(
            *columns, TimeRemainingColumn(), console=console or Console(stderr=True)
        )
        self._task = self._bar.add_task(name, total=None)
        self._last = ""
        self._overflows = 0

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def started(self, counters: Counters, steps: int) -> None:
        self._overflows = counters.overflows + sum(row.overflows for row in counters.history)
        self._bar.update(self._task, completed=counters.step, total=steps)
        if counters.stopped or counters.step == steps:
            self._say(f"was finished before, at step {counters.step}")
        elif counters.step:
            self._say(f"resumed at step {counters.step} of {steps}")

    def stepped(self, step: int, epoch: int, loss: float) -> None:
        text = f"{self._name} epoch {epoch} loss {loss:.4f}{self._last}"
        self._bar.update(self._task, completed=step, description=text)

    def noted(self, note: Note) -> None:
        self._say(f"step {note.step}: {note.text}")

    def evaluated(self, row: Row) -> None:
        self._overflows += row.overflows
        shown = row.scores.get("validation") or row.scores.get("train")
        self._last = "" if shown is None else f" score {shown.measure:.4g}"
        if self._overflows:
            self._last += f" overflows {self._overflows}"
        if row.overflows:
            self._say(
                f"step {row.step}: {row.overflows} sequences overflowed since the last evaluation "
                "and were left out of the gradient"
            )

    def _say(self, text: str) -> None:
        self._bar.console.print(f"{self._name}: {text}", markup=False, soft_wrap=True)
