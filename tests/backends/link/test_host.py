"""The host's side of the link over a serial port: a pseudo-terminal with a fake board behind."""

from __future__ import annotations

import os
import threading
import time

import pytest

from echoloom.backends.link import conversation as host
from echoloom.backends.link.serial import SerialPort
from echoloom.hdl.link import ERROR, REPLY, Command, Fault, identity
from echoloom.hdl.packets import FLUSH, PacketDecoder, encode
from echoloom.ir.contract import EngineConfig, Register, Space, Timing

CONFIG = EngineConfig(lanes=2, drains=1)


@pytest.fixture
def board():
    """board(answer) -> an open port; `answer` turns a command's packet into raw reply bytes."""
    far, near = os.openpty()
    ports = []

    def serve(answer):
        decoder = PacketDecoder()
        try:
            while received := os.read(far, 1000):
                for code, payload, intact in decoder.feed(received):
                    os.write(far, answer(code, payload, intact))
        except OSError:
            pass  # the near end was closed

    def start(answer):
        ports.append(SerialPort(os.ttyname(near), timeout_s=0.3))
        os.close(near)
        threading.Thread(target=serve, args=[answer], daemon=True).start()
        return ports[0]

    yield start
    for port in ports:
        port.close()


def test_conversation_over_a_serial_port(board):
    def answer(code, payload, intact):
        assert intact
        if code == Command.READ:
            count, start = payload[0], payload[3]
            words = b"".join((start + i).to_bytes(8, "little") for i in range(count))
            return encode(code | REPLY, words)
        return encode(code | REPLY, identity(CONFIG, Timing()).to_bytes(8, "little"))

    port = board(answer)
    host.converse(port, host.check_identity(CONFIG, Timing()))
    # More than one packet's worth, with bytes that a terminal would take for control characters.
    words = host.converse(port, host.read(Space.VECTOR, 0, 0, 100))
    assert words == list(range(100))


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"", "did not answer RESET"),
        (encode(Command.RESET | REPLY)[:-1], "did not answer RESET"),
        (encode(Command.RESET | REPLY)[:-1] + b"\x00", "reply to RESET arrived damaged"),
        (encode(ERROR, bytes([Fault.CHECK])), "refused RESET: a packet arrived damaged"),
        (encode(ERROR, bytes([Fault.UNKNOWN])), "refused RESET: it does not know"),
        (encode(ERROR, bytes([9])), "reply to RESET has the code 0xff"),
        (encode(Command.PUSH | REPLY, b"\x01"), "reply to RESET has the code 0x84"),
    ],
)
def test_anything_but_the_reply_is_an_error(board, reply, message):
    with pytest.raises(host.LinkError, match=message):
        host.converse(board(lambda *packet: reply), host.reset())


@pytest.mark.parametrize(
    ("conversation", "code", "payload"),
    [
        (host.read(Space.VECTOR, 0, 0, 2), Command.READ, bytes(8)),
        (host.fetch(), Command.FETCH, bytes(6)),
        (host.push([1, 2]), Command.PUSH, b"\x03"),
        (host.check_identity(CONFIG, Timing()), Command.IDENTIFY, bytes(8)),
    ],
)
def test_reply_that_makes_no_sense(conversation, code, payload):
    assert next(conversation)[1] == code
    with pytest.raises(host.LinkError):
        conversation.send(payload)


def test_resynchronise_drops_what_is_left(board):
    replies = [b"left over", encode(Command.RESET | REPLY)]
    port = board(lambda *packet: replies.pop(0))
    port.write(encode(Command.RESET))
    host.resynchronise(port)
    host.converse(port, host.reset())
    assert replies == []


def test_samples_that_do_not_fit():
    with pytest.raises(ValueError, match="does not fit in 32 bits"):
        next(host.push([1 << 31]))
    with pytest.raises(ValueError, match="1 to 63 samples, got 64"):
        next(host.push([0] * 64))


def test_not_a_serial_port(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file is not a serial port: Inappropriate ioctl for device"):
        SerialPort(str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError):
        SerialPort(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="no serial speed of 12345 baud"):
        SerialPort(str(tmp_path / "file"), baud=12345)


def test_flush_is_longer_than_any_packet():
    assert len(encode(1, bytes(255))) <= FLUSH


@pytest.mark.parametrize(
    ("conversation", "sentence"),
    [
        (host.write(Space.WEIGHT, 256, 0, [1]), "got lane 256 and address 0"),
        (host.write(Space.WEIGHT, 0, 65_530, [1] * 7), "got lane 0 and address 65536"),
        (host.read(Space.WEIGHT, 0, 65_536, 1), "got lane 0 and address 65536"),
        (host.run_pass(1, [], {Register.LENGTH: 2**32}), "LENGTH holds 0 to 4294967295"),
        (host.run_pass(1, [], {Register.OUTPUT_STEP: 65_536}), "OUTPUT_STEP holds 0 to 65535"),
    ],
)
def test_what_a_packet_or_a_register_would_cut_is_refused_before_it_is_sent(conversation, sentence):
    with pytest.raises(ValueError, match=sentence):
        next(conversation)


def test_a_port_by_url_gives_what_is_there_at_once():
    begin = time.monotonic()
    with SerialPort("loop://", timeout_s=4) as port:
        port.write(b"abc")
        assert [port.read(2), port.read(260)] == [b"ab", b"c"]
    assert time.monotonic() - begin < 3, "it waited for bytes that nobody sends"
    with pytest.raises(OSError, match=r"closed|not open"):
        port.write(b"d")
