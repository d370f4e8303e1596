"""Upsets in the circuit itself, under Verilator: python benchmarks/upset_circuit.py [--count 600]

Bits of the engine's registers and memories flip in a played circuit, forward and echo; an upset that
changes an output, a gradient or a state is counted for who reports it first, as in `upsets.py`. Of
upsets in memories the golden engine has to say the same: "as the golden engine" are those of which
it does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from upset_storage import Samples, SplitEngine, Spot, Upset
from upset_trials import PASSES, Report, Trial, Verdict

from echoloom.backends.engine.requests import PassRequest, PassResult
from echoloom.ir.contract import Space
from echoloom.sim.builds import UPSETS
from echoloom.sim.compose import compose, results
from echoloom.sim.run_rtl import model_of, play
from echoloom.sim.simulation_error import SimulationError

MODEL = "one lane"
CONTROL = "registers"
# Memories by their names in the circuit: what they are, where a host reads them, what the golden
# engine calls their banks.
MEMORIES: dict[str, tuple[str, Space | None, tuple[str, ...]]] = {
    "weights": ("weights", Space.WEIGHT, ("weight",)),
    "entries": ("tables", Space.TABLE, ()),
    "exponents": ("exponents", Space.EXPONENT, ("exponent",)),
    "vectors": ("vectors", None, ("vector", "y_words")),
    "bases": ("bases", None, ("bases",)),
    "gradients": ("gradients", None, ("gradient",)),
    "slots": ("slots", None, ("slots",)),
    "rows": ("tree rows", None, ("rows",)),
    "samples": ("frames", None, ()),
    "storage": ("outputs", None, ()),
}
COLUMNS = {"mac_fetch": Space.MAC, "drain_fetch": Space.DRAIN, "sequencer.table": Space.SECTION}


class Variable(NamedTuple):
    """A variable of the circuit: `elements` of `bits`."""

    scope: str
    name: str
    bits: int
    elements: int

    @property
    def kind(self) -> str:
        """What it is."""
        if self.elements == 1:
            return CONTROL
        return "programs" if self.column else MEMORIES[self.name][0]

    @property
    def column(self) -> Space | None:
        """The program that it is a column of."""
        return next((at for end, at in COLUMNS.items() if self.scope.endswith(end)), None)

    def place(self, bit: int) -> tuple[Space, int, int] | None:
        """Where a host reads the word of a bit; None of what no host reads, or what sweeps write."""
        space = self.column or MEMORIES.get(self.name, (None, None))[1]
        number = self.name if self.column else self.scope
        lane = int(number.rsplit("_", 1)[1]) if space not in (None, Space.TABLE) else 0
        return None if space is None else (space, lane, bit // self.bits)


@dataclass(frozen=True)
class PlacedUpset(Upset):
    """An upset of the golden engine at a known place, which may have copies."""

    spots: tuple[Spot, ...] = ()

    def strike(self, engine: SplitEngine, samples: Samples) -> None:
        for spot in self.spots:
            self.flip(engine, spot)

    def spot(self, engine: SplitEngine) -> Spot | None:
        return None


class Circuit:
    """The built engine and what a run without an upset says of it."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self._model = model_of(trial.image, None, UPSETS)
        with tempfile.TemporaryDirectory() as folder:
            job = Path(folder)
            found = self._played(job, "list", trial.requests)
            self.starts = [int(line) for line in (job / "starts.txt").read_text().split()]
            lines = (job / "variables.txt").read_text().splitlines()
        fields = [line.rsplit(" ", 3) for line in lines]
        self.variables = [Variable(s, n, int(b), int(e)) for s, n, b, e in fields
                          if ".engine." in s and int(b) * int(e) and "trace" not in n]  # fmt: skip
        assert [one.cycles for one in found] == trial.cycles

    def _played(self, job: Path, upset: str, requests: Sequence[PassRequest]) -> list[PassResult]:
        (job / "upset.txt").write_text(f"{upset}\n")
        script = compose(self.trial.image, requests)
        return results(self.trial.image, requests, play(script, self._model, UPSETS, job))

    def verdict(self, variable: Variable, bit: int, number: int, cycle: int) -> Verdict | None:
        """What becomes of a sequence, played twice, in whose first play a bit flips. None if the bit
        is no register's: it had its value back at once."""
        trial, place = self.trial, variable.place(bit)
        upset = f"{variable.scope} {variable.name} {bit} {self.starts[number] + 1 + cycle}"
        first, second = trial.requests, trial.again()
        if place is not None:
            second = (second[0], replace(second[1], reads=(*second[1].reads, place)))
        found: list[PassResult] = []
        with tempfile.TemporaryDirectory() as folder:
            job = Path(folder)
            for _ in range(2):  # the second time with the errors that the outputs have made
                requests = [*first, *second]
                try:
                    found = self._played(job, upset, requests)
                except SimulationError:
                    return self._ended(job)
                if (job / "kept.txt").read_text().strip() != "1":
                    return None
                first = trial.told(first, found[0])
                second = trial.told(second, found[PASSES])
                if [*first, *second] == requests:
                    break
        if [one.cycles for one in found[:PASSES]] != trial.cycles:
            return Verdict(True, frozenset({Report.ENDED}))
        read = None if place is None else int(found[-1].reads[-1])
        return trial.judged(found[:PASSES], found[PASSES:], place, read)

    def _ended(self, job: Path) -> Verdict | None:
        kept = job / "kept.txt"
        if not kept.exists() or kept.read_text().strip() != "1":
            return None
        return Verdict(True, frozenset({Report.ENDED}))
