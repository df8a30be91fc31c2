"""How fast one listener is replayed to at speed=max: 250-byte messages, as JSON text frames and as Arrow.

The yardstick is a bare `websockets` send() loop that sends the very texts the replay sends, ready-made. Both have a
reader in a process of its own that throws everything away. The recording is sealed Parquet, read while it is played;
each message is looked at whether it is JSON, and is in the digest that the end tells.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path

import _bare_send
import _recording
from _bench import Report, apart, arguments, beside, run, scratch

from recorder.clock import Clock
from recorder.message import Kind
from recorder.replay.encoding import Encoded, Wanted
from recorder.replay.native import Native
from recorder.replay.port.server import Server
from recorder.replay.selection import Selection
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.settings import Replay

JSON_RATIO_MIN = 3.0
ARROW_RATIO_MIN = 20.0
HOURS = 4
TEXTS = 50_000  # different ones, for the loop
TAIL_BYTES = 400  # the end's text is shorter


def _serve(port_to: Connection, data: Path) -> None:
    async def forever() -> None:
        async with Server({"/replay": Native(Sessions(Timeline(data), Clock(), Replay()))}) as server:
            port_to.send(server.port)
            await asyncio.Event().wait()

    asyncio.run(forever())


def bare(data: Path, messages: int) -> float:
    wanted = Wanted(Selection(kinds=frozenset({Kind.DATA})))
    texts: list[str] = []
    for batch in Timeline(data).batches(1, until_position=TEXTS):
        made = Encoded(wanted, batch)
        texts += [bytes(made.cut(position, position).payload).decode() for position in batch["position"].to_pylist()]
    return _bare_send.rate(texts, messages)


def read(port: int, path: str) -> float:
    """Seconds from the request to the text that says the end."""
    key = base64.b64encode(os.urandom(16)).decode()
    room = bytearray(1 << 20)
    tail = b""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        began = time.perf_counter()
        peer.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b'{"end":' not in tail:
            count = peer.recv_into(room)
            if not count:
                raise RuntimeError(f"it ended early: {tail!r}")
            tail = tail[-TAIL_BYTES:] + room[max(0, count - TAIL_BYTES) : count]
        return time.perf_counter() - began


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--messages", type=int, default=2_000_000, help="recorded and replayed (default 2,000,000)")
    parser.add_argument("--loop-messages", type=int, default=300_000, help="sent by the bare loop (default 300,000)")
    options = parser.parse_args()
    report = Report(f"One listener at speed=max, {_recording.MESSAGE_BYTES}-byte messages", as_json=options.json)
    with scratch(options.dir) as folder:
        data = Path(folder)
        report.said(f"making a recording of {options.messages} messages")
        apart(_recording.make, data, options.messages, HOURS)
        with beside(_serve, data) as port:
            for turn in range(options.rounds):
                report.said(f"round {turn + 1}")
                report.take("bare send() loop", apart(bare, data, options.loop_messages), "messages/s")
                for form in ("json", "arrow"):
                    seconds = apart(read, port, f"/replay?speed=max&format={form}")
                    report.take(f"replay, format={form}", options.messages / seconds, "messages/s")
    for form, least in (("json", JSON_RATIO_MIN), ("arrow", ARROW_RATIO_MIN)):
        ratio = report.median(f"replay, format={form}") / report.median("bare send() loop")
        report.take(f"RATIO {form}", ratio, "x the bare loop")
        report.claim(f"format={form} is at least {least:.0f} x the bare loop: {ratio:.2f}", holds=ratio >= least)
    return report.finish()


if __name__ == "__main__":
    run(main)
