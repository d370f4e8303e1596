"""The host's side of the link over a serial port: a pseudo-terminal with a fake board behind."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

from echoloom.backends.link import conversation as host
from echoloom.backends.link.carrier import LONGEST, TRIES, Carrier
from echoloom.backends.link.ends import Ends
from echoloom.backends.link.errors import LinkError, PortBusy, PortLost
from echoloom.backends.link.passes import run_pass
from echoloom.backends.link.serial import SerialPort
from echoloom.hdl.commands import ERROR, REPLY, Command, Fault
from echoloom.hdl.numbers import decode_numbers, encode_numbers
from echoloom.hdl.packets import FLUSH, PacketDecoder, encode
from echoloom.ir.contract import Register, Space

TIMEOUT_S = 0.15


@pytest.fixture
def board():
    """board(answer) -> a carrier; `answer` turns a packet into raw reply bytes."""
    far, near = os.openpty()
    ports = []

    def serve(answer):
        decoder = PacketDecoder()
        try:
            while received := os.read(far, 1000):
                for packet in decoder.feed(received):
                    os.write(far, answer(packet))
        except OSError:
            pass  # the near end was closed

    def start(answer):
        ports.append(SerialPort(os.ttyname(near), timeout_s=TIMEOUT_S))
        os.close(near)
        threading.Thread(target=serve, args=[answer], daemon=True).start()
        return Carrier(ports[0])

    yield start
    for port in ports:
        port.close()


def test_conversation_over_a_serial_port(board):
    def answer(packet):
        assert packet.intact
        numbers = [1, 2, 3, 4, 600, 256]
        if packet.code == Command.READ:
            _, _, start, count = decode_numbers(packet.payload)
            numbers = [at - 50 for at in range(start, start + count)]
        return encode(packet.code | REPLY, encode_numbers(numbers), packet.sequence)

    carrier, heard = board(answer), []
    assert carrier.converse(host.identify()) == host.Identity(1, 2, 3, 4, 600, 256)
    # More than one packet's worth, with bytes that a terminal would take for control characters.
    words = carrier.converse(host.read(Space.VECTOR, 0, 0, 100), heard.append)
    assert words == list(range(-50, 50))
    assert [request.numbers[-1] for request in heard] == [25, 25, 25, 25]
    assert (carrier.packets, carrier.repeated) == (5, 0)
    assert carrier.bytes_out == 8 + 4 * 12 + 1  # one address in two bytes
    assert carrier.bytes_in == 8 + 8 + 4 * 8 + 100


def test_several_packets_are_on_the_way_but_no_more_than_a_window(board):
    """Two of these packets are a window; the board answers the first when both are there."""
    waiting, most = [], []

    def answer(packet):
        waiting.append(encode(packet.code | REPLY, b"", packet.sequence))
        most.append(len(waiting))
        if len(waiting) < 2:
            return b""
        told = b"".join(waiting)
        waiting.clear()
        return told

    carrier = board(answer)
    carrier.window = 600
    carrier.converse(host.write(Space.VECTOR, 0, 0, [1 << 60] * 27 * 8))
    assert (carrier.packets, carrier.repeated) == (8, 0)
    assert most == [1, 2] * 4


def test_a_reply_that_is_missing_among_others_is_asked_for_again(board):
    asked = []

    def answer(packet):
        asked.append(decode_numbers(packet.payload)[2])
        lost = asked.count(25) == 1 and asked[-1] == 25
        words = encode_numbers(range(asked[-1], asked[-1] + 25))
        return b"" if lost else encode(packet.code | REPLY, words, packet.sequence)

    carrier = board(answer)
    assert carrier.converse(host.read(Space.VECTOR, 0, 0, 100)) == list(range(100))
    assert asked == [0, 25, 50, 75, 25]
    assert carrier.repeated == 1


OK = Command.RESET | REPLY


def flipped(packet: bytes) -> bytes:
    return packet[:-1] + bytes([packet[-1] ^ 1])


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda n: b"", "reply to RESET did not come"),
        (lambda n: encode(OK, b"", n)[:-1], "reply to RESET did not come"),
        (lambda n: flipped(encode(OK, b"", n)), "reply to RESET arrived damaged"),
        (lambda n: encode(OK, b"", n ^ 1), "reply to RESET did not come"),
        (lambda n: encode(OK, b"\x00", n), "reply to RESET makes no sense: 1 numbers instead of 0"),
        (lambda n: encode(OK, b"\x80", n), "reply to RESET makes no sense: the last number is not"),
        (lambda n: encode(ERROR, bytes([Fault.CHECK]), n), "refused RESET: a packet arrived dam"),
        (lambda n: encode(ERROR, bytes([Fault.UNKNOWN]), n), "refused RESET: it does not know"),
        (lambda n: encode(ERROR, bytes([9]), n), "reply to RESET has the code 0xff"),
        (lambda n: encode(Command.PUSH | REPLY, b"\x01", n), "reply to RESET has the code 0x84"),
    ],
)
def test_anything_but_the_reply_is_an_error_in_time(board, reply, message):
    carrier, begin = board(lambda packet: reply(packet.sequence)), time.monotonic()
    with pytest.raises(LinkError, match=message):
        carrier.converse(host.reset())
    assert time.monotonic() - begin < LONGEST * TIMEOUT_S + 1
    assert carrier.repeated == (0 if "instead of" in message else TRIES - 1)


def test_a_line_that_says_nonsense_forever_is_given_up(board):
    carrier, begin = board(lambda packet: bytes(100_000)), time.monotonic()
    with pytest.raises(LinkError, match="reply to RESET did not come"):
        carrier.converse(host.reset())
    assert time.monotonic() - begin < LONGEST * TIMEOUT_S + 1


def test_a_board_that_is_slower_than_the_time_out_is_waited_for_longer(board):
    def answer(packet):
        time.sleep(1.5 * TIMEOUT_S)
        return encode(packet.code | REPLY, b"", packet.sequence)

    carrier = board(answer)
    carrier.converse(host.reset())
    assert 1 <= carrier.repeated < TRIES


@pytest.mark.parametrize("bad", [b"", b"\xa5", b"\xa5\x81\x00", encode(OK, b"", 0)[:-2] + b"ab"])
def test_one_bad_reply_is_asked_for_again(board, bad):
    replies = [bad]
    carrier = board(
        lambda packet: (
            replies.pop() if replies else encode(packet.code | REPLY, b"", packet.sequence)
        )
    )
    carrier.converse(host.reset())
    assert carrier.repeated == 1


def test_a_pass_is_not_started_twice(board):
    asked = []
    carrier = board(lambda packet: asked.append(packet.code) or b"")
    start = [(Space.REGISTER, 0, Register.LENGTH, 2), (Space.REGISTER, 0, Register.COMMAND, 1)]
    with pytest.raises(LinkError, match="reply to WRITE did not come"):
        carrier.converse(run_pass(Ends(256), start, np.ones((2, 3), np.int64), outputs=4))
    wanted = [Command.WRITE, Command.PLAY, Command.WRITE, Command.PUSH]
    assert asked == [*wanted, Command.COLLECT, Command.COLLECT, Command.IDENTIFY]


def test_a_reply_that_comes_late_is_not_the_next_ones(board):
    """The first READ is given up; its words must not answer the second."""
    late = []

    def answer(packet):
        words = bytes([decode_numbers(packet.payload)[2]])
        late.append(encode(packet.code | REPLY, words, packet.sequence))
        return b"" if len(late) == 1 else b"".join(late[-2:])

    carrier = board(answer)
    assert carrier.converse(host.read(Space.VECTOR, 0, 7, 1)) == [7]
    assert carrier.converse(host.read(Space.VECTOR, 0, 8, 1)) == [8]
    assert carrier.converse(host.read(Space.VECTOR, 0, 9, 1)) == [9]


@pytest.mark.parametrize(
    ("conversation", "code", "numbers"),
    [
        (host.read(Space.VECTOR, 0, 0, 2), Command.READ, [0]),
        (host.identify(), Command.IDENTIFY, [1, 2, 3]),
        (host.write(Space.VECTOR, 0, 0, [1]), Command.WRITE, [1]),
        (host.mark(1), Command.MARK, [1]),
    ],
)
def test_reply_that_makes_no_sense(conversation, code, numbers):
    (request,) = next(conversation)
    assert request.command == code
    with pytest.raises(LinkError, match=f"the board's reply to {code.name} makes no sense"):
        conversation.send([numbers])


def test_not_a_serial_port(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file is not a serial port: Inappropriate ioctl for device"):
        SerialPort(str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError):
        SerialPort(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="no serial speed of 12345 baud"):
        SerialPort(str(tmp_path / "file"), baud=12345)
    with pytest.raises(OSError, match="socket://localhost:1 cannot be opened: Connection refused"):
        SerialPort("socket://localhost:1")


def test_a_port_is_for_one_program():
    far, near = os.openpty()
    path = os.ttyname(near)
    with SerialPort(path), pytest.raises(PortBusy, match="in use by another program"):
        SerialPort(path)
    SerialPort(path).close()
    os.close(far)
    os.close(near)


def test_a_port_that_goes_away():
    far, near = os.openpty()
    with SerialPort(os.ttyname(near), timeout_s=5) as port:
        os.close(near)
        os.close(far)
        for use in (lambda: port.read(1), lambda: port.write(b"x"), port.drop):
            with pytest.raises(PortLost, match="is gone"):
                use()
    with pytest.raises(PortLost, match="is gone"):
        port.read(1)


def test_a_port_that_takes_nothing():
    far, near = os.openpty()
    with SerialPort(os.ttyname(near), timeout_s=TIMEOUT_S) as port:
        begin = time.monotonic()
        with pytest.raises(LinkError, match="takes no bytes any more"):
            port.write(bytes(1 << 20))
        assert time.monotonic() - begin < 1
    os.close(far)
    os.close(near)


def test_flush_is_longer_than_any_packet():
    assert len(encode(1, bytes(255))) <= FLUSH


@pytest.mark.parametrize(
    ("conversation", "sentence"),
    [
        (host.write(Space.WEIGHT, 256, 0, [1]), "got lane 256 and address 0"),
        (host.write(Space.WEIGHT, 0, 65_530, [1] * 7), "got lane 0 and address 65536"),
        (host.read(Space.WEIGHT, 0, 65_536, 1), "got lane 0 and address 65536"),
    ],
)
def test_what_a_packet_would_cut_is_refused_before_it_is_sent(conversation, sentence):
    with pytest.raises(ValueError, match=sentence):
        next(conversation)


def test_a_port_by_url():
    with SerialPort("loop://", timeout_s=4) as port:
        port.write(b"abcd")
        assert [port.read(2), port.read(1)] == [b"ab", b"c"]
        port.drop()
        port.write(b"e")
        assert port.read(1) == b"e"
    with pytest.raises(PortLost, match="is gone"):
        port.write(b"d")
