"""The host's side of the link over a serial port: a pseudo-terminal with a fake board behind."""

from __future__ import annotations

import os
import struct
import threading
import time

import pytest

from echoloom.backends.link import conversation as host
from echoloom.backends.link.carrier import LONGEST, TRIES, Carrier
from echoloom.backends.link.errors import LinkError, PortBusy, PortLost
from echoloom.backends.link.serial import SerialPort
from echoloom.hdl.link import ERROR, REPLY, Command, Fault
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
        if packet.code == Command.READ:
            count, start = packet.payload[0], packet.payload[3]
            words = b"".join((start + i).to_bytes(8, "little") for i in range(count))
            return encode(packet.code | REPLY, words, packet.sequence)
        return encode(packet.code | REPLY, struct.pack("<QQQ", 1, 2, 3), packet.sequence)

    carrier = board(answer)
    assert carrier.converse(host.identify()) == (1, 2, 3)
    # More than one packet's worth, with bytes that a terminal would take for control characters.
    assert carrier.converse(host.read(Space.VECTOR, 0, 0, 100)) == list(range(100))
    assert (carrier.packets, carrier.repeated) == (5, 0)
    assert carrier.bytes_out == 8 + 4 * 13
    assert carrier.bytes_in == 8 + 24 + 4 * 8 + 800


OK = Command.RESET | REPLY


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda n: b"", "reply to RESET did not come"),
        (lambda n: encode(OK, b"", n)[:-1], "reply to RESET did not come"),
        (lambda n: encode(OK, b"", n)[:-1] + b"\x00", "reply to RESET arrived damaged"),
        (lambda n: encode(OK, b"", n ^ 1), "reply to RESET did not come"),
        (lambda n: encode(OK, b"\x00", n), "reply to RESET makes no sense"),
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
    assert carrier.repeated == (0 if "no sense" in message else TRIES - 1)


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


def test_samples_and_outputs_are_not_moved_twice(board):
    asked = []
    carrier = board(lambda packet: asked.append(packet.code) or b"")
    for conversation in (host.push([1]), host.fetch()):
        with pytest.raises(LinkError, match="did not come"):
            carrier.converse(conversation)
    assert asked == [Command.PUSH, Command.FETCH]


def test_a_reply_that_comes_late_is_not_the_next_ones(board):
    """The first READ is given up; its words must not answer the second."""
    late = []

    def answer(packet):
        words = struct.pack("<q", packet.payload[3])
        late.append(encode(packet.code | REPLY, words, packet.sequence))
        return b"" if len(late) == 1 else b"".join(late[-2:])

    carrier = board(answer)
    assert carrier.converse(host.read(Space.VECTOR, 0, 7, 1)) == [7]
    assert carrier.converse(host.read(Space.VECTOR, 0, 8, 1)) == [8]
    assert carrier.converse(host.read(Space.VECTOR, 0, 9, 1)) == [9]


@pytest.mark.parametrize(
    ("conversation", "code", "payload"),
    [
        (host.read(Space.VECTOR, 0, 0, 2), Command.READ, bytes(8)),
        (host.fetch(), Command.FETCH, bytes(6)),
        (host.push([1, 2]), Command.PUSH, b"\x03"),
        (host.identify(), Command.IDENTIFY, bytes(8)),
        (host.write(Space.VECTOR, 0, 0, [1]), Command.WRITE, bytes(1)),
        (host.mark(1), Command.MARK, bytes(1)),
    ],
)
def test_reply_that_makes_no_sense(conversation, code, payload):
    assert next(conversation).command == code
    with pytest.raises(LinkError):
        conversation.send(payload)


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
        (host.run_pass(1, [], {Register.LENGTH: 2**32}), "LENGTH holds 0 to 4294967295"),
        (host.run_pass(1, [], {Register.OUTPUT_STEP: 65_536}), "OUTPUT_STEP holds 0 to 65535"),
    ],
)
def test_what_a_packet_or_a_register_would_cut_is_refused_before_it_is_sent(conversation, sentence):
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
