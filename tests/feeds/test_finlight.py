"""What Finlight is asked, when it is pinged, when it is given up, and what makes an article the same one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from finlight_client.models import GetArticlesWebSocketParams, GetRawArticlesWebSocketParams

from recorder import __version__, settings
from recorder.clock import SECOND_NS, Moment
from recorder.feeds.feed import (
    NEVER_NS,
    Action,
    Alive,
    Frame,
    HangUp,
    Keep,
    Send,
    Suspect,
)
from recorder.feeds.finlight import FinlightConversation, FinlightSubscription
from recorder.message import Kind, Mark, Stream

KEY = "sk_not_for_any_log"
UTC_NS = 1_795_289_590_092_000_000

ARTICLE = b'{"action":"sendArticle","data":{"link":"https://www.reuters.com/a/1","title":"Nvidia headline"}}'
SPACED = b'{"action": "sendArticle", "data": {"link": "https://www.reuters.com/a/1"}}'
ADMIT = b'{"action":"admit","leaseId":"5f0c","serverNow":1795289590092,"clientNonce":"nonce-1"}'
PONG = b'{"action":"pong","t":1795289590092}'
GATEWAY = b'{"message":"Internal server error","connectionId":"Kx=","requestId":"K5-"}'


def at(seconds_: float) -> Moment:
    """A moment so many seconds after the connection opened."""
    return Moment(UTC_NS + int(seconds_ * SECOND_NS), int((1000 + seconds_) * SECOND_NS))


def subscription(kind: str = "finlight", key: str = KEY, **fields: Any) -> FinlightSubscription:
    feed = settings.Finlight.model_validate({"kind": kind, **fields})
    numbers = itertools.count(1)
    return FinlightSubscription("news", feed, key, nonce=lambda: f"nonce-{next(numbers)}")


def opened(kind: str = "finlight", **fields: Any) -> FinlightConversation:
    conversation = subscription(kind, **fields).connect(at(-0.1), takeover=False)
    conversation.opened(at(0))
    return conversation


def told(conversation: FinlightConversation, *payloads: bytes, when: float = 10) -> list[Action]:
    return conversation.received([Frame(payload) for payload in payloads], at(when))


def keeps(actions: Iterable[Action]) -> list[tuple[list[bytes], Kind, Mark]]:
    return [([f.payload for f in a.frames], a.kind, a.mark) for a in actions if isinstance(a, Keep)]


def besides_keeping(actions: Iterable[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Keep)]


def lived(conversation: FinlightConversation, until: float, answer: Sequence[bytes] = ()) -> list[tuple[float, Action]]:
    """Ticks whenever the conversation asks for it; every ping is answered with these frames at once."""
    happened: list[tuple[float, Action]] = []
    while conversation.wake_ns <= at(until).monotonic_ns:
        now = conversation.wake_ns / SECOND_NS - 1000
        for action in conversation.tick(at(now)):
            happened.append((now, action))
            if isinstance(action, Send) and answer:
                told(conversation, *answer, when=now)
    return happened


# --- the request --------------------------------------------------------------------------------------------------


def test_headers_are_in_exact_lower_case() -> None:
    assert subscription().connect(at(0), takeover=False).request.headers == (
        ("x-api-key", KEY),
        ("x-client-version", f"python/recorder@{__version__}"),
        ("user-agent", f"recorder/{__version__}"),
    )


def test_takeover_is_asked_for_only_when_the_channel_wants_it() -> None:
    may = subscription(takeover=True)
    assert may.may_take_over
    assert not subscription().may_take_over
    assert ("x-takeover", "true") in may.connect(at(0), takeover=True).request.headers
    assert "x-takeover" not in dict(may.connect(at(0), takeover=False).request.headers)


def test_no_key_sends_no_key_header() -> None:
    assert "x-api-key" not in dict(subscription(key="").connect(at(0), takeover=False).request.headers)


@pytest.mark.parametrize(
    ("kind", "url", "dialled"),
    [
        ("finlight", "wss://wss.finlight.me", "wss://wss.finlight.me/"),
        ("finlight", "wss://wss.finlight.me/", "wss://wss.finlight.me/"),
        ("finlight", "ws://127.0.0.1:9000/finlight", "ws://127.0.0.1:9000/finlight"),
        ("finlight.raw", "wss://wss.finlight.me", "wss://wss.finlight.me/raw"),
        ("finlight.raw", "wss://wss.finlight.me/", "wss://wss.finlight.me/raw"),
        ("finlight.raw", "wss://wss.finlight.me/raw", "wss://wss.finlight.me/raw"),
        ("finlight.raw", "wss://wss.finlight.me/raw/", "wss://wss.finlight.me/raw"),
        ("finlight.raw", "wss://wss.finlight.me//raw", "wss://wss.finlight.me/raw"),
        ("finlight.raw", "ws://[::1]:9000/finlight/", "ws://[::1]:9000/finlight/raw"),
        ("finlight.raw", "ws://127.0.0.1:9000/session/a/finlight", "ws://127.0.0.1:9000/session/a/finlight/raw"),
        ("finlight.raw", "ws://127.0.0.1:9000/draw", "ws://127.0.0.1:9000/draw/raw"),
    ],
)
def test_url_gets_one_raw_and_keeps_its_path(kind: str, url: str, dialled: str) -> None:
    assert subscription(kind, url=url).connect(at(0), takeover=False).request.url == dialled


def test_url_keeps_its_query() -> None:
    feed = settings.Finlight.model_construct(
        **{**settings.Finlight(kind="finlight.raw").__dict__, "url": "ws://h/a/?b=7"}
    )
    request = FinlightSubscription("news", feed, KEY).connect(at(0), takeover=False).request
    assert request.url == "ws://h/a/raw?b=7"


def test_rotation_is_due_after_rotate_s() -> None:
    wants = subscription(rotate_s=6600)
    assert wants.stream == Stream("news", "finlight")
    assert wants.rotate_at(at(0)) == at(6600).monotonic_ns
    assert wants.farewell == (4000, "Proactive rotation")
    assert (wants.break_first, wants.slots_limited, wants.snapshots) == (False, True, False)


# --- the subscription ---------------------------------------------------------------------------------------------

EVERY_FIELD: dict[str, Any] = {
    "query": "(ticker:AAPL OR ticker:NVDA) AND NOT source:www.reuters.com",
    "sources": ["www.ft.com"],
    "exclude_sources": ["www.cnn.com"],
    "opt_in_sources": ["www.wsj.com"],
    "language": "en",
    "tickers": ["AAPL", "NVDA"],
    "include_content": True,
    "include_entities": True,
    "exclude_empty_content": True,
    "countries": ["US"],
    "categories": ["markets"],
    "include_updates": True,
}


def subscribed(conversation: FinlightConversation) -> dict[str, Any]:
    [sent] = conversation.opened(at(0))
    assert isinstance(sent, Send)
    asked: dict[str, Any] = json.loads(sent.text)
    return asked


def test_subscription_holds_every_documented_field() -> None:
    asked = subscribed(subscription(**EVERY_FIELD).connect(at(0), takeover=False))
    assert asked == {
        "query": EVERY_FIELD["query"],
        "sources": ["www.ft.com"],
        "excludeSources": ["www.cnn.com"],
        "optInSources": ["www.wsj.com"],
        "language": "en",
        "tickers": ["AAPL", "NVDA"],
        "includeContent": True,
        "includeEntities": True,
        "excludeEmptyContent": True,
        "countries": ["US"],
        "categories": ["markets"],
        "includeUpdates": True,
        "clientNonce": "nonce-1",
    }
    # `extended` is the deprecated name of includeContent, the only one that the Python client has.
    assert set(asked) - {"clientNonce", "includeContent"} == set(GetArticlesWebSocketParams.model_fields) - {"extended"}


def test_raw_subscription_holds_every_field_of_the_official_raw_client() -> None:
    raw = {"query", "sources", "exclude_sources", "language", "include_updates"}
    conversation = subscription("finlight.raw", **{name: EVERY_FIELD[name] for name in raw}).connect(
        at(0), takeover=False
    )
    assert set(subscribed(conversation)) == {*GetRawArticlesWebSocketParams.model_fields, "clientNonce"}


def test_unset_fields_are_left_to_the_server() -> None:
    conversation = subscription(include_updates=False).connect(at(0), takeover=False)
    assert subscribed(conversation) == {"clientNonce": "nonce-1"}


def test_every_connection_has_a_fresh_nonce() -> None:
    wants = FinlightSubscription("news", settings.Finlight(kind="finlight"), KEY)
    nonces = {subscribed(wants.connect(at(0), takeover=False))["clientNonce"] for _ in range(20)}
    assert len(nonces) == 20


# --- heartbeat and watchdogs --------------------------------------------------------------------------------------


def test_json_ping_every_25_seconds_with_utc_milliseconds() -> None:
    conversation = opened()
    told(conversation, ADMIT, when=0.1)
    assert conversation.tick(at(24.9)) == []
    assert conversation.tick(at(25)) == [Send('{"action": "ping", "t": 1795289615092}')]
    assert conversation.tick(at(25.1)) == []
    pings = [when for when, action in lived(conversation, 7000, [PONG]) if isinstance(action, Send)]
    assert pings == [25.0 * n for n in range(2, 281)]


def test_no_frame_for_the_pong_time_out_hangs_up() -> None:
    conversation = opened()
    told(conversation, ADMIT, when=1)
    happened = lived(conversation, 1000)
    assert [when for when, action in happened if isinstance(action, Send)] == [25, 50]
    assert happened[-1] == (61, HangUp(1000, "", "silent"))
    assert conversation.wake_ns == NEVER_NS


def test_articles_keep_a_connection_whose_pongs_are_missing() -> None:
    conversation = opened()
    for second in range(0, 600, 20):
        told(conversation, ARTICLE, when=second)
        assert not [a for _, a in lived(conversation, second + 19.9) if not isinstance(a, Send)]


def test_pongs_alone_do_not_prove_a_subscription() -> None:
    conversation = opened()
    happened = lived(conversation, 1000, [PONG])
    assert happened[-1] == (60, HangUp(1000, "", "not admitted"))


@pytest.mark.parametrize("proof", [ADMIT, ARTICLE, SPACED, b'{"action":"admit"}'])
def test_admission_or_an_article_proves_a_subscription(proof: bytes) -> None:
    conversation = opened()
    told(conversation, proof, when=1)
    happened = lived(conversation, 3000, [PONG])
    assert all(isinstance(action, Send) for _, action in happened)


@pytest.mark.parametrize("nothing", [PONG, GATEWAY, b'{"action":"error","data":"bad query"}', b"{", b'{"action":"x"}'])
def test_other_frames_prove_nothing(nothing: bytes) -> None:
    conversation = opened()
    assert not [action for action in told(conversation, nothing) if isinstance(action, Alive)]
    assert lived(conversation, 100, [PONG])[-1] == (60, HangUp(1000, "", "not admitted"))


def test_no_article_for_long_asks_once_for_another_connection() -> None:
    conversation = opened(silence_s=600)
    told(conversation, ADMIT, when=0.1)
    told(conversation, ARTICLE, when=20)
    suspected = [(when, action) for when, action in lived(conversation, 5000, [PONG]) if isinstance(action, Suspect)]
    assert suspected == [(620, Suspect("no article"))]
    told(conversation, ARTICLE, when=5001)
    assert not [a for _, a in lived(conversation, 9000, [PONG]) if isinstance(a, Suspect)]


def test_a_process_that_slept_gives_the_upstream_its_time_once_more() -> None:
    conversation = opened()
    told(conversation, ADMIT, when=1)
    assert conversation.tick(at(300)) == [Send('{"action": "ping", "t": 1795289890092}')]
    told(conversation, PONG, when=300.1)
    assert conversation.tick(at(310)) == []
    assert conversation.wake_ns == at(325).monotonic_ns


def test_a_process_that_slept_also_waits_for_the_admission_once_more() -> None:
    conversation = opened()
    assert [type(action) for action in conversation.tick(at(300))] == [Send]
    assert lived(conversation, 1000, [PONG])[-1] == (360, HangUp(1000, "", "not admitted"))


def test_an_upstream_that_answered_is_excused_again() -> None:
    conversation = opened()
    for second in range(300, 3000, 300):
        assert [type(action) for action in conversation.tick(at(second))] == [Send]
        told(conversation, ADMIT, when=second + 1)


def test_a_process_that_keeps_sleeping_does_not_excuse_a_dead_connection_for_ever() -> None:
    conversation = opened()
    told(conversation, ADMIT, when=1)
    conversation.tick(at(300))
    assert conversation.tick(at(600)) == [HangUp(1000, "", "silent")]


# --- the newest article, at subscription --------------------------------------------------------------------------


def marks(conversation: FinlightConversation, *payloads: bytes, when: float) -> list[Mark]:
    return [mark for frames, kind, mark in keeps(told(conversation, *payloads, when=when)) if kind is Kind.DATA]


def test_enhanced_stream_begins_with_an_article_that_is_no_news() -> None:
    conversation = opened()
    assert marks(conversation, ADMIT, ARTICLE, ARTICLE, when=1) == [Mark.INITIAL, Mark.NONE]
    assert marks(conversation, ARTICLE, b" " + ARTICLE, when=1.1) == [Mark.NONE]


def test_the_initial_article_may_come_without_admission() -> None:
    assert marks(opened(), SPACED, when=1.9) == [Mark.INITIAL]


def test_the_initial_article_may_come_late_after_a_late_admission() -> None:
    conversation = opened()
    told(conversation, ADMIT, when=9)
    assert marks(conversation, ARTICLE, when=10.9) == [Mark.INITIAL]


def test_a_first_article_long_after_admission_is_news() -> None:
    conversation = opened()
    told(conversation, ADMIT, when=1)
    assert marks(conversation, ARTICLE, when=3.1) == [Mark.NONE]
    assert marks(conversation, ARTICLE, when=3.2) == [Mark.NONE]


def test_the_raw_stream_has_no_initial_article() -> None:
    assert marks(opened("finlight.raw"), ADMIT, ARTICLE, ARTICLE, when=1) == [Mark.NONE]


# --- identity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "identity"),
    [
        ('{"link":"https://a"}', ("https://a", False, None)),
        ('{"link":"https://a","isUpdate":false,"revisedDate":null}', ("https://a", False, None)),
        ('{"link":"https://a","isUpdate":true,"revisedDate":"2026-05-26"}', ("https://a", True, "2026-05-26")),
        ('{"link":"https://a","isUpdate":[1],"revisedDate":{"b":[]}}', ("https://a", False, None)),
        ('{"link":"https://a","title":"cut \\ud83d"}', ("https://a", False, None)),
        ('{"link":7}', None),
        ('{"link":["https://a"]}', None),
        ("{}", None),
        ("[]", None),
        ("null", None),
    ],
)
def test_identity_is_link_and_revision(data: str, identity: object) -> None:
    assert subscription().identity(Frame(b'{"action":"sendArticle","data":' + data.encode() + b"}")) == identity


@pytest.mark.parametrize("payload", [ADMIT, PONG, GATEWAY, b"", b"[]", b"[" * 5000, b"\xff"])
def test_nothing_but_an_article_has_an_identity(payload: bytes) -> None:
    assert subscription().identity(Frame(payload)) is None
