"""Upsets in the circuit itself, under Verilator: python benchmarks/upset_circuit.py [--count 300]

Bits of the engine's memories and registers flip in a played circuit, forward and echo, and are
counted as in `upsets.py`. "golden" are upsets of which the golden engine says the same, of those
that it is asked about: it issues, reads and writes an element in one cycle, which the circuit does
to a memory a constant number of cycles later. So a memory's bit flips in the circuit so much later
as well. With --near it flips about a use of its word, where a cycle more or less shows.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import output
from upset_results import PASSES, Asked, Question, Report, Verdict, same
from upset_storage import TABLE, Samples, SplitEngine, Spot, Storage, Upset, flip
from upset_trials import Trial
from upsets import first, reported, trial_of

from echoloom.backends.engine.requests import PassRequest, PassResult
from echoloom.backends.link.image_writes import by_place, image_writes
from echoloom.backends.link.memory_runs import as_read
from echoloom.hdl.drain import SELECT
from echoloom.hdl.issue import MacIssue
from echoloom.hdl.lane import GRADIENT, WEIGHT
from echoloom.hdl.lookup import ENTRY
from echoloom.hdl.requantise import Requantise
from echoloom.hdl.sequencer import LOADING
from echoloom.ir.contract import Space
from echoloom.ir.host import Swept
from echoloom.sim.builds import UPSETS
from echoloom.sim.compose import compose, results
from echoloom.sim.run_rtl import model_of, play
from echoloom.sim.simulation_error import SimulationError

MODEL = "one lane"
CONTROL = "registers"
# Clocks from the one that takes a pass's command to the one in which its first element is issued:
# start, FIND, what is loaded, END, WAIT, and the cycle in which an entry is taken.
ISSUE = 2 + LOADING + 3 + MacIssue.latency


class Held(NamedTuple):
    """What a memory is: its kind, where a host reads it, what the golden engine calls its banks,
    and how many cycles after an element's issue its word is read."""

    kind: str
    space: Space | None = None
    banks: tuple[str, ...] = ()
    read: int = 0


