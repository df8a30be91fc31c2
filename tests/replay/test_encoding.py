from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from recorder import lifecycle
from recorder.message import Kind
from recorder.replay.batch import BATCH_SCHEMA, Batch
from recorder.replay.encoding import Encoded, Wanted, head
from recorder.replay.selection import Selection

T = 1_769_860_800_000_000_000
DATA = Wanted(Selection(kinds=frozenset({Kind.DATA})), gaps=True)

Row = dict[str, Any]


def row(position: int, text: str | None = "{}", **other: Any) -> Row:
    plain = {"feed": "news", "feed_kind": "finlight", "channel": "", "kind": "data", "connection": 1, "mark": None}
    return {"position": position, "received_ns": T + position, "monotonic_ns": 0, **plain, "text": text, **other}


def batch(rows: list[Row]) -> Batch:
    return pa.RecordBatch.from_pylist(rows, schema=BATCH_SCHEMA)


def gap(position: int, event: str, **fields: Any) -> Row:
    return row(position, lifecycle.entry(event, cause="silence", **fields).decode(), kind="lifecycle")


def encoded(wanted: Wanted, rows: list[Row]) -> Encoded:
    return Encoded(wanted, wanted.rows(batch(rows)))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_head_is_what_websockets_writes(size: int) -> None:
    payload = b"x" * size
    assert head(size) + payload == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert head(size, 2) + payload == Frame(Opcode.BINARY, payload).serialize(mask=False)


TEXTS = st.one_of(
    st.text(),
    st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner, max_size=3)).map(
        lambda value: orjson.dumps(value).decode()
    ),
    st.sampled_from(["{}", "[1,2", "NaN", "1e999", "\ufeff{}", " {} ", "\x00", "x" * 70_000, '"\\ud83d"', "[" * 2000]),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "feed": NAMES,
            "channel": NAMES,
            "kind": st.sampled_from([kind.word for kind in Kind]),
            "connection": st.integers(0, 2**62),
            "mark": st.none() | st.sampled_from(["odd", "initial+odd"]),
            "text": TEXTS.map(lambda text: text.encode(errors="replace").decode()) | st.none(),
            "bytes": st.binary(max_size=20),
        }
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=500)
@given(ROWS)
def test_every_row_is_one_text_frame_of_json_that_says_what_the_row_says(given: list[Row]) -> None:
    rows = [row(n + 1, **each) for n, each in enumerate(given)]
    wanted = Wanted()
    made = encoded(wanted, rows)
    for each in rows:
        cut = made.cut(each["position"], each["position"])
        text = bytes(cut.payload)
        assert bytes(cut.frames) == head(len(text)) + text
        assert (cut.messages, cut.gaps) == (1, 0)
        text.decode()
        start, _, tail = text.decode().partition('"mark":')
        told = orjson.loads(start + '"mark":null}')
        assert [told[name] for name in ("position", "feed", "channel", "kind", "connection")] == [
            each[name] for name in ("position", "feed", "channel", "kind", "connection")
        ]
        key, value = tail.split(",", 1)[1].removesuffix("}").split(":", 1)
        if each["text"] is None:
            assert key == '"bytes"'
        elif key == '"data"':
            assert value == each["text"]
        else:
            assert orjson.loads(value) == each["text"]


@settings(max_examples=200)
@given(ROWS, st.data())
def test_the_bytes_do_not_depend_on_how_messages_are_cut_into_batches(given: list[Row], data: st.DataObject) -> None:
    rows = [row(n + 1, **each) for n, each in enumerate(given)]
    at = data.draw(st.integers(0, len(rows)))
    whole = encoded(Wanted(), rows).cut(1, len(rows))
    parts = [encoded(Wanted(), some).cut(1, len(rows)) for some in (rows[:at], rows[at:]) if some]
    assert b"".join(bytes(part.frames) for part in parts) == bytes(whole.frames)
    assert b"".join(bytes(part.payload) for part in parts) == bytes(whole.payload)


def test_a_gap_is_announced_where_its_entry_stands() -> None:
    rows = [row(1), gap(2, "gap.opened", since_ns=T), row(3), gap(4, "gap.closed", since_ns=T, until_ns=T + 5), row(5)]
    made = encoded(DATA, rows)
    cut = made.cut(1, 5)
    assert (cut.messages, cut.gaps) == (3, 2)
    assert orjson.loads(bytes(made.cut(2, 2).payload)) == {
        "gap": {
            "feed": "news",
            "channel": "",
            "since": "2026-01-31T12:00:00.000000000Z",
            "until": None,
            "cause": "silence",
            "position": 2,
        }
    }
    assert orjson.loads(bytes(made.cut(4, 4).payload))["gap"]["until"] == "2026-01-31T12:00:00.000000005Z"
    assert made.cut(3, 3).messages == 1
    assert made.cut(2, 2).messages == 0


def test_who_wants_the_recorders_entries_gets_the_announcement_behind_the_entry() -> None:
    made = encoded(Wanted(gaps=True), [row(1), gap(2, "gap.opened", since_ns=T)])
    cut = made.cut(2, 2)
    entry, mark = bytes(cut.payload).decode().split('}{"gap"')
    assert orjson.loads(entry + "}")["data"]["event"] == "gap.opened"
    assert orjson.loads('{"gap"' + mark)["gap"]["position"] == 2
    assert bytes(cut.frames) == b"".join(
        head(len(text)) + text for text in (entry.encode() + b"}", b'{"gap"' + mark.encode())
    )
    assert (cut.messages, cut.gaps) == (1, 1)


@pytest.mark.parametrize("text", ['{"event":"gap.opened"', '{"event":"gap.opened"}'])
def test_an_entry_about_a_gap_that_cannot_be_read_is_announced_all_the_same(text: str) -> None:
    cut = encoded(DATA, [row(1, text, kind="lifecycle")]).cut(1, 1)
    told = orjson.loads(bytes(cut.payload))["gap"]
    assert (told["since"], told["until"], told["cause"]) == (None, None, "unknown")


def test_nothing_wanted_is_nothing() -> None:
    cut = encoded(DATA, [row(1, kind="reply")]).cut(1, 1)
    assert (bytes(cut.frames), bytes(cut.payload), cut.messages, cut.gaps) == (b"", b"", 0, 0)
