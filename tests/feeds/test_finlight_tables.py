"""Each row of the protocol that says what the server may send or how it may end, and what must follow."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import lifecycle, settings
from recorder.clock import SECOND_NS, Moment
from recorder.feeds.feed import (
    NEVER_NS,
    Action,
    Alarm,
    Alive,
    Frame,
    HangUp,
    Keep,
    RetryAfter,
)
from recorder.feeds.finlight import FinlightConversation, FinlightSubscription
from recorder.feeds.finlight_tables import parse, seconds
from recorder.message import Kind, Mark

UTC_NS = 1_795_289_590_092_000_000

ARTICLE = b'{"action":"sendArticle","data":{"link":"https://www.reuters.com/a/1","title":"Nvidia headline"}}'
SPACED = b'{"action": "sendArticle", "data": {"link": "https://www.reuters.com/a/1"}}'
ADMIT = b'{"action":"admit","leaseId":"5f0c","serverNow":1795289590092,"clientNonce":"nonce-1"}'
PONG = b'{"action":"pong","t":1795289590092}'
GATEWAY = b'{"message":"Internal server error","connectionId":"Kx=","requestId":"K5-"}'


def at(seconds_: float) -> Moment:
    """A moment so many seconds after the connection opened."""
    return Moment(UTC_NS + int(seconds_ * SECOND_NS), int((1000 + seconds_) * SECOND_NS))


def subscription(kind: str = "finlight") -> FinlightSubscription:
    feed = settings.Finlight.model_validate({"kind": kind})
    return FinlightSubscription("news", feed, "key", nonce=lambda: "nonce-1")


def opened(kind: str = "finlight") -> FinlightConversation:
    conversation = subscription(kind).connect(at(-0.1), takeover=False)
    conversation.opened(at(0))
    return conversation


def told(conversation: FinlightConversation, *payloads: bytes, when: float = 10) -> list[Action]:
    return conversation.received([Frame(payload) for payload in payloads], at(when))


def keeps(actions: Iterable[Action]) -> list[tuple[list[bytes], Kind, Mark]]:
    return [([f.payload for f in a.frames], a.kind, a.mark) for a in actions if isinstance(a, Keep)]


def besides_keeping(actions: Iterable[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Keep)]


# --- what the server says -----------------------------------------------------------------------------------------

KICK = "kicked by an administrator"
TAKEN = "preempted: another program took over this key's connection; give the recorder a key of its own"
REACTIONS: list[tuple[bytes, list[Action]]] = [
    (ADMIT, [Alive(data=False)]),
    (b'{"action":"admit","leaseId":7,"serverNow":"2026-11-21T20:13:10Z"}', [Alive(data=False)]),
    (b'{"action":"admit","clientNonce":null}', [Alive(data=False)]),
    (
        b'{"action":"admit","clientNonce":"other"}',
        [Alive(data=False), Alarm("feed.nonce_mismatch", "admit for other, we sent nonce-1")],
    ),
    (
        b'{"action":"admit","clientNonce":{"a":[1]}}',
        [Alive(data=False), Alarm("feed.nonce_mismatch", "admit for something that is no text, we sent nonce-1")],
    ),
    (PONG, []),
    (b'{"action":"pong"}', []),
    (
        b'{"action":"preempted","reason":"takeover","newLeaseId":"9a1b"}',
        [RetryAfter(900, TAKEN, loud=True), HangUp(1000, "Preempted by server", "preempted")],
    ),
    (
        b'{"action":"admin_kick","retryAfter":3000}',
        [RetryAfter(3, KICK), HangUp(4003, "Admin kick - retry after 3000ms", KICK)],
    ),
    (
        b'{"action":"admin_kick"}',
        [RetryAfter(900, KICK), HangUp(4003, "Admin kick - retry after 900000ms", KICK)],
    ),
    (
        b'{"action":"error","data":"Rate limit exceeded"}',
        [RetryAfter(60, "rate limited"), HangUp(4001, "Rate limited", "rate limited")],
    ),
    (
        b'{"action":"error","error":"Connection LIMIT"}',
        [RetryAfter(60, "rate limited"), HangUp(4001, "Rate limited", "rate limited")],
    ),
    (
        b'{"action":"error","data":{"message":"Rate limit exceeded"}}',
        [RetryAfter(60, "rate limited"), HangUp(4001, "Rate limited", "rate limited")],
    ),
    (
        b'{"action":"error","data":"","error":"User Blocked"}',
        [RetryAfter(3600, "user blocked", loud=True), HangUp(4002, "User blocked", "user blocked")],
    ),
    (
        b'{"action":"error","data":"blocked: limit reached"}',  # as the official client: limit is looked for first
        [RetryAfter(60, "rate limited"), HangUp(4001, "Rate limited", "rate limited")],
    ),
    (b'{"action":"error","data":"bad query at column 7"}', [Alarm("feed.error", "bad query at column 7")]),
    (b'{"action":"error","data":"cut \\ud83d"}', [Alarm("feed.error", "cut ?")]),
    (b'{"action":"error"}', [Alarm("feed.error", '{"action":"error"}')]),
    (b'{"action":"error","data":[1,2]}', [Alarm("feed.error", '{"action":"error","data":[1,2]}')]),
    (GATEWAY, [Alarm("feed.error", "Internal server error")]),
]


@pytest.mark.parametrize(("payload", "reaction"), REACTIONS)
def test_every_reply_is_kept_and_has_its_reaction(payload: bytes, reaction: list[Action]) -> None:
    conversation = opened()
    actions = told(conversation, payload, when=0.1)
    assert keeps(actions) == [([payload], Kind.REPLY, Mark.NONE)]
    assert besides_keeping(actions) == reaction


@pytest.mark.parametrize(("payload", "reaction"), REACTIONS)
def test_nothing_but_keeping_follows_a_hang_up(payload: bytes, reaction: list[Action]) -> None:
    conversation = opened()
    told(conversation, ADMIT, when=0.1)
    actions = told(conversation, payload, PONG, b'{"action":"preempted"}', ARTICLE, GATEWAY)
    assert [type(action) for action in actions].count(HangUp) == 1
    assert isinstance(actions[-1], HangUp)
    assert besides_keeping(told(conversation, ARTICLE, payload, when=11)) == []
    assert conversation.tick(at(5000)) == []
    assert conversation.closed(4001, "Rate limited", at(5000)) == []
    assert conversation.wake_ns == NEVER_NS


def test_alarms_are_bounded_and_not_repeated() -> None:
    conversation = opened()
    frames = [b'{"action":"error","data":"number %d %s"}' % (n // 2, b"x" * 5000) for n in range(400)]
    alarms = [a for a in told(conversation, *frames) if isinstance(a, Alarm)]
    assert len(alarms) == 20
    assert max(len(alarm.detail) for alarm in alarms) == 300
    lifecycle.entry("feed.error", detail=alarms[0].detail)


def test_any_frame_of_a_proven_connection_is_a_sign_of_life() -> None:
    conversation = opened()
    assert besides_keeping(told(conversation, PONG)) == []
    assert besides_keeping(told(conversation, ADMIT)) == [Alive(data=False)]
    assert besides_keeping(told(conversation, PONG)) == [Alive(data=False)]
    assert besides_keeping(told(conversation, ARTICLE)) == [Alive(data=True)]
    assert besides_keeping(told(conversation, ARTICLE, PONG, SPACED)) == [Alive(data=True)]


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (b"0", 0),
        (b"-5000", 0),
        (b"-1e300", 0),
        (b"1500.5", 1.5005),
        (b"1e300", 86_400),
        (b"1e999", 86_400),
        (b"9" * 400, 86_400),
        (b"9" * 5000, None),  # neither parser reads it: not an object any more
        (b"NaN", 900),
        (b"Infinity", 86_400),
        (b"true", 900),
        (b"null", 900),
        (b"[]", 900),
        (b'"soon"', 900),
        (b'"3000"', 3),
        (b'"nan"', 900),
    ],
)
def test_hostile_waits_are_bounded(value: bytes, wait_s: float | None) -> None:
    actions = told(opened(), b'{"action":"admin_kick","retryAfter":' + value + b"}")
    if wait_s is None:
        assert keeps(actions)[0][1:] == (Kind.DATA, Mark.ODD)
        return
    [wait, hang_up] = besides_keeping(actions)
    assert isinstance(wait, RetryAfter)
    assert isinstance(hang_up, HangUp)
    assert wait.seconds == pytest.approx(wait_s)
    assert len(hang_up.reason.encode()) <= 123  # what a close frame can hold


@given(st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none(), st.lists(st.integers())))
def test_a_wait_is_between_nothing_and_a_day(value: object) -> None:
    assert 0 <= seconds(value, 900) <= 86_400
    assert 0 <= seconds(value, 900, per_second=1000) <= 86_400


# --- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "wait_s", "loud"),
    [
        (1008, 900, True),
        (1013, 60, False),
        (4001, 60, False),
        (4002, 3600, True),
        (4003, 900, False),
        *[(code, None, False) for code in (1000, 1001, 1005, 1006, 1009, 1011, 1012, 4000, 4999)],
    ],
)
def test_close_codes(code: int, wait_s: float | None, loud: bool) -> None:
    conversation = opened()
    told(conversation, ADMIT)
    actions = conversation.closed(code, "", at(100))
    assert [(a.seconds, a.loud) for a in actions if isinstance(a, RetryAfter)] == ([(wait_s, loud)] if wait_s else [])
    assert len(actions) == (1 if wait_s else 0)
    assert conversation.wake_ns == NEVER_NS


@pytest.mark.parametrize(
    ("status", "headers", "answer"),
    [
        (401, {}, [RetryAfter(60, "key refused (401)", loud=True)]),
        (403, {}, [RetryAfter(60, "key refused (403)", loud=True)]),
        (401, {"retry-after": "0"}, [RetryAfter(60, "key refused (401)", loud=True)]),
        (429, {}, [RetryAfter(60, "connection limit (429)")]),
        (429, {"retry-after": "7"}, [RetryAfter(7, "connection limit (429)")]),
        (429, {"retry-after": "-7"}, [RetryAfter(0, "connection limit (429)")]),
        (429, {"retry-after": "9" * 9000}, [RetryAfter(86_400, "connection limit (429)")]),
        (429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, [RetryAfter(60, "connection limit (429)")]),
        *[(status, {"retry-after": "5"}, []) for status in (200, 301, 400, 404, 500, 502, 503, 999)],
    ],
)
def test_refused_handshakes(status: int, headers: dict[str, str], answer: list[Action]) -> None:
    conversation = subscription().connect(at(0), takeover=False)
    assert conversation.refused(status, headers, b'{"message":"Forbidden"}', at(1)) == answer


# --- frames that are not as they should be ------------------------------------------------------------------------

ODD = [
    b"",
    b"pong",
    b"null",
    b"[]",
    b"{}",
    b'[{"action":"sendArticle","data":{}}]',
    b'{"action":"resume","data":{}}',
    b'{"action":["sendArticle"],"data":{}}',
    b'{"action":{"sendArticle":1}}',
    b'{"action":"sendArticle"}',
    b'{"action":"sendArticle","data":null}',
    b'{"action":"sendArticle","data":[{}]}',
    b'{"message":"Forbidden"}',
    b'{"action":"sendArticle","data"',
    b"\xff\xfe{}",
    b'{"action":"\xff"}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"\xef\xbb\xbf" + ADMIT,
]


@pytest.mark.parametrize("payload", ODD)
@pytest.mark.parametrize("is_text", [True, False])
def test_odd_frames_are_kept_between_undisturbed_neighbours(payload: bytes, is_text: bool) -> None:
    conversation = opened()
    told(conversation, ARTICLE)
    batch = [Frame(ARTICLE), Frame(SPACED), Frame(payload, is_text), Frame(payload, is_text), Frame(ARTICLE)]
    actions = conversation.received(batch, at(20))
    assert keeps(actions) == [
        ([ARTICLE, SPACED], Kind.DATA, Mark.NONE),
        ([payload, payload], Kind.DATA, Mark.ODD if is_text else Mark.ODD | Mark.BINARY),
        ([ARTICLE], Kind.DATA, Mark.NONE),
    ]
    assert besides_keeping(actions) == [Alive(data=True)]


@pytest.mark.parametrize(
    ("payload", "kind"),
    [(ARTICLE, Kind.DATA), (SPACED, Kind.DATA), (ADMIT, Kind.REPLY), (PONG, Kind.REPLY), (GATEWAY, Kind.REPLY)],
)
def test_json_in_a_binary_frame_is_taken_as_text_and_marked(payload: bytes, kind: Kind) -> None:
    conversation = opened("finlight.raw")
    told(conversation, ADMIT)
    actions = conversation.received([Frame(payload, is_text=False)], at(20))
    assert keeps(actions) == [([payload], kind, Mark.BINARY)]
    assert besides_keeping(actions)[0] == Alive(data=kind is Kind.DATA)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"data":{"link":"https://a"},"action":"sendArticle"}',
        b' {"action":"sendArticle","data":{}}',
        b'{"action":"sendArticle","data":{"title":"cut \\ud83d"}}',
        b'{"id":1,"action":"sendArticle","data":{"confidence":NaN}}',
    ],
)
def test_articles_in_another_spelling_are_articles(payload: bytes) -> None:
    conversation = opened("finlight.raw")
    assert told(conversation, payload) == [Alive(data=True), Keep([Frame(payload)])]


def test_articles_in_the_usual_spelling_are_not_parsed() -> None:
    conversation = opened()
    told(conversation, ADMIT, ARTICLE)
    broken = b'{"action":"sendArticle","data":{ this would not parse'
    assert told(conversation, broken) == [Alive(data=True), Keep([Frame(broken)])]


# --- anything at all ----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.sampled_from(["limit", "blocked"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ACTIONS = ["sendArticle", "admit", "pong", "preempted", "admin_kick", "error", "else"]
OBJECTS = st.fixed_dictionaries(
    {"action": st.sampled_from(ACTIONS) | JSON},
    optional=dict.fromkeys(("data", "error", "retryAfter", "clientNonce", "message", "requestId"), JSON),
).map(lambda message: json.dumps(message).encode())
FRAMES = st.builds(
    Frame, st.one_of(st.binary(), OBJECTS, st.sampled_from([ARTICLE, SPACED, ADMIT, PONG, GATEWAY])), st.booleans()
)


@given(st.lists(st.lists(FRAMES, min_size=1, max_size=8), max_size=8), st.sampled_from(["finlight", "finlight.raw"]))
def test_whatever_arrives_is_kept_once_and_in_order(batches: list[list[Frame]], kind: str) -> None:
    conversation = opened(kind)
    wants = subscription(kind)
    over = False
    for number, batch in enumerate(batches):
        actions = conversation.received(batch, at(number))
        kept = [action for action in actions if isinstance(action, Keep)]
        assert [frame for keep in kept for frame in keep.frames] == batch
        assert all((a.kind, a.mark) != (b.kind, b.mark) for a, b in itertools.pairwise(kept))
        assert not (over and besides_keeping(actions))
        for action in actions:
            over = over or isinstance(action, HangUp)
            if isinstance(action, Alarm):
                lifecycle.entry(action.event, detail=action.detail)
        for frame in batch:
            hash(wants.identity(frame))


@given(st.binary() | OBJECTS)
def test_parsing_never_raises(payload: bytes) -> None:
    assert isinstance(parse(payload), dict)