# By their names in the circuit; whoever asks for a word one cycle later, over a register, reads 1.
MEMORIES = {
    "weights": Held("weights", Space.WEIGHT, ("weight",), WEIGHT + 1),
    "entries": Held("tables", Space.TABLE, (TABLE,), SELECT + Requantise.latency + ENTRY - 2),
    "exponents": Held("exponents", Space.EXPONENT, ("exponent",), 0),
    "vectors": Held("vectors", None, ("vector", "y_words"), 1),
    "bases": Held("bases", None, ("bases",), 1),
    "gradients": Held("gradients", None, ("gradient",), GRADIENT + 1),
    "slots": Held("slots", None, ("slots",), 1),
    "rows": Held("tree rows", None, ("rows",), 1),
    "samples": Held("frames"),
    "storage": Held("outputs"),
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
        return "programs" if self.column else MEMORIES[self.name].kind

    @property
    def later(self) -> int:
        """Clocks from a pass's command to the one in which its cycle 0 reads here. Of what the
        golden engine does not know, from the command on."""
        return ISSUE + MEMORIES[self.name].read if self.spots(0) else 1

    def spots(self, bit: int) -> tuple[Spot, ...]:
        """What the golden engine has in its place."""
        if self.elements == 1 or self.column:
            return ()
        names, (address, within) = MEMORIES[self.name].banks, divmod(bit, self.bits)
        signed = self.bits + (self.name == "exponents")  # no bit of which is a sign's
        # The golden engine has slots by their numbers, and lanes in each.
        bank, at = (address, 0) if self.name in ("slots", "rows") else (0, address)
        return tuple(Spot(name, bank, at, within, signed) for name in names)

    @property
    def column(self) -> Space | None:
        """The program that it is a column of."""
        return next((at for end, at in COLUMNS.items() if self.scope.endswith(end)), None)

    def place(self, bit: int) -> tuple[Space, int, int] | None:
        """Where a host reads the word of a bit; None of words that sweeps write."""
        if self.elements == 1:
            return None
        space = self.column or MEMORIES[self.name].space
        number = self.name if self.column else self.scope
        lane = int(number.rsplit("_", 1)[1]) if space not in (None, Space.TABLE) else 0
        return None if space is None else (space, lane, bit // self.bits)


@dataclass(frozen=True)
class PlacedUpset(Upset):
    """An upset of the golden engine at a known place, which may have copies."""

    spots: tuple[Spot, ...] = ()

    def strike(self, engine: SplitEngine, samples: Samples) -> None:
        engine.land()  # a circuit's memory has by then what was written at the clock's edge
        for spot in self.spots:
            flip(engine, spot)

    def spot(self, engine: SplitEngine) -> Spot | None:
        return None


class Circuit:
    """The built engine, and what a run without an upset says of it."""

    def __init__(self, question: Question, cycles: Sequence[int]) -> None:
        self._question, self._cycles = question, list(cycles)
        self._model = model_of(question.image, None, UPSETS)
        self._asked = self._begun = (question.following(()),)
        with tempfile.TemporaryDirectory() as folder:
            job = Path(folder)
            (found,) = self._played(job, "list", self._begun)
            self._asked = (*self._begun, question.following([self._answer(self._begun[0], found)]))
            clean = self._played(job, "list", self._asked)
            starts = (job / "starts.txt").read_text().split()
            self._starts = [int(word) for word in starts[-PASSES:]]
            lines = (job / "variables.txt").read_text().splitlines()
        fields = [line.rsplit(" ", 3) for line in lines]
        assert [one.cycles for one in clean] == self._cycles
        assert not any(one.stalls for one in clean), "a wait takes no cycle of the golden engine's"
        self._swept = [self._answer(a, f) for a, f in zip(self._asked, clean, strict=True)]
        self._result = question.result(self._swept, self._asked[1])
        self.variables = [Variable(s, n, int(b), int(e)) for s, n, b, e in fields
                          if ".engine." in s and int(e) and "trace" not in n]  # fmt: skip

    def verdict(self, variable: Variable, bit: int, number: int, cycle: int) -> Verdict | None:
        """What becomes of a sequence, played twice, in whose first play a bit flips. None if it is
        no register's bit: it had its value back at once."""
        clock = self._starts[number] + variable.later + cycle
        upset = f"{variable.scope} {variable.name} {bit} {clock}"
        place, image = variable.place(bit), self._question.image
        anew = tuple(
            (Space.VECTOR, lane, address, word)
            for lane, bank in enumerate(image.vector)
            for address, word in enumerate(bank)
        )
        asked, heard = [*self._asked, *self._asked], list[Swept]()
        with tempfile.TemporaryDirectory() as folder:
            job = Path(folder)
            try:
                # A second time with the errors that the outputs of the first have made.
                for last in (False, True):
                    found = self._played(job, upset, asked, anew, place)
                    heard = [self._answer(a, f) for a, f in zip(asked, found, strict=False)]
                    if last or all(
                        (heard[at].outputs == self._swept[0].outputs).all() for at in (0, PASSES)
                    ):
                        break
                    for at in (0, PASSES):
                        asked[at + 1] = self._question.following(heard[at : at + 1])
            except SimulationError:
                found = []
            kept = job / "kept.txt"
            if not kept.exists() or kept.read_text().split()[-1] != "1":
                return None
        if [one.cycles for one in found[:PASSES]] != self._cycles:
            return Verdict(True, frozenset({Report.ENDED}))
        reports = self._question.reports(heard[:PASSES])
        if place is not None:
            word = by_place(image_writes(image)).get(place, 0)
            if int(found[-1].reads[-1]) != as_read((*place, word), image.config):
                reports.add(Report.CHECKSUM)
        result = self._question.result(heard[:PASSES], asked[1])
        again = self._question.result(heard[PASSES:], asked[PASSES + 1])
        harmful = not same(result, self._result)
        if harmful and not reports and not same(result, again):
            reports.add(Report.TWICE)
        return Verdict(harmful, frozenset(reports))

    def _answer(self, asked: Asked, found: PassResult) -> Swept:
        return self._question.answer(asked, found)

    def _played(
        self,
        job: Path,
        upset: str,
        asked: Sequence[Asked],
        anew: tuple[tuple[Space, int, int, int], ...] = (),
        place: tuple[Space, int, int] | None = None,
    ) -> list[PassResult]:
        """What passes give; before the third, words are written `anew`, and after the last one the
        word at `place` is read. Raises SimulationError."""
        requests: list[PassRequest] = [one.request for one in asked]
        if len(requests) > PASSES:
            requests[PASSES] = replace(requests[PASSES], writes=(*anew, *requests[PASSES].writes))
        if place is not None:
            requests[-1] = replace(requests[-1], reads=(*requests[-1].reads, place))
        (job / "upset.txt").write_text(f"{upset}\n")
        script = compose(self._question.image, requests)
        return results(self._question.image, requests, play(script, self._model, UPSETS, job))


def drawn(
    circuit: Circuit, kind: str, random: Random, trial: Trial, near: bool
) -> tuple[Variable, int]:
    """A bit of a kind of storage, each with the same chance; if `near`, of those in use."""
    own = [variable for variable in circuit.variables if variable.kind == kind]
    while True:
        variable = random.choices(own, [one.bits * one.elements for one in own])[0]
        bit = random.randrange(variable.bits * variable.elements)
        if not near or trial.uses(variable.spots(bit)[0]):
            return variable, bit


def moment(trial: Trial, random: Random, spots: Sequence[Spot], near: bool) -> tuple[int, int]:
    """A pass and a cycle in it; if `near`, that of a use of the word or the one after."""
    if not near:
        number = random.choices(range(PASSES), trial.cycles)[0]
        return number, random.randrange(1, trial.cycles[number] - 1)
    at = min(random.choice(trial.uses(spots[0])) + random.randrange(2), sum(trial.cycles) - 1)
    number = int(at >= trial.cycles[0])
    return number, at - number * trial.cycles[0]


def agrees(trial: Trial, upset: PlacedUpset, said: Verdict) -> bool:
    """Whether the golden engine says the same."""
    ((_, found),) = trial.verdicts([upset])
    return found.harmful == said.harmful and (
        not said.harmful or first(found.reports) == first(said.reports)
    )


def main() -> None:
    parser = output.arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="upsets in all")
    parser.add_argument("--kind", action="append", help="of storage; all, if none is given")
    parser.add_argument("--near", action="store_true", help="about uses of words that have any")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    trial = trial_of(MODEL)[0]
    circuit = Circuit(trial.question, trial.cycles)
    known = {held.kind for held in MEMORIES.values() if held.banks}
    kinds = options.kind or sorted({variable.kind for variable in circuit.variables})
    if options.near:
        kinds = [kind for kind in kinds if kind in known]
    rows: list[dict[str, Any]] = []
    for kind in kinds:
        by, random = Counter[Report | None](), Random(f"{options.seed} {kind}")
        upsets = asked = agreed = 0
        while upsets < -(-options.count // len(kinds)):
            variable, bit = drawn(circuit, kind, random, trial, options.near)
            spots = variable.spots(bit)
            number, cycle = moment(trial, random, spots, options.near)
            verdict = circuit.verdict(variable, bit, number, cycle)
            if verdict is None:
                continue
            upsets += 1
            if verdict.harmful:
                by[first(verdict.reports)] += 1
            if spots:
                asked += 1
                upset = PlacedUpset(Storage.X_WORDS, number, cycle, 0, spots)
                agreed += agrees(trial, upset, verdict)
        counts = {one.value: by[one] for one in Report} | {"nowhere": by[None]}
        rows.append({
            "storage": kind, "upsets": upsets, "harmful": by.total(), **counts,
            **reported(by.total(), counts), "golden": f"{agreed} of {asked}" if asked else "-",
        })  # fmt: skip
        output.progress.print(f"{kind}: {by.total()} of {upsets} were harmful")
    title = f"{MODEL}: {sum(trial.cycles):,} cycles, seed {options.seed}"
    output.show(title, rows, ("echoloom", "verilator"), options.json)


if __name__ == "__main__":
    main()
