"""A board in plain Python: the link's and the engine's golden twins behind a serial port.

Needs no build and knows nothing of cycles between bytes. Programs are decoded from what the host
has written, so that it computes what a real engine would with the same memories, right or wrong.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice

from echoloom.hdl.checksum import checksum
from echoloom.hdl.commands import (
    ERROR,
    MOST_OUTPUTS,
    MOST_READ,
    REPLY,
    TAKES,
    Command,
    Fault,
    LinkSizes,
    commands_of,
    identity,
)
from echoloom.hdl.golden import GoldenEngine
from echoloom.hdl.numbers import NUMBER_BITS, decode_numbers, encode_numbers
from echoloom.hdl.packets import Packet, PacketDecoder, encode
from echoloom.hdl.pass_results import PassResult, neutral
from echoloom.hdl.update_list import DONE, ENTRY_BITS, LIST
from echoloom.ir.contract import (
    EngineConfig,
    Register,
    Space,
    Timing,
)
from echoloom.ir.engine_passes import BY_ROWS, EnginePass, passes_of
from echoloom.ir.entry_layouts import ADDRESS_BITS, MOST_LANES, MOST_WORDS
from echoloom.ir.fields import written_registers
from echoloom.sim.decode import decoded, signed
from echoloom.sim.golden_list import GoldenList
from echoloom.sim.golden_pass import NoSamples, run_until
from echoloom.sim.golden_store import OUTPUT_POSITIONS, POSITIONS, GoldenStore

CYCLES_A_BYTE = 10  # of what IDENTIFY counts; a line that is as quick as it may be
KHZ = 25_000  # of the clock that it is said to count
MOST_SAMPLES = 1 << 24  # that the engine takes before a pass needs them
PATIENCE_S = 0.05  # for a pass, of who asks whether it is done
CHECKED = 1 << ADDRESS_BITS + 1  # what a CHECK keeps of its count is below it
SIZES = LinkSizes(window=2048, samples=8192, listed=1024)
BUSY, ENDED = 1, 1 << DONE


class GoldenBoard:
    """What is behind the serial line: bytes in, bytes out."""

    def __init__(self, config: EngineConfig, timing: Timing, sizes: LinkSizes = SIZES) -> None:
        self._content, self._sizes, self._learns = (config, timing), sizes, config.learns
        self._lock, self._worker = threading.Lock(), ThreadPoolExecutor(1)
        self._stopped = threading.Event()  # tells the pass under way
        self.configure()

    def configure(self) -> None:
        """As after power-up: nothing is loaded."""
        with self._lock:
            self._memory: dict[tuple[int, int, int], int] = {}
            self._list = GoldenList(self._sizes.listed)
            self._reset()

    def reset(self) -> None:
        """The button, or a break: link and engine are as new, memories keep their contents."""
        with self._lock:
            self._reset()

    def _reset(self) -> None:
        self._decoder = PacketDecoder()
        self._mark = self._cycles = 0
        self._reset_engine()

    def _reset_engine(self) -> None:
        cleared = (Space.SECTION, Space.REGISTER)
        self._memory = {at: word for at, word in self._memory.items() if at[0] not in cleared}
        self._store = GoldenStore(self._sizes.samples)
        self._list.reset()
        self._samples: deque[int] = deque()  # that the engine has taken
        self._outputs: deque[int] = deque()  # that the host may not have
        self._had = 0  # the position of the first of these
        self._pass: EnginePass | None = None  # the COMMAND under way
        self._stopped.set()
        self._stopped = threading.Event()
        self._running: tuple[GoldenEngine, Future[PassResult]] | None = None
        self._status = 0
        self._kept = 0, 0  # what the engine measured and counted for its next pass

    def feed(self, received: bytes) -> bytes:
        """The board's answer to more bytes from the host."""
        with self._lock:
            replies = b""
            for packet in self._decoder.feed(received):
                code, payload = self._answer(packet)
                replies += encode(code, payload, packet.sequence)
            self._cycles += CYCLES_A_BYTE * (len(received) + len(replies))
            return replies

    def _answer(self, packet: Packet) -> tuple[int, bytes]:
        if not packet.intact:
            return ERROR, bytes([Fault.CHECK])
        if packet.code not in commands_of(self._learns, self._sizes.checks):
            return ERROR, bytes([Fault.UNKNOWN])
        command = Command(packet.code)
        try:
            numbers = decode_numbers(packet.payload)
        except ValueError:
            return ERROR, bytes([Fault.LENGTH])
        least, most = TAKES[command]
        belong = least <= len(numbers) <= most
        if command is Command.READ:
            belong = belong and 0 < numbers[-1] % 256 <= MOST_READ
        if not belong:
            return ERROR, bytes([Fault.LENGTH])
        return command | REPLY, encode_numbers(self._carry_out(command, numbers))

    def _carry_out(self, command: Command, numbers: list[int]) -> Sequence[int]:
        """The numbers of the reply."""
        if command is Command.IDENTIFY:
            own = signed(identity(*self._content), NUMBER_BITS)
            sizes = self._sizes
            listed = (sizes.listed,) if self._learns else ()
            return own, self._mark, self._cycles, KHZ, sizes.window, sizes.samples, *listed
        if command is Command.RESET:
            self._reset_engine()
        elif command is Command.MARK:
            (self._mark,) = numbers
        elif command is Command.WRITE:
            space, lane, address, *words = numbers
            for at, word in enumerate(words, address):
                self._write(*_place(space, lane, at), word % (1 << NUMBER_BITS))
        elif command is Command.READ:
            space, lane, address, count = numbers
            words = [self._read(*_place(space, lane, address + at)) for at in range(count % 256)]
            return [signed(word % (1 << NUMBER_BITS), NUMBER_BITS) for word in words]
        elif command is Command.CHECK:
            space, lane, address, count = numbers
            places = (_place(space, lane, address + at) for at in range(count % CHECKED))
            words = (self._read(*at) for at in places)
            return (signed(checksum(words), NUMBER_BITS),)
        elif command is Command.PLAY:
            self._store.play(*numbers)
            self._advance()
        elif command is Command.PUSH:
            self._store.push(*numbers)
            self._advance()
            return self._store.filled % POSITIONS, self._store.reached % POSITIONS
        elif command is Command.LEARN:
            self._list.learn(*numbers)
            self._list.play(self._write, self._read)
            return self._list.answer
        else:
            return self._collect(*numbers)
        return ()

    def _collect(self, had: int, wait: int) -> Sequence[int]:
        """Everything here is done when it is asked for: `wait` or not."""
        for _ in range(min((had - self._had) % OUTPUT_POSITIONS, len(self._outputs))):
            self._outputs.popleft()
            self._had += 1
        self._finish()
        made = (self._had + len(self._outputs)) % OUTPUT_POSITIONS
        return self._status, made, *list(self._outputs)[:MOST_OUTPUTS]

    def _write(self, space: int, lane: int, address: int, word: int) -> None:
        busy = self._pass is not None
        if self._learns and space == LIST:
            self._list.write(address, word)
        elif space != Space.REGISTER and not busy:
            self._memory[space, lane, address] = word
        elif space == Space.REGISTER and address != Register.COMMAND:
            self._memory[space, 0, address] = word
        elif space == Space.REGISTER and not busy and word in passes_of(self._learns):
            self._pass, self._status = EnginePass(word), BUSY
            self._advance()

    def _read(self, space: int, lane: int, address: int) -> int:
        if self._learns and space == LIST:
            return self._list.read(address) % (1 << ENTRY_BITS)
        if (space, address) == (Space.REGISTER, Register.STATUS):
            self._finish()
            return self._status
        config, word = self._content[0], self._memory.get((space, lane, address), 0)
        bits = {
            Space.WEIGHT: config.narrow,
            Space.VECTOR: config.word,
            Space.GRADIENT: config.gradient_bits,
        }
        return signed(word, bits[Space(space)]) if space in bits else word

    def _register(self, register: Register) -> int:
        bits = written_registers(self._content[0]).get(register, NUMBER_BITS)
        return self._memory.get((Space.REGISTER, 0, register), 0) % (1 << bits)

    def _advance(self) -> None:
        """Run the pass under way once all its samples are there."""
        room = min(POSITIONS, MOST_SAMPLES - len(self._samples))
        self._samples += islice(self._store.played(), room)
        length = self._register(Register.LENGTH)
        frame = 0 if self._pass in BY_ROWS else self._register(Register.FRAME)
        if self._pass is None or self._running or len(self._samples) < length * frame:
            return
        frames: Sequence[Sequence[int]] = NoSamples(length)
        if frame:
            frames = [[self._samples.popleft() for _ in range(frame)] for _ in range(length)]
        registers = {register: self._register(register) for register in neutral(self._pass)}
        try:
            engine = GoldenEngine(decoded(*self._content, self._memory))
        except (IndexError, KeyError, ValueError):
            return  # a program of nonsense: the pass never ends
        for lane, bank in enumerate(engine.gradient):
            bank[:] = (self._read(Space.GRADIENT, lane, at) for at in range(len(bank)))
        engine.peak, engine.clamped = self._kept
        engine.begin(self._pass, frames=frames, registers=registers)
        run = partial(run_until, engine, self._stopped)
        self._running = engine, self._worker.submit(run)

    def _finish(self) -> None:
        """Take what the pass under way gave, if that is there soon."""
        if self._running is None:
            return
        engine, future = self._running
        try:
            found = future.result(PATIENCE_S)
        except (TimeoutError, IndexError, KeyError, ValueError):
            return  # not yet; or never, of a program of nonsense
        self._kept = engine.peak, engine.clamped
        for space, banks in (
            (Space.WEIGHT, engine.weight),
            (Space.VECTOR, engine.vector),
            (Space.GRADIENT, engine.gradient),
        ):
            self._memory |= {
                (space, lane, address): word
                for lane, bank in enumerate(banks)
                for address, word in enumerate(bank)
            }
        self._outputs += found.outputs
        counted = {
            Register.FLAGS: int(found.flags),
            Register.CYCLES: found.cycles,
            Register.STALLS: 0,
            Register.BUSY: found.busy,
            Register.CLAMPED: found.clamped,
            Register.PEAK: found.peak,
        }
        self._memory |= {(Space.REGISTER, 0, at): value for at, value in counted.items()}
        self._cycles += found.cycles
        self._pass, self._running, self._status = None, None, ENDED


def _place(space: int, lane: int, address: int) -> tuple[int, int, int]:
    """As the host bus cuts it."""
    return space % 16, lane % MOST_LANES, address % MOST_WORDS
