"""What arrives is the same however TCP cuts it, and the same as websockets' own parser makes of it."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.http11 import Request as HttpRequest
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from recorder.feeds.feed import Frame, Request
from recorder.feeds.wire import Wire

URL = "ws://upstream.test/stream"
BYTES_MAX = 1000
TEXT, BINARY, CONT, PING, PONG, CLOSE = (
    Opcode.TEXT,
    Opcode.BINARY,
    Opcode.CONT,
    Opcode.PING,
    Opcode.PONG,
    Opcode.CLOSE,
)


class Seen(NamedTuple):
    """What a client made of a stream."""

    frames: list[Frame]
    ending: tuple[int | None, str] | None
    answers: list[tuple[int, bytes]]


def deflate() -> PerMessageDeflate:
    return PerMessageDeflate(False, False, 15, 15)


def frame(opcode: Opcode, data: bytes = b"", fin: bool = True) -> bytes:
    return WireFrame(opcode, data, fin).serialize(mask=False)


def opened_wire(bytes_max: int = BYTES_MAX) -> Wire:
    wire = Wire(Request(URL), bytes_max)
    wire.greet()
    server = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()])
    server.receive_data(wire.outgoing())
    (request,) = server.events_received()
    assert isinstance(request, HttpRequest)
    server.send_response(server.accept(request))
    assert wire.feed(b"".join(server.data_to_send())) == []
    assert wire.opened
    return wire


def answers_in(data: bytes) -> list[tuple[int, bytes]]:
    server = ServerProtocol(state=State.OPEN)
    server.receive_data(data)
    return [(event.opcode, bytes(event.data)) for event in server.events_received() if isinstance(event, WireFrame)]


def seen_by_us(pieces: list[bytes]) -> Seen:
    wire = opened_wire()
    frames: list[Frame] = []
    for piece in pieces:
        if not wire.over:
            frames += wire.feed(piece)
    return Seen(frames, wire.ending[:2] if wire.over else None, answers_in(wire.outgoing()))


def seen_by_websockets(stream: bytes) -> Seen:
    """The yardstick: the library alone, given everything at once."""
    client = ClientProtocol(parse_uri(URL), state=State.OPEN, max_size=BYTES_MAX)
    client.extensions = [deflate()]
    client.receive_data(stream)
    frames: list[Frame] = []
    joined, opcode = b"", Opcode.TEXT
    for event in client.events_received():
        assert isinstance(event, WireFrame)
        if event.opcode in (TEXT, BINARY):
            joined, opcode = b"", event.opcode
        if event.opcode in (TEXT, BINARY, CONT):
            joined += event.data
            if event.fin:
                frames.append(Frame(joined, opcode is TEXT))
    close = client.close_rcvd if client.close_rcvd_then_sent else client.close_sent
    ending = (int(close.code), close.reason) if close else None
    return Seen(frames, ending, answers_in(b"".join(client.data_to_send())))


def every_kind_of_frame() -> bytes:
    zipped = deflate()

    def compressed(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
        return WireFrame(opcode, data, fin).serialize(mask=False, extensions=[zipped])

    return b"".join(
        [
            frame(TEXT, b"first"),
            frame(TEXT),
            frame(TEXT, b"x" * 126),
            b"\x81\x7f" + struct.pack("!Q", 5) + b"eight",  # a length in eight bytes
            b"\x82\x7e" + struct.pack("!H", 3) + b"two",
            frame(BINARY, b"\x00\xff"),
            frame(TEXT, b"\xff not UTF-8 \xc3"),
            frame(PING, b"ping"),
            frame(PONG),
            frame(TEXT, b"one ", fin=False) + frame(CONT, b"", fin=False) + frame(CONT, b"message"),
            frame(BINARY, b"a", fin=False) + frame(PING, b"between") + frame(CONT, b"b"),
            compressed(TEXT, b"compressed compressed compressed"),
            frame(TEXT, b"not compressed"),
            compressed(TEXT, b"compressed ", fin=False) + frame(PING) + compressed(CONT, b"compressed"),
            compressed(BINARY, b"compressed" * 50),
            frame(TEXT, b"last"),
            frame(CLOSE, struct.pack("!H", 1001) + "going äway".encode()),
            frame(TEXT, b"after the end"),
        ]
    )


def test_every_kind_of_frame_is_the_same_cut_at_every_byte() -> None:
    stream = every_kind_of_frame()
    expected = seen_by_websockets(stream)
    assert len(expected.frames) == 14 and expected.ending == (1001, "going äway")
    for cut in range(len(stream) + 1):
        assert seen_by_us([stream[:cut], stream[cut:]]) == expected, cut


def test_a_byte_at_a_time_makes_no_difference() -> None:
    stream = every_kind_of_frame()
    assert seen_by_us([bytes([byte]) for byte in stream]) == seen_by_websockets(stream)


MASKED = WireFrame(TEXT, b"masked").serialize(mask=True)
bomb = zlib.compressobj(wbits=-15)
BOMB = bomb.compress(b"0" * 100_000) + bomb.flush(zlib.Z_SYNC_FLUSH)

VIOLATIONS = {
    "masked": (1002, MASKED),
    "reserved bit 2": (1002, b"\xa1\x02ab"),
    "reserved bit 3": (1002, b"\x91\x02ab"),
    "reserved opcode 3": (1002, b"\x83\x02ab"),
    "reserved opcode 11": (1002, b"\x8b\x00"),
    "fragmented ping": (1002, b"\x09\x00"),
    "ping of 126 bytes": (1002, b"\x89\x7e\x00\x7e" + b"p" * 126),
    "continuation of nothing": (1002, frame(CONT, b"c")),
    "message within a message": (1002, frame(TEXT, b"a", fin=False) + frame(TEXT, b"b")),
    "compressed continuation": (1002, b"\x41\x00" + b"\xc0\x01a"),
    "broken compression": (1002, b"\xc1\x04\xff\xff\xff\xff"),
    "close of one byte": (1002, b"\x88\x01\x03"),
    "close code 1005": (1002, b"\x88\x02" + struct.pack("!H", 1005)),
    "close reason not UTF-8": (1007, b"\x88\x03" + struct.pack("!H", 1000) + b"\xff"),
    "oversize": (1009, b"\x81\x7e" + struct.pack("!H", BYTES_MAX + 1) + b"x" * (BYTES_MAX + 1)),
    "absurd size": (1009, b"\x82\x7f" + b"\xff" * 8),
    "oversize in fragments": (1009, frame(TEXT, b"x" * BYTES_MAX, fin=False) + frame(CONT, b"y")),
    "decompression bomb": (1009, b"\xc1" + bytes([126]) + struct.pack("!H", len(BOMB)) + BOMB),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_refused_wherever_it_is_cut_and_its_neighbour_is_kept(name: str) -> None:
    code, violation = VIOLATIONS[name]
    stream = frame(TEXT, b"neighbour") + violation + frame(TEXT, b"too late")
    expected = seen_by_websockets(stream)
    assert expected.frames == [Frame(b"neighbour")] and expected.ending and expected.ending[0] == code
    for cut in range(len(stream) + 1):
        assert seen_by_us([stream[:cut], stream[cut:]]) == expected, cut


@pytest.mark.parametrize("header", [b"\x81\xff", b"\x83", b"\x81\x7e\xff\xff", b"\x82\x7f" + b"\xff" * 8])
def test_a_header_that_can_only_be_refused_is_not_waited_on(header: bytes) -> None:
    wire = opened_wire()
    wire.feed(header.ljust(2, b"\x10"))
    assert wire.over


def test_the_limit_itself_is_allowed() -> None:
    whole = frame(TEXT, b"x" * BYTES_MAX)
    in_two = frame(TEXT, b"x" * (BYTES_MAX - 1), fin=False) + frame(CONT, b"x")
    assert seen_by_us([whole + in_two]).frames == [Frame(b"x" * BYTES_MAX)] * 2


pieces_of_a_stream = st.lists(
    st.one_of(
        st.builds(frame, st.sampled_from([TEXT, BINARY, CONT]), st.binary(max_size=300), st.booleans()),
        st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=20)),
        st.binary(min_size=1, max_size=12),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(pieces_of_a_stream, st.lists(st.integers(0, 2000), max_size=8))
def test_anything_at_all_is_what_websockets_makes_of_it(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    ours = seen_by_us([stream[a:b] for a, b in pairwise(bounds)])
    theirs = seen_by_websockets(stream)
    # Where the stream ends within a frame we may not have looked at it yet; what is complete is the same.
    if ours.ending is None and theirs.ending is not None:
        theirs = theirs._replace(ending=None, answers=theirs.answers[:-1])
    assert ours == theirs


def test_hanging_up_still_delivers_until_the_peer_closes() -> None:
    wire = opened_wire()
    assert wire.close(4000, "Proactive rotation")
    assert not wire.close(4000, "again")
    assert wire.feed(frame(TEXT, b"on its way")) == [Frame(b"on its way")] and not wire.over
    assert wire.feed(frame(CLOSE, struct.pack("!H", 4000)) + frame(TEXT, b"too late")) == []
    assert wire.over and wire.ending == (4000, "Proactive rotation", True)


def test_a_close_reason_is_cut_to_what_a_close_frame_holds() -> None:
    wire = opened_wire()
    wire.close(1000, "ä" * 100)
    (answer,) = answers_in(wire.outgoing())
    assert answer == (CLOSE, struct.pack("!H", 1000) + ("ä" * 61).encode())


def test_a_peer_that_just_goes_is_1006() -> None:
    wire = opened_wire()
    assert wire.feed(frame(TEXT, b"whole") + frame(TEXT, b"torn")[:-1]) == [Frame(b"whole")]
    wire.eof()
    assert wire.over and wire.ending == (1006, "", False)


def test_messages_in_the_segment_of_the_handshake_are_not_lost_at_any_cut() -> None:
    for cut in range(1, 190):
        wire = Wire(Request(URL), BYTES_MAX)
        wire.greet()
        server = ServerProtocol()
        server.receive_data(wire.outgoing())
        (request,) = server.events_received()
        assert isinstance(request, HttpRequest)
        server.send_response(server.accept(request))
        stream = b"".join(server.data_to_send()) + frame(TEXT, b"first") + frame(TEXT, b"second")
        assert wire.feed(stream[:cut]) + wire.feed(stream[cut:]) == [Frame(b"first"), Frame(b"second")], cut


def test_a_header_value_that_http_forbids_is_named_without_being_shown() -> None:
    wire = Wire(Request(URL, (("x-api-key", "SECRET\n"),)), BYTES_MAX)
    with pytest.raises(ValueError, match="x-api-key") as caught:
        wire.greet()
    assert "SECRET" not in str(caught.value)
