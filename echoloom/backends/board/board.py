"""A board at a serial port, with the methods of a compiled program."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from echoloom.backends.board.line import Line, Progress, counting
from echoloom.backends.board.records import BoardStatus, Measured
from echoloom.backends.board.sweep import run_request
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.compile.stream import Stream
from echoloom.backends.engine.requests import PassResult
from echoloom.backends.engine.sweeps import Held, held_after, pass_request, swept
from echoloom.backends.link import conversation as link
from echoloom.backends.link.ends import Ends
from echoloom.backends.link.errors import LinkError, NotLoaded, OtherEngine
from echoloom.backends.link.image_writes import Write, alike, by_place, image_mark, image_writes
from echoloom.backends.link.serial import usual_baud
from echoloom.backends.run.beginnings import begun_at
from echoloom.backends.run.integers import Floats
from echoloom.frontend.data.samples import host_sequence
from echoloom.frontend.models.hssm import HSSM
from echoloom.hdl.board import BAUD
from echoloom.hdl.commands import LinkSizes, identity
from echoloom.ir.carried import Carried
from echoloom.ir.contract import Register, Space
from echoloom.ir.host import RunResult, Sweep, Swept
from echoloom.ir.host import run as run_sweeps

RUNS = 3  # of a sequence in which something was lost
T = TypeVar("T")

# What a reset clears, so that it must be written again; memories keep their contents.
CLEARED = (Space.SECTION, Space.REGISTER)


def open_board(port: str, *, baud: int | None = None, timeout_s: float = 1.0) -> Board:
    """A board at a serial port ("/dev/ttyUSB0") or at what else pyserial opens by a URL
    ("socket://localhost:4000"). A context manager; nobody else can open the port meanwhile.

    `baud` is the speed that the board was built for; if not given, what boards with the USB chip
    have that is at the port. `timeout_s` is how long the board may take for an answer. A request is
    tried 4 times, a sequence 3 times, before LinkError is raised.

    Raises OSError if there is no such port, PortBusy if another program has it, LinkError if no
    board answers, ValueError for a speed that no system has.
    """
    board = Board(port, usual_baud(port) if baud is None else baud, timeout_s)
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

    def __init__(self, port: str, baud: int = BAUD, timeout_s: float = 1.0) -> None:
        self._line = Line(port, baud, timeout_s)
        self._clean = False  # the engine is idle, and holds the program's sections and registers
        self._depth = LinkSizes().samples  # of the board's store
        self._ends = Ends(self._depth)
        self._program: CompiledProgram | None = None
        self._held: dict[tuple[int, int, int], int] = {}  # every word that was written
        self._carried: Held = {}  # states and sums that a stream has left
        self._doubtful = False  # a load broke off: what the board says that it holds may be wrong
        self.reruns = 0  # of sequences in which something was lost

    @property
    def port(self) -> str:
        """Where the board is."""
        return self._line.port

    @property
    def repeated(self) -> int:
        """Requests that had to be sent again."""
        return self._line.carrier.repeated

    def load(
        self, program: CompiledProgram, *, anew: bool = False, progress: Progress | None = None
    ) -> int:
        """Have the board hold `program`; the number of words written.

        A board that says that it holds this very program is believed, unless `anew`. Otherwise all
        memories are written, whatever was in them.

        Raises OtherEngine if the board's engine is not the one that the program is for.
        """
        self._forget()
        self._line.reopen()
        rows = sorted(image_writes(program.image, clear=True))
        anew = anew or self._doubtful
        if self._mark(program) == image_mark(program.image) and not anew:
            self._program, self._held = program, by_place(rows)
            self._reset(program)
            return 0
        self._write(program, rows, rows, progress)
        return len(rows)

    def write(self, program: CompiledProgram, *, progress: Progress | None = None) -> int:
        """Have the board hold `program` in place of another with the same schedule, as
        `with_parameters` gives it: only words that differ are written, and counted.

        Any other program is loaded as a whole, and so it is where it is not known what the board
        holds. Raises OtherEngine.
        """
        before, held = self._program, self._held
        if before is None or not alike(before.image, program.image) or not self._holds(before):
            return self.load(program, progress=progress)
        self._forget()
        rows = sorted(image_writes(program.image, clear=True))
        changed = [row for row in rows if held.get(row[:3]) != row[3]]
        # The load begins with a reset, and what that clears has to be written in any case.
        needed = [row for row in rows if row[0] in CLEARED or held.get(row[:3]) != row[3]]
        self._write(program, rows, needed, progress)
        return len(changed)

    def read(
        self, places: Iterable[tuple[int, int, int]], *, progress: Progress | None = None
    ) -> list[int]:
        """The words at (space, lane, address) of the idle engine, signed where the memory is."""
        places = list(places)
        return self._line.converse(link.read_all(places), heard=counting(len(places), progress))

    def run(self, x: Any, label: Any = None, initial: Any = None) -> RunResult:
        """All integers of x [T, inputs]; with a label or targets, of the echo too.

        Those of `program.run`, and its errors.
        """
        return self.measured(x, label, initial).result

    def predict(self, x: Any) -> Floats:
        """float64 view of the integer outputs, as `program.predict`."""
        return self._loaded().real_outputs(self.measured(x, whole=False).result)

    def gradient(self, x: Any, label: Any) -> HSSM:
        """float64 gradient of the loss of one sequence, as `program.gradient`."""
        return self._loaded().real_gradient(self.measured(x, label, whole=False).result, len(x))

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
        program = self._loaded()
        x, label = host_sequence(program.model, x, label)
        carried = None if initial is None else begun_at(program.artifact, initial)
        return self._repeated(lambda: self._measured(program, x, label, carried, whole, sums))

    def stream(self, *, window: int = 0, initial: Any = None) -> Stream:
        """A sequence without an end on the board, as `program.stream`.

        The state stays on the board between pushes, and its words come back with each: so a push in
        which something was lost is made again from there, and the board may run anything in
        between. NotLoaded from pushes once the board has another program.
        """
        program = self._loaded()

        def level(sweep: Sweep) -> Swept:
            if self._program is not program:
                raise NotLoaded(
                    f"the board at {self.port} has another program than when this stream began"
                )
            return self.swept(sweep)

        return Stream(program, level, window, initial)

    def swept(self, sweep: Sweep) -> Swept:
        """A sweep of the loaded program: an `ir.host.Level`. What is not carried into it has to be
        what the sweep before has left."""
        program = self._loaded()
        return self._repeated(lambda: self._swept(program, sweep))

    def status(self) -> BoardStatus:
        """What the board says of itself, and what the line has seen."""
        found = self._line.converse(link.identify())
        (status,) = self._line.converse(link.read(Space.REGISTER, 0, Register.STATUS, 1))
        holds = None if self._program is None else found.mark == image_mark(self._program.image)
        seen = self._line.carrier
        return BoardStatus(
            self.port, f"{found.engine:016x}", holds, found.mark > link.LOADING, bool(status & 1),
            found.cycles, found.khz, seen.bytes_out, seen.bytes_in, seen.repeated, self.reruns,
        )  # fmt: skip

    def recover(self) -> None:
        """After a BoardError: open the port again if it is gone, bring the link back into step, and
        the program back onto the board if that has lost it.

        Raises what `open_board` and `load` raise.
        """
        self._line.reopen()
        self._clean = False
        self._depth = self._line.greet().samples
        if self._program is not None and not self._holds(self._program):
            self.load(self._program)

    def close(self) -> None:
        """Give the port back; the board keeps the program."""
        self._line.close()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repeated(self, play: Callable[[], T]) -> T:
        """What `play` gives, played again where something was lost on the line."""
        for left in reversed(range(RUNS)):
            try:
                return play()
            except LinkError:
                self._clean = False
                if not left:
                    raise
                self.reruns += 1
        raise AssertionError("a sequence is run once at least")

    def _swept(self, program: CompiledProgram, sweep: Sweep) -> Swept:
        artifact = program.artifact
        self._begin(program)
        held, self._carried = self._carried, {}
        request = pass_request(artifact, program.image, sweep, held)
        cycles = artifact.mapped.cycles_of(sweep.sections, sweep.length)
        found, said = self._line.converse(run_request(request, cycles, self._ends))
        self._insist(said.mark, program)
        result = swept(artifact, sweep, found)
        self._carried, self._clean = held_after(held, sweep, result), True
        return result

    def _begin(self, program: CompiledProgram) -> None:
        """Have an engine that is idle and clean; whatever ends a pass early leaves it otherwise."""
        if not self._clean:
            self._insist(self._mark(program), program)
            self._reset(program)
            self._carried = {}
        self._clean = False

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
            cycles = artifact.mapped.cycles_of(sweep.sections, sweep.length)
            found, said = self._line.converse(run_request(request, cycles, self._ends))
            passes[request.kind], mark = found, said.mark
            return swept(artifact, asked, found)

        self._begin(program)
        self._carried = {}
        result = run_sweeps(artifact.host, level, x, label, carried=carried)
        # A board that was reset, or switched off and on, in between is not the one that was loaded.
        self._insist(mark, program)
        self._clean = True
        return Measured(result, passes)

    def _write(
        self,
        program: CompiledProgram,
        rows: list[Write],
        needed: list[Write],
        progress: Progress | None,
    ) -> None:
        """Bring a board to hold a program's `rows` by writing those that are needed."""
        self._doubtful = True  # until all has gone well
        self._line.converse(
            link.load(needed, image_mark(program.image)),
            resynchronise=True,
            heard=counting(len(needed), progress),
        )
        self._doubtful = False
        self._program, self._held = program, by_place(rows)
        self._ends, self._clean = Ends(self._depth), True

    def _reset(self, program: CompiledProgram) -> None:
        """Bring the engine of a board that holds the program to its start."""
        rows = [row for row in image_writes(program.image) if row[0] in CLEARED]
        self._line.converse(link.reset(), resynchronise=True)
        self._line.converse(link.write_all(rows))
        self._ends, self._clean = Ends(self._depth), True

    def _forget(self) -> None:
        self._program, self._held, self._carried, self._clean = None, {}, {}, False

    def _mark(self, program: CompiledProgram) -> int:
        """What the board says that it holds. Raises OtherEngine if the program is not for it."""
        found, mapped = self._line.converse(link.identify()), program.artifact.mapped
        wanted = identity(mapped.config, mapped.timing)
        if found.engine != wanted:
            raise OtherEngine(
                f"the board at {self.port} carries the engine {found.engine:016x}, but the program "
                f"is for {wanted:016x}, of other sizes or latencies: configure the board with the "
                "program's own bitstream, or compile the program for its engine"
            )
        return found.mark

    def _holds(self, program: CompiledProgram) -> bool:
        return self._mark(program) == image_mark(program.image)

    def _insist(self, mark: int | None, program: CompiledProgram) -> None:
        if mark != image_mark(program.image):
            self._clean = False
            raise NotLoaded(
                f"the board at {self.port} does not hold the program any more: it was reset, "
                "switched off, or loaded by somebody else; recover, or load it again"
            )

    def _loaded(self) -> CompiledProgram:
        if self._program is None:
            raise NotLoaded(f"no program was loaded into the board at {self.port}; load one first")
        return self._program
