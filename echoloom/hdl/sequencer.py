"""Passes, sections and iterations: when time runs, and when it stands still."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from echoloom.hdl.layouts import ACCESS, HOST_BITS, pass_kind, section_entry
from echoloom.hdl.section_table import SectionTable
from echoloom.ir.contract import EngineConfig, Register
from echoloom.ir.entry_layouts import STAGES
from echoloom.ir.fields import REGISTER_BITS
from echoloom.ir.sections import ECHO, FORWARD, Section, sections_of

SECTIONS_IN_PASS = 3
PROLOGUE, STEP = 0, 1  # positions of sections in a pass
LOADING = 3  # cycles from FIND to END: the next section is read, rewind, one of the rewind's


class State(enum.Enum):
    """One iteration is END of the one before, WAIT (a cycle if nothing is missing), RUN."""

    IDLE = 0
    FIND = 1  # the pass's first section
    LOAD = 2  # its first entries are fetched
    END = 3  # of an iteration, or of LOAD
    WAIT = 4
    RUN = 5
    FLUSH = 6  # results in flight land


class Sequencer(wiring.Component):
    """Runs a pass of the kind `wanted` when `start` says so: its three sections, the step section
    once for each of `length` steps and `overlap` times more.

    A forward pass that `resumes` skips its prologue, and adds to the sums of the one before. A pass
    by `rows` has a step section only, which waits for no frame; `by_rows` says that one is under
    way.
    `output_phase` steps have gone by since the last one whose values were kept.
    While `runs`, the cycle to come is number `time` of its section, from 0, and `steps` has a bit
    for each stage that has a step then. `stalls` is high while the engine waits
    for a frame or for the output buffer. Then nothing is issued, and what is in flight lands:
    once it waits, it waits for at least `flush` cycles, so that nothing lands beside the results
    of the next iteration.
    `next_section` is fetched from `rewind` on, which comes two cycles before the END.
    `counts` is high in the cycles that Register.CYCLES counts. `begin`: an iteration of a step
    section begins, `take`: with a new input frame; `release` gives the oldest taken one back.
    For the step that each stage works for, a bit a stage: `valid`: there is such a step; `first`:
    it is the section's first; `keep`: its emitted values are kept.
    Latency: `overhead` cycles between two iterations, `flush` cycles after the last one.
    """

    overhead = 2

    access: data.View
    start: Signal
    wanted: data.View
    length: Signal
    output_step: Signal
    output_phase: Signal
    frame_available: Signal
    output_room: Signal
    busy: Signal
    done: Signal
    counts: Signal
    stalls: Signal
    rewind: Signal
    runs: Signal
    time: Signal
    steps: Signal
    next_section: data.View
    begin: Signal
    take: Signal
    release: Signal
    section: Signal
    iteration: Signal
    valid: Signal
    first: Signal
    keep: Signal
    read_data: Signal

    def __init__(
        self, config: EngineConfig, *, flush: int, sections: Sequence[Mapping[str, int]] = ()
    ) -> None:
        self._flush = flush
        self._learns = config.learns
        self._sections = sections
        self._layout = section_entry(config)
        super().__init__(
            {
                "access": In(ACCESS),
                "start": In(1),
                "wanted": In(pass_kind(config)),
                "length": In(REGISTER_BITS[Register.LENGTH]),
                "output_step": In(REGISTER_BITS[Register.OUTPUT_STEP]),
                "output_phase": In(REGISTER_BITS[Register.OUTPUT_PHASE]),
                "frame_available": In(1),
                "output_room": In(1),
                "busy": Out(1),
                "done": Out(1),
                "counts": Out(1),
                "stalls": Out(1),
                "rewind": Out(1),
                "runs": Out(1),
                "time": Out(self._layout["length"].shape),
                "steps": Out(STAGES),
                "next_section": Out(self._layout),
                "begin": Out(1),
                "take": Out(1),
                "release": Out(1),
                "section": Out(3),
                "iteration": Out(REGISTER_BITS[Register.LENGTH]),
                "valid": Out(STAGES),
                "first": Out(STAGES),
                "keep": Out(STAGES),
                "read_data": Out(HOST_BITS),
                "by_rows": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        state = Signal(State)
        position = Signal(2)  # of the running section in its pass
        upcoming = Signal(2)
        upcoming_iteration = Signal.like(self.iteration)
        upcoming_fresh = Signal()  # the upcoming iteration has a step that none before it had
        ends = Signal()  # and it is the last one of these
        more = Signal()
        kind = Signal.like(self.wanted)  # of the pass under way
        flushing = Signal(range(self._flush))
        turn = Signal(len(self.time))  # the cycle of the rewind, two before the end
        turns = Signal()
        ends_now = Signal()  # this cycle is the iteration's last but END
        loading = Signal(range(LOADING))
        holding = Signal()

        count = len(sections_of(self._learns))
        m.submodules.table = table = SectionTable(self._layout, self._sections, count)
        # An idle engine's host reads the table through the same port.
        index = table.index
        m.d.comb += [
            index.eq(Mux(self.busy, self._first(kind) + upcoming, self.access.address)),
            self.by_rows.eq(self.busy & self._by_rows(kind)),
            table.access.eq(self.access),
            self.next_section.eq(table.entry),
            self.read_data.eq(table.column),
        ]
        # Known when the pass begins: so they come from the host until it has.
        known = Signal.like(kind)
        m.d.comb += known.eq(Mux(self.busy, kind, self.wanted))
        skipped = [Signal(name=f"skipped_{place}") for place in range(SECTIONS_IN_PASS)]
        for place, skip in enumerate(skipped):
            m.d.sync += skip.eq(self._left_out(known, list(table.empty), place))
        landing = Signal(range(self._flush + 1))  # cycles that a wait lasts yet, at least
        landed = Signal(init=1)  # landing == 0
        waited = Signal()
        supplied = Signal()  # as of a cycle ago; what is there stays until an iteration begins
        m.d.sync += supplied.eq(
            ((upcoming != STEP) | ~upcoming_fresh | self.frame_available | self._by_rows(kind))
            & self.output_room
        )
        ready = supplied & landed
        running, waiting = Signal(), Signal()  # state == RUN, state == WAIT
        begins = waiting & ready
        m.d.sync += [
            running.eq(begins | (running & ~ends_now)),
            waiting.eq(((state == State.END) & more) | (waiting & ~ready)),
        ]

        m.d.comb += [
            self.runs.eq(begins | (running & ~ends_now)),
            # An idle engine rewinds all the time: that is how a host reads program memory.
            self.rewind.eq(
                turns | (state == State.IDLE) | ((state == State.LOAD) & (loading != 0))
            ),
            self.begin.eq(begins & (upcoming == STEP) & ~self._by_rows(kind)),
            self.take.eq(upcoming_fresh),
            self.stalls.eq(waiting & ~ready),
            self.release.eq((state == State.END) & holding),
        ]
        begun = Signal()  # the pass's first END ends no iteration
        m.d.comb += self.counts.eq(running | begins | ((state == State.END) & begun))
        # The phase counts steps up to the one whose outputs are kept. What is compared with it, and
        # with the iteration, stands still in a pass.
        phase = Signal(len(self.output_step))
        last_phase, last_after, every, at_once = Signal(), Signal(), Signal(), Signal()
        kept = Signal(len(self.output_step))  # the phase whose outputs are kept
        final = Signal(len(self.length))  # the last iteration that begins a step
        m.d.sync += [
            kept.eq(Mux(self.output_step == 0, 0, self.output_step - 1)),
            final.eq(self.length - 1),
            every.eq(kept == 0),
            at_once.eq(self.output_phase == kept),
            last_after.eq(phase + 1 == kept),
        ]
        earlier = Signal(STAGES - 1)  # last_phase of the iterations before

        # The upcoming iteration: for which stages there is a step, whether an iteration of its
        # section comes after it, and its length. All of it is known long before it begins: a
        # register each on the way there.
        restarts, goes_on, fresh_after = Signal(), Signal(), Signal()
        adds = Signal()  # to the sums of the pass before
        valid = Signal(STAGES)
        before_end = Signal.like(turn)
        overlap = self.next_section.overlap
        now_valid = Cat(upcoming_fresh, Mux(restarts, 0, self.valid[:-1]))
        now_fresh = (upcoming == STEP) & upcoming_fresh & ~ends
        older = Cat(now_valid[stage] & (overlap > stage) for stage in range(STAGES - 1))
        m.d.sync += [
            restarts.eq(upcoming_iteration == 0),
            adds.eq(self._adds(kind, upcoming == STEP)),
            valid.eq(now_valid),
            fresh_after.eq(now_fresh),
            goes_on.eq(now_fresh | older.any()),
            before_end.eq(Mux(goes_on, self.next_section.length, self.next_section.last) - 2),
        ]
        another, another_fresh = Signal(), Signal()
        m.d.sync += [
            ends.eq(upcoming_iteration == final),
            turns.eq(running & (self.time == turn)),
            ends_now.eq(turns),
            self.time.eq(Mux(self.runs, self.time + 1, 0)),
        ]
        m.d.comb += self.steps.eq(Mux(running, self.valid, valid))

        with m.Switch(state):
            with m.Case(State.IDLE):
                with m.If(self.start):
                    m.d.sync += state.eq(State.FIND)
                    m.d.sync += [
                        self.busy.eq(1),
                        kind.eq(self.wanted),
                        self.done.eq(0),
                        begun.eq(0),
                    ]
            with m.Case(State.FIND):
                m.d.sync += state.eq(State.LOAD)
                m.d.sync += [upcoming_iteration.eq(0), upcoming_fresh.eq(1)]
                m.d.sync += loading.eq(LOADING - 1)
                self._first_of(m, skipped, range(SECTIONS_IN_PASS), upcoming, more)
            with m.Case(State.LOAD):
                m.d.sync += loading.eq(loading - 1)
                with m.If(loading == 0):
                    m.d.sync += state.eq(State.END)
            with m.Case(State.END):
                m.d.sync += state.eq(Mux(more, State.WAIT, State.FLUSH))
                m.d.sync += [holding.eq(0), flushing.eq(self._flush - 1)]
            with m.Case(State.WAIT):
                with m.If(~landed):
                    m.d.sync += [landing.eq(landing - 1), landed.eq(landing == 1)]
                with m.Elif(~supplied & ~waited):
                    m.d.sync += [landing.eq(self._flush), landed.eq(0), waited.eq(1)]
                with m.If(ready):
                    m.d.sync += state.eq(State.RUN)
                    m.d.sync += [
                        waited.eq(0),
                        begun.eq(1),
                        position.eq(upcoming),
                        self.section.eq(index),
                        self.iteration.eq(upcoming_iteration),
                        self.valid.eq(valid),
                        self.first.eq(Mux(restarts, ~adds, self.first << 1)),
                        turn.eq(Mux(goes_on, self.next_section.length, self.next_section.last) - 2),
                        holding.eq(
                            (upcoming == STEP) & Array(valid)[overlap] & ~self._by_rows(kind)
                        ),
                        phase.eq(Mux(restarts, self.output_phase, Mux(last_phase, 0, phase + 1))),
                        last_phase.eq(Mux(restarts, at_once, Mux(last_phase, every, last_after))),
                        earlier.eq(Cat(last_phase, earlier)),
                        another.eq(goes_on),
                        another_fresh.eq(fresh_after),
                    ]
            with m.Case(State.RUN):
                with m.If(ends_now):
                    m.d.sync += state.eq(State.END)
                with m.If(another):
                    m.d.sync += [
                        more.eq(1),
                        upcoming.eq(STEP),
                        upcoming_iteration.eq(self.iteration + 1),
                        upcoming_fresh.eq(another_fresh),
                    ]
                with m.Else():
                    m.d.sync += [upcoming_iteration.eq(0), upcoming_fresh.eq(1)]
                    with m.Switch(position):
                        for place in range(SECTIONS_IN_PASS):
                            with m.Case(place):
                                later = range(place + 1, SECTIONS_IN_PASS)
                                self._first_of(m, skipped, later, upcoming, more)
            with m.Case(State.FLUSH):
                m.d.sync += flushing.eq(flushing - 1)
                with m.If(flushing == 0):
                    m.d.sync += state.eq(State.IDLE)
                    m.d.sync += [self.busy.eq(0), self.done.eq(1)]
        m.d.comb += self.keep.eq(
            Mux(self.section == Section.FORWARD_STEP, Cat(last_phase, earlier), ~0)
        )
        return m

    def _by_rows(self, kind: Any) -> Any:
        return kind.rows if self._learns else C(0, 1)

    def _first(self, kind: Any) -> Any:
        """The section at the first place of a pass of this kind, if it has one there."""
        sweep = Mux(kind.echo, ECHO[0], FORWARD[0])
        if not self._learns:
            return sweep
        return Mux(kind.rows, Mux(kind.updates, Section.UPDATE, Section.SCAN) - STEP, sweep)

    def _left_out(self, kind: Any, empty: list[Any], place: int) -> Any:
        """Whether a pass of this kind has nothing at a place."""
        nothing = Mux(kind.echo, empty[ECHO[place]], empty[FORWARD[place]])
        if self._learns:
            rows = Mux(kind.updates, empty[Section.UPDATE], empty[Section.SCAN])
            nothing = Mux(kind.rows, rows if place == STEP else 1, nothing)
        return nothing | {PROLOGUE: kind.resumes, STEP: self.length == 0}.get(place, 0)

    def _adds(self, kind: Any, steps: Any) -> Any:
        """Whether the sums of a section go on in a pass of this kind."""
        resumes = kind.resumes & steps
        return resumes | kind.adds | kind.rows if self._learns else resumes

    def _first_of(
        self, m: Module, skipped: list[Any], places: range, upcoming: Signal, more: Signal
    ) -> None:
        """The first place whose section is not skipped comes next."""
        m.d.sync += more.eq(~Cat(skipped[place] for place in places).all())
        for place in reversed(places):
            with m.If(~skipped[place]):
                m.d.sync += upcoming.eq(place)
