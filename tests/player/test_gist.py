from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.player.gist import CHARACTERS_MAX, gist, of_gap

QUOTE = {"symbol": "AAPL", "name": "Apple Inc.", "price": "227.52", "percentChange": "+0.02%"}


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"data": {"action": "sendArticle", "data": {"title": "Up", "source": "x.com"}}}, "x.com: Up"),
        ({"data": {"action": "sendArticle", "data": {"title": "Up"}}}, "Up"),
        ({"data": {"link": "https://x.com/1", "title": "Missed", "source": "x.com"}}, "x.com: Missed"),  # over REST
        ({"data": {"action": "admit", "leaseId": "1"}}, 'admit {"leaseId":"1"}'),
        (
            {"data": [{"metadata": {"reset": 1}}, QUOTE, {**QUOTE, "symbol": "X"}]},
            "AAPL 227.52 +0.02%  X 227.52 +0.02%",
        ),
        ({"data": {"quote": QUOTE, "similar": []}}, "AAPL 227.52 +0.02%"),
        ({"data": {"quote": None}}, '{"quote":null}'),
        ({"data": {"actives": [], "indices": [{"name": "S&P", "value": 5.5, "percentChange": "-1%"}]}}, "S&P 5.5 -1%"),
        ({"data": {"status": "Open", "reason": "Regular", "timestamp": "t"}}, "Open: Regular"),
        ({"data": {"event": "gap.opened", "cause": "silence", "x": None}}, "gap.opened cause silence"),
        ({"text": 'say "hi"\n\x1b[2J\u202e'}, 'say "hi"  [2J '),
        ({"bytes": "/wA="}, "3 bytes that are no text"),
    ],
)
def test_a_message_is_what_it_is_about_in_one_line(told: dict[str, Any], text: str) -> None:
    assert gist(told) == text


def test_a_gap_begins_and_has_ended() -> None:
    gap = {"feed": "x", "channel": "AAPL", "since": "2026-01-31T12:00:00.000000000Z", "until": None, "cause": "silence"}
    assert of_gap(gap) == "gap of AAPL begins: silence"
    ended = {**gap, "channel": "", "until": "2026-01-31T12:00:07.000000000Z"}
    assert of_gap(ended) == "gap has ended, 12:00:00 to 12:00:07: silence"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["action", "data", "title", "source", "symbol", "price", "quote", "indices", "event", "status"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_an_upstream_sends_is_one_printable_line(data: Any) -> None:
    text = gist({"data": data})
    assert text.isprintable()
    assert len(text) <= CHARACTERS_MAX
