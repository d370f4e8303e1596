"""A board at a serial port, with the methods of a compiled program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from echoloom.backends.board.guard import Guard, confirmed, guard_of, guarded
from echoloom.backends.board.line import Progress
from echoloom.backends.board.records import BoardStatus, Measured, Trained
from echoloom.backends.board.session import Session
from echoloom.backends.board.training import Watch, train
from echoloom.backends.compile.learned import lesson_of, replayed
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.stream import Stream
from echoloom.backends.engine.requests import PassRequest, PassResult
from echoloom.backends.engine.sweeps import held_after, pass_request, swept
from echoloom.backends.link.errors import NotLoaded
from echoloom.backends.link.serial import usual_baud
from echoloom.backends.run.beginnings import begun_at
from echoloom.backends.run.integers import Floats
from echoloom.backends.run.learning_excess import first_of_training
from echoloom.frontend.data.arrays import whole_number
from echoloom.frontend.data.samples import host_sequence
from echoloom.frontend.models.hssm import HSSM
from echoloom.hdl.board import BAUD
from echoloom.ir.carried import Carried
from echoloom.ir.host import RunResult, Sweep, Swept
from echoloom.ir.host import run as run_sweeps


def open_board(
    port: str, *, baud: int | None = None, timeout_s: float = 1.0, guard: str = "off"
) -> Board:
    """A board at a serial port ("/dev/ttyUSB0") or at what else pyserial opens by a URL
    ("socket://localhost:4000"). A context manager; nobody else can open the port meanwhile.

    `baud` is the speed that the board was built for; if not given, what boards with the USB chip
    have that is at the port. `timeout_s` is how long the board may take for an answer. A request is
    tried 4 times, a sequence 3 times, before LinkError is raised.

    `guard`: what all but `play` do against bits that flip on the board (docs/trust.md). "memories":
    after each sequence, each push of a stream and each checkpoint of a training memories and
    registers have to be as they were written, and states back after an echo of a sequence.
    "twice": and all of it, sent and played once more, has to give the same. Upset is raised where
    something is not so.

    Raises OSError if there is no such port, PortBusy if another program has it, LinkError if no
    board answers, ValueError for a speed that no system has or a guard that there is not.
    """
    doubt = guard_of(guard)
    board = Board(port, usual_baud(port) if baud is None else baud, timeout_s, doubt)
    try:
        board.recover()
    except BaseException:
        board.close()
        raise
    return board


class Board:
    """What `open_board` gives: load a program, then use it as the program itself.

    Every method may raise LinkError, PortLost or NotLoaded, which are BoardErrors; none of them
    returns a number that the board did not compute from the loaded program.
    """

    def __init__(
        self, port: str, baud: int = BAUD, timeout_s: float = 1.0, guard: Guard = Guard.OFF
    ) -> None:
        self._session, self._guard = Session(port, baud, timeout_s), guard

    @property
    def port(self) -> str:
        """Where the board is."""
        return self._session.port

    @property
    def repeated(self) -> int:
        """Requests that had to be sent again."""
        return self._session.repeated

    @property
    def reruns(self) -> int:
        """Sequences that had to be run again."""
        return self._session.reruns

    def load(
        self, program: CompiledProgram, *, anew: bool = False, progress: Progress | None = None
    ) -> int:
        """Have the board hold `program`; the number of words written.

        A board that says that it holds this very program is believed, unless `anew`. Otherwise all
        memories are written, whatever was in them.

        Raises OtherEngine if the board's engine is not the one that the program is for.
        """
        return self._session.load(program, anew=anew, progress=progress)

    def write(self, program: CompiledProgram, *, progress: Progress | None = None) -> int:
        """Have the board hold `program` in place of another with the same schedule, as
        `with_parameters` gives it: only words that differ are written, and counted.

        Any other program is loaded as a whole, and so it is where it is not known what the board
        holds. Raises OtherEngine.
        """
        return self._session.write(program, progress=progress)

    def read(
        self, places: Iterable[tuple[int, int, int]], *, progress: Progress | None = None
    ) -> list[int]:
        """The words at (space, lane, address) of the idle engine, signed where the memory is."""
        return self._session.read(places, progress=progress)

    def run(self, x: Any, label: Any = None, initial: Any = None) -> RunResult:
        """All integers of x [T, inputs]; with a label or targets, of the echo too.

        Those of `program.run`, and its errors.
        """
        return self.measured(x, label, initial).result

    def predict(self, x: Any) -> Floats:
        """float64 view of the integer outputs, as `program.predict`."""
        program, found = self._session.loaded(), self.measured(x, whole=False)
        return program.real_outputs(found.result, lambda: program.overflow(x))

    def gradient(self, x: Any, label: Any) -> HSSM:
        """float64 gradient of the loss of one sequence, as `program.gradient`."""
        program, found = self._session.loaded(), self.measured(x, label, whole=False)
        return program.real_gradient(found.result, len(x), lambda: program.overflow(x, label))

    def measured(
        self,
        x: Any,
        label: Any = None,
        initial: Any = None,
        *,
        whole: bool = True,
        sums: bool = True,
    ) -> Measured:
        """As `run`, with the engine's own counters: cycles, stalls, busy lanes. Without `whole` the
        states are left on the board: a result has outputs, and gradients if there is a label. And
        without `sums` those are left there too.
        """
        program = self._session.loaded()
        x, label = host_sequence(program.model, x, label)
        carried = None if initial is None else begun_at(program.artifact, initial)
        whole = whole or self._guard is not Guard.OFF

        def play() -> Measured:
            return self._session.repeatedly(
                lambda: self._measured(program, x, label, carried, whole, sums)
            )

        return guarded(self._guard, self._session, program, carried, play)

    def audit(self) -> None:
        """Hold every word of the board that no sweep writes against what was loaded: weights,
        tables, programs, registers. Raises Upset naming the first that is another; milliseconds
        where the board's link has CHECK."""
        self._session.audit()

    def stream(self, *, window: int = 0, initial: Any = None) -> Stream:
        """A sequence without an end on the board, as `program.stream`.

        The state stays on the board between pushes, and its words come back with each: so a push in
        which something was lost is made again from there, and the board may run anything in
        between. NotLoaded from pushes once the board has another program.
        """
        program = self._session.loaded()

        def level(sweep: Sweep) -> Swept:
            if self._session.program is not program:
                raise NotLoaded(
                    f"the board at {self.port} has another program than when this stream began"
                )
            return self.swept(sweep)

        return Stream(program, level, window, initial)

    def swept(self, sweep: Sweep) -> Swept:
        """A sweep of the loaded program: an `ir.host.Level`. What is not carried into it has to be
        what the sweep before has left."""
        program = self._session.loaded()

        def play() -> Swept:
            return self._session.repeatedly(lambda: self._swept(program, sweep))

        def again() -> Swept:
            self._session.refresh(program)  # or constants that flipped would be the same again
            return play()

        return confirmed(self._guard, self._session, "sweep", play(), again, Swept.named)

    def learn(
        self,
        X: Any,
        y: Any,
        updates: int | None = None,
        *,
        order: Any = None,
        exponent: int | None = None,
        every: int | None = None,
        watch: Watch = lambda so_far: None,
    ) -> Trained:
        """Have the board learn from sequences X [n][T, inputs] with labels y, as `program.learn`
        does: the same words after every update. It holds the trained program then.

        `every` so many updates (by default after the last one) the weights are read, and `watch` is
        called; it may use the board. ValueError for what does not fit the program.
        """
        program = self._session.loaded()
        lesson = lesson_of(program, X, y, updates, order, exponent)
        often = lesson.updates if every is None else whole_number("learn: every", every)
        if often < 1:
            raise ValueError(f"learn: every is {often}, but it must be > 0")
        found, artifact = train(self._session, lesson, often, watch, self._guard), program.artifact
        weights = replayed(artifact, lesson)
        return replace(found, kept=first_of_training(artifact, lesson, found.flags, weights))

    def play(self, requests: Iterable[PassRequest]) -> Iterator[PassResult]:
        """What passes of the loaded program give that may move its weights: those of a training, or
        of parts of one. Afterwards the board has to be loaded again."""
        program = self._session.loaded()
        self._session.take(program)
        for request in requests:
            found, mark = self._session.play(program.artifact, request)
            self._session.moving(mark)
            yield found

    def status(self) -> BoardStatus:
        """What the board says of itself, and what the line has seen."""
        return self._session.status()

    def recover(self) -> None:
        """After a BoardError: open the port again if it is gone, bring the link back into step, and
        the program back onto the board if that has lost it.

        Raises what `open_board` and `load` raise.
        """
        self._session.recover()

    def close(self) -> None:
        """Give the port back; the board keeps the program."""
        self._session.close()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _swept(self, program: CompiledProgram, sweep: Sweep) -> Swept:
        artifact = program.artifact
        self._session.begin(program)
        held = self._session.carried
        request = pass_request(artifact, program.image, sweep, held)
        found, mark = self._session.play(artifact, request)
        self._session.insist(mark, program)
        result = swept(artifact, sweep, found)
        self._session.ended(held_after(held, sweep, result))
        return result

    def _measured(
        self,
        program: CompiledProgram,
        x: Any,
        label: Any,
        carried: Carried | None,
        whole: bool,
        sums: bool,
    ) -> Measured:
        artifact, image = program.artifact, program.image
        passes: dict[str, PassResult] = {}
        mark: int | None = None

        def level(sweep: Sweep) -> Swept:
            nonlocal mark
            asked = replace(
                sweep, states=sweep.states if whole else (), sums=sweep.sums if sums else ()
            )
            request = pass_request(artifact, image, asked)
            found, mark = self._session.play(artifact, request)
            passes[request.kind] = found
            return swept(artifact, asked, found)

        self._session.begin(program)
        result = run_sweeps(artifact.host, level, x, label, carried=carried)
        # A board that was reset, or switched off and on, in between is not the one that was loaded.
        self._session.insist(mark, program)
        self._session.ended()
        return Measured(result, passes)
