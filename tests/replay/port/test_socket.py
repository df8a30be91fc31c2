from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from recorder.replay.port.socket import encode


def frames(data: bytes) -> list[Frame]:
    """What a client's parser makes of the bytes."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    found = []
    while reader.buffer:
        parser = Frame.parse(reader.read_exact, mask=False)
        try:
            next(parser)
        except StopIteration as done:
            found.append(done.value)
    return found


@pytest.mark.parametrize("length", [0, 1, 125, 126, 32_767, 32_768, 32_769, 65_536, 100_000, 131_072])
def test_long_messages_leave_in_frames_of_32_kb_and_join_to_the_same_bytes(length: int) -> None:
    payload = bytes(ord("a") + index % 26 for index in range(length))
    parts = frames(encode(payload, True, 32 << 10))
    assert b"".join(bytes(part.data) for part in parts) == payload
    assert all(len(part.data) <= 32 << 10 for part in parts)
    assert len(parts) == max(1, -(-length // (32 << 10)))
    assert [part.opcode for part in parts] == [Opcode.TEXT] + [Opcode.CONT] * (len(parts) - 1)
    assert [part.fin for part in parts] == [False] * (len(parts) - 1) + [True]


def test_without_a_limit_a_message_is_one_frame() -> None:
    (part,) = frames(encode(b"x" * 1_000_000, False, None))
    assert (part.opcode, part.fin, len(part.data)) == (Opcode.BINARY, True, 1_000_000)
