"""The engine behind AXI4-Lite in plain Python: the same registers, the same words, no cycles.

A sweep is over as soon as all of its samples are there. Programs are decoded from the memories, as
in the golden board, so that whatever a host has loaded plays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from echoloom.backends.link.image_writes import image_writes
from echoloom.hdl.axi import register_map as book
from echoloom.hdl.axi.lite import Response
from echoloom.hdl.axi.register_map import ENGINE_BASE, WORD_BYTES, Access, Own
from echoloom.hdl.axi.registers import Presets
from echoloom.hdl.commands import identity
from echoloom.hdl.golden import GoldenEngine
from echoloom.hdl.pass_results import neutral
from echoloom.ir.contract import Image, Register, Space
from echoloom.ir.engine_passes import BY_ROWS, EnginePass, passes_of
from echoloom.ir.fields import written_registers
from echoloom.sim.decode import decoded, signed

HALF = 32
LOW = (1 << HALF) - 1
ENTRIES = {entry.offset: entry for entry in book.REGISTERS}
Place = tuple[int, int, int]


class GoldenAxi:
    """An AxiTop that holds `image` from the start, and `registers` beside FRAME."""

    def __init__(
        self, image: Image, registers: Mapping[Register, int], presets: Presets | None = None
    ) -> None:
        self._sizes = image.config, image.timing
        self._written = {int(at): bits for at, bits in written_registers(image.config).items()}
        self._presets = presets or Presets()
        start = {(int(s), lane, at): word for s, lane, at, word in image_writes(image)}
        start |= {(0, 0, int(register)): word for register, word in registers.items()}
        self._memory = dict(start)
        self._start = start
        self._mark = self._presets.mark
        self.reset()

    def reset(self) -> None:
        """`aresetn`: everything but the memories and the mark."""
        self._control = book.SELF_START.mask if self._presets.self_start else 0
        self._output_words = self._presets.output_words
        self._target = self._upper_read = self._upper_write = 0
        self._outputs: deque[tuple[int, bool]] = deque()
        self._clear()

    def _clear(self) -> None:
        # Registers are as they were at first; a section that was not there then is gone.
        kept = {
            at: word
            for at, word in self._memory.items()
            if at[0] != Space.REGISTER and (at[0] != Space.SECTION or at in self._start)
        }
        first = {at: word for at, word in self._start.items() if at[0] == Space.REGISTER}
        self._memory = kept | first
        self._samples: deque[int] = deque()
        self._packet = 0
        self._sweep: EnginePass | None = None
        self._done = False
        self._kept = 0, 0  # what the engine measured and counted for its next pass

    @property
    def busy(self) -> bool:
        """Whether a sweep waits for samples."""
        return self._sweep is not None

    def read(self, offset: int) -> tuple[int, Response]:
        """What a read of the word at a byte offset is answered with."""
        entry = ENTRIES.get(offset - offset % WORD_BYTES)
        if entry is None:
            return 0, Response.SLVERR
        return self._read(entry.offset), Response.OKAY

    def _read(self, offset: int) -> int:
        if _is_word(offset):
            if offset % (2 * WORD_BYTES):
                return self._upper_read
            word = self._engine_read(self._place(offset))
            self._upper_read = word >> HALF & LOW
            self._step(offset)
            return word & LOW
        config = self._sizes[0]
        engine = identity(*self._sizes)
        status = (self.busy, self._done, self._frame_waits, bool(self._outputs))
        return {
            Own.VERSION: book.MAGIC << 16 | book.MAP_VERSION,
            Own.LANES: config.lanes,
            Own.DRAINS: config.drains,
            Own.WORD: config.word,
            Own.IDENTITY_LOW: engine & LOW,
            Own.IDENTITY_HIGH: engine >> HALF,
            Own.MARK_LOW: self._mark & LOW,
            Own.MARK_HIGH: self._mark >> HALF,
            Own.CONTROL: self._control,
            Own.STATUS: sum(bit << at for at, bit in enumerate(status)),
            Own.OUTPUT_WORDS: self._output_words,
            Own.TARGET: self._target,
        }[Own(offset)]

    def write(self, offset: int, data: int, strobes: int = 0xF) -> Response:
        """What a write is answered with."""
        if strobes != 0xF:
            return Response.SLVERR if strobes else Response.OKAY
        entry = ENTRIES.get(offset - offset % WORD_BYTES)
        if entry is None or entry.access is not Access.BOTH:
            return Response.SLVERR
        self._write(entry.offset, data)
        self._advance()
        return Response.OKAY

    def _write(self, offset: int, data: int) -> None:
        if _is_word(offset):
            if offset % (2 * WORD_BYTES):
                self._upper_write = data
                return
            self._engine_write(self._place(offset), self._upper_write << HALF | data)
            self._upper_write = 0
            self._step(offset)
        elif offset == Own.CONTROL:
            self._control = data & (book.SELF_START.mask | book.INTERRUPT.mask)
            if data & book.RESET.mask:
                self._clear()
        elif offset == Own.OUTPUT_WORDS:
            self._output_words = data
        elif offset == Own.TARGET:
            self._target = data & sum(field.mask for field in book.TARGET)
        else:
            keep = LOW << HALF if offset == Own.MARK_LOW else LOW
            self._mark = self._mark & keep | data << (0 if offset == Own.MARK_LOW else HALF)

    def push(self, word: int) -> None:
        """A sample."""
        self._samples.append(signed(word, self._sizes[0].word))
        self._advance()

    def take(self) -> list[tuple[int, bool]]:
        """The outputs so far, and which of them end a packet."""
        taken = list(self._outputs)
        self._outputs.clear()
        return taken

    def _place(self, offset: int) -> Place:
        if offset >= ENGINE_BASE:
            return Space.REGISTER, 0, (offset - ENGINE_BASE) // (2 * WORD_BYTES)
        space, lane, address = (
            (self._target & field.mask) >> field.low
            for field in (book.SPACE, book.LANE, book.ADDRESS)
        )
        return space, lane, address

    def _step(self, offset: int) -> None:
        if offset == Own.DATA_LOW:
            address = self._target + 1 & book.ADDRESS.mask
            self._target = self._target & ~book.ADDRESS.mask | address

    def _engine_write(self, place: Place, word: int) -> None:
        space, _, address = place
        if place == (Space.REGISTER, 0, Register.COMMAND):
            if not self.busy and word in passes_of(self._sizes[0].learns):
                self._sweep, self._done = EnginePass(word), False
        elif space == Space.REGISTER:
            bits = self._written.get(address)
            if bits is not None:
                self._memory[place] = word & (1 << bits) - 1
        elif not self.busy:
            self._memory[place] = word

    def _engine_read(self, place: Place) -> int:
        config, word = self._sizes[0], self._memory.get(place, 0)
        bits = {
            Space.WEIGHT: config.narrow,
            Space.VECTOR: config.word,
            Space.GRADIENT: config.gradient_bits,
        }
        if place == (Space.REGISTER, 0, Register.STATUS):
            return self.busy | self._done << 1
        if place[0] in bits:
            return signed(word, bits[Space(place[0])]) & (1 << 2 * HALF) - 1
        return word

    def _register(self, register: Register) -> int:
        return self._memory.get((Space.REGISTER, 0, register), 0)

    @property
    def _frame_waits(self) -> bool:
        return len(self._samples) >= self._register(Register.FRAME)

    def _advance(self) -> None:
        """Run sweeps while there is one to run, and samples for it."""
        while True:
            own_start = self._control & book.SELF_START.mask and self._frame_waits
            if not self.busy and own_start:
                self._sweep, self._done = EnginePass.FORWARD, False
            length = self._register(Register.LENGTH)
            frame = 0 if self._sweep in BY_ROWS else self._register(Register.FRAME)
            if self._sweep is None or len(self._samples) < frame * length:
                return
            frames = [[self._samples.popleft() for _ in range(frame)] for _ in range(length)]
            self._run(self._sweep, frames)

    def _run(self, kind: EnginePass, frames: list[list[int]]) -> None:
        config = self._sizes[0]
        engine = GoldenEngine(decoded(*self._sizes, self._memory))
        engine.peak, engine.clamped = self._kept
        for lane, bank in enumerate(engine.gradient):
            bank[:] = (
                signed(self._memory.get((Space.GRADIENT, lane, at), 0), config.gradient_bits)
                for at in range(len(bank))
            )
        registers = {register: self._register(register) for register in neutral(kind)}
        found = engine.run(kind, frames=frames, registers=registers)
        self._kept = engine.peak, engine.clamped
        for space, banks in (
            (Space.WEIGHT, engine.weight),
            (Space.VECTOR, engine.vector),
            (Space.GRADIENT, engine.gradient),
        ):
            self._memory |= {
                (int(space), lane, at): word
                for lane, bank in enumerate(banks)
                for at, word in enumerate(bank)
            }
        counted = {
            Register.FLAGS: int(found.flags),
            Register.CYCLES: found.cycles,
            Register.BUSY: found.busy,
            Register.CLAMPED: found.clamped,
            Register.PEAK: found.peak,
        }
        self._memory |= {(0, 0, int(at)): value for at, value in counted.items()}
        for word in found.outputs:
            self._packet += 1
            last = bool(self._output_words) and self._packet >= self._output_words
            self._outputs.append((word, last))
            self._packet *= not last
        self._sweep, self._done = None, True


def _is_word(offset: int) -> bool:
    """Whether a register is half of a word of the engine's."""
    return offset >= ENGINE_BASE or offset in (Own.DATA_LOW, Own.DATA_HIGH)
