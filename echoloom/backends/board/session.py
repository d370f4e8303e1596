"""What a board holds, and the line to it, as far as the host knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

from echoloom.backends.board.audit import first_changed
from echoloom.backends.board.line import Line, Progress, counting
from echoloom.backends.board.records import BoardStatus
from echoloom.backends.board.sweep import run_request
from echoloom.backends.compile.program import CompiledProgram
from echoloom.backends.engine.requests import SECTIONS, PassRequest, PassResult
from echoloom.backends.engine.sweeps import Held
from echoloom.backends.link import conversation as link
from echoloom.backends.link.conversation import Conversation, Run
from echoloom.backends.link.ends import Ends
from echoloom.backends.link.errors import LinkError, NotLoaded, OtherEngine, Upset
from echoloom.backends.link.image_writes import Write, alike, by_place, image_mark, image_writes
from echoloom.backends.link.memory_runs import lasting_runs
from echoloom.backends.run.levels import Artifact
from echoloom.hdl.commands import LinkSizes, identity
from echoloom.ir.contract import Register, Space

RUNS = 3  # of a sequence in which something was lost
T = TypeVar("T")

# What a reset clears, so that it must be written again; memories keep their contents.
CLEARED = (Space.SECTION, Space.REGISTER)


class Session:
    """A board, the program that it was told to hold, and how sure that is. `carried` are words of
    states and sums that a stream has left on it.

    Every method may raise what those of `Board` raise.
    """

    def __init__(self, port: str, baud: int, timeout_s: float) -> None:
        self._line = Line(port, baud, timeout_s)
        self._clean = False  # the engine is idle, and holds the program's sections and registers
        self._room = LinkSizes().samples, 0  # in the board's store, and in its list of an update
        self._ends = Ends(*self._room)
        self._program: CompiledProgram | None = None
        self._held: dict[tuple[int, int, int], int] = {}  # every word that was written
        self._doubtful = False  # what the board says that it holds may be wrong: a load broke off
        self._lasting: Mapping[Run, int] | None = None  # of the program, once it was asked for
        self.carried: Held = {}
        self.reruns = 0  # of sequences in which something was lost

    @property
    def port(self) -> str:
        return self._line.port

    @property
    def repeated(self) -> int:
        """Requests that had to be sent again."""
        return self._line.carrier.repeated

    @property
    def program(self) -> CompiledProgram | None:
        """What was loaded here and not taken back."""
        return self._program

    def load(
        self, program: CompiledProgram, *, anew: bool = False, progress: Progress | None = None
    ) -> int:
        """As `Board.load`."""
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
        """As `Board.write`."""
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
        """As `Board.recover`."""
        self._line.reopen()
        self._clean = False
        found = self._line.greet()
        self._room = found.samples, found.listed
        if self._program is not None and not self._holds(self._program):
            self.load(self._program)

    def close(self) -> None:
        """Give the port back; the board keeps the program."""
        self._line.close()

    def play(self, artifact: Artifact, request: PassRequest) -> tuple[PassResult, int]:
        """A pass of the program that the board holds, and the mark that the board has after it."""
        cycles = artifact.mapped.cycles_of(SECTIONS[request.kind], len(request.frames))
        found, said = self._line.converse(run_request(request, cycles, self._ends))
        return found, said.mark

    def audit(self) -> None:
        """Hold the words that no sweep writes, and registers, against what was written there.
        Raises Upset naming the first that is another."""
        program = self.loaded()
        if self._lasting is None:
            self._lasting = lasting_runs(program.image)
        registers = {Register.FRAME: program.image.frame, **self._ends.registers}
        changed = first_changed(
            self._line, self._lasting, registers, self._held, program.image.config
        )
        if changed is not None:
            self.condemn()
            raise Upset(
                f"{changed} of the board at {self.port} is not what was written there: a bit has "
                "flipped, and nothing since the last check is to be trusted; recover the board, "
                "which loads it again, and repeat it"
            )

    def refresh(self, program: CompiledProgram) -> None:
        """Write once more what a sequence begins with: registers, and words of vector memory. The
        board forgets its samples."""
        self._reset(program)
        self.write_words(row for row in image_writes(program.image) if row[0] == Space.VECTOR)

    def condemn(self) -> None:
        """What the board holds is wrong, and it says no longer that it is the program."""
        self._clean, self._doubtful = False, True
        self._line.converse(link.mark(0))

    def go_back(self, program: CompiledProgram) -> None:
        """What a condemned board gets when it recovers is `program`."""
        self._program = program

    def converse(self, conversation: Callable[[Ends], Conversation[T]]) -> T:
        """Carry a conversation with a board whose link holds what `Ends` says."""
        return self._line.converse(conversation(self._ends))

    def take(self, program: CompiledProgram) -> None:
        """Have a board that holds `program`, whose weights are to move up to `left`. Until then it
        says that it holds no whole program, so that nobody takes its numbers for another's."""
        if not (self._clean and self._program is program and self._holds(program)):
            self.load(program, anew=True)
        self._clean = False
        self._line.converse(link.mark(link.LOADING))

    def insist_on_list(self) -> None:
        """OtherEngine if the board keeps no list of an update."""
        if not self._room[1]:
            raise OtherEngine(
                f"the board at {self.port} has an engine that learns, but a link of an earlier "
                "release, which knows no LEARN: build its bitstream anew"
            )

    def left(self, program: CompiledProgram) -> None:
        """The weights have come to those of `program`, and stay."""
        self._line.converse(link.mark(image_mark(program.image)))
        self._lasting = None
        self._program, self._held = program, by_place(sorted(image_writes(program.image)))
        self.ended()

    def moving(self, mark: int) -> None:
        """NotLoaded if a board with this mark is not one that was taken."""
        if mark != link.LOADING:
            raise NotLoaded(
                f"the board at {self.port} was reset, switched off, or loaded by somebody else "
                "while it learnt; recover, and learn again from the last checkpoint"
            )

    def write_words(self, rows: Iterable[Write]) -> None:
        """Write words that are no part of a program's image."""
        self._line.converse(link.write_all(rows))

    def repeatedly(self, play: Callable[[], T]) -> T:
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

    def begin(self, program: CompiledProgram) -> None:
        """Have an engine that is idle and clean, for passes up to `ended`; whatever ends one early
        leaves it otherwise."""
        if not self._clean:
            self.insist(self._mark(program), program)
            self._reset(program)
        self._clean = False

    def ended(self, carried: Held = MappingProxyType({})) -> None:
        """The passes have ended well, and leave these words."""
        self._clean, self.carried = True, carried

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
        self._ends = Ends(*self._room)
        self.ended()

    def _reset(self, program: CompiledProgram) -> None:
        """Bring the engine of a board that holds the program to its start."""
        rows = [row for row in image_writes(program.image) if row[0] in CLEARED]
        self._line.converse(link.reset(), resynchronise=True)
        self._line.converse(link.write_all(rows))
        self._ends = Ends(*self._room)
        self.ended()

    def _forget(self) -> None:
        self._program, self._held, self.carried, self._clean = None, {}, {}, False
        self._lasting = None

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

    def insist(self, mark: int | None, program: CompiledProgram) -> None:
        if mark != image_mark(program.image):
            self._clean = False
            raise NotLoaded(
                f"the board at {self.port} does not hold the program any more: it was reset, "
                "switched off, or loaded by somebody else; recover, or load it again"
            )

    def loaded(self) -> CompiledProgram:
        if self._program is None:
            raise NotLoaded(f"no program was loaded into the board at {self.port}; load one first")
        return self._program
