"""What every kind of feed owes the channel that runs it. A new kind joins by being registered."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from recorder import lifecycle
from recorder.clock import SECOND_NS, Moment
from recorder.feeds import register
from recorder.feeds.feed import (
    NEVER_NS,
    Action,
    Alarm,
    Conversation,
    Frame,
    HangUp,
    Keep,
    RetryAfter,
    Send,
    Subscription,
)
from recorder.message import Kind, Mark
from recorder.settings import AnyFeed

SECRET = "sk_must_stay_secret"
DAY_NS = 86_400 * SECOND_NS

NEEDED: dict[str, dict[str, Any]] = {  # settings without a default
    "finance_query.quotes": {"symbols": ["AAPL", "NVDA"]},
    "finance_query.profile": {"symbols": ["AAPL", "^GSPC"]},
}

KINDS = pytest.mark.parametrize("kind", sorted(register.KINDS))


def channels(kind: str) -> list[Subscription]:
    feed: AnyFeed = TypeAdapter(AnyFeed).validate_python({"kind": kind, **NEEDED.get(kind, {})})
    return register.subscriptions("my_feed", feed, SECRET)


def moment(monotonic_ns: int) -> Moment:
    return Moment(1_795_289_590_092_000_000 + monotonic_ns, monotonic_ns)


START = moment(1000 * SECOND_NS)


def conversation(kind: str) -> Conversation:
    return channels(kind)[0].connect(START, takeover=False)


def opened(kind: str) -> Conversation:
    begun = conversation(kind)
    begun.opened(START)
    return begun


def kept(actions: list[Action]) -> list[Frame]:
    return [frame for action in actions if isinstance(action, Keep) for frame in action.frames]


def test_every_kind_of_the_settings_is_registered() -> None:
    [union, *_] = get_args(AnyFeed)
    known = {kind for feed in get_args(union) for kind in get_args(feed.model_fields["kind"].annotation)}
    assert set(register.KINDS) == known


@KINDS
def test_channels_carry_the_users_name_and_differ(kind: str) -> None:
    streams = [channel.stream for channel in channels(kind)]
    assert {(stream.feed, stream.feed_kind) for stream in streams} == {("my_feed", kind)}
    assert len(set(streams)) == len(streams) > 0


@KINDS
def test_opening_answers_with_nothing_but_sending(kind: str) -> None:
    begun = conversation(kind)
    assert begun.wake_ns == NEVER_NS
    assert all(isinstance(action, Send) for action in begun.opened(START))
    assert START.monotonic_ns < begun.wake_ns < NEVER_NS


@KINDS
@pytest.mark.parametrize(
    "payload",
    [b"", b"pong", b"\xff\x00", b"{", b"null", b"[[]]", b"{}", b'"text"', b"[" * 100_000, b'{"action":"unheard of"}'],
)
@pytest.mark.parametrize("is_text", [True, False])
def test_an_unknown_frame_is_kept_as_it_is(kind: str, payload: bytes, is_text: bool) -> None:
    frame = Frame(payload, is_text)
    [keep] = [action for action in opened(kind).received([frame], START) if isinstance(action, Keep)]
    assert list(keep.frames) == [frame]
    assert keep.kind is Kind.DATA
    assert Mark.ODD in keep.mark
    assert (Mark.BINARY in keep.mark) is not is_text


FRAGMENTS = [
    b"[]",
    b'[{"symbol":"AAPL","name":"Apple Inc.","price":"270.10"}]',
    b'{"status":"open","reason":"Regular trading hours.","timestamp":"2026-05-26T15:48:28Z"}',
    b'{"quote":{"symbol":"AAPL","name":"Apple Inc.","price":"270.10"},"similar":[],"news":[]}',
    b'{"action":"admit","clientNonce":"other"}',
    b'{"action":"sendArticle","data":{"link":"https://a"}}',
    b'{"action":"error","data":"bad \\ud83d query"}',
    b'{"action":"error","data":"limit"}',
    b'{"action":"admin_kick","retryAfter":-1e300}',
    b'{"action":"preempted"}',
    b'{"action":"pong","t":1}',
    b'{"message":"Internal server error","connectionId":"a","requestId":"b"}',
]
FRAMES = st.builds(Frame, st.binary() | st.sampled_from(FRAGMENTS), st.booleans())
STEPS = st.lists(st.lists(FRAMES, min_size=1, max_size=6) | st.integers(0, DAY_NS), max_size=20)


@KINDS
@given(steps=STEPS, code=st.integers(1000, 4999))
@settings(max_examples=60, deadline=None)
def test_a_life_of_anything_keeps_every_frame_once_and_never_raises(
    kind: str, steps: list[list[Frame] | int], code: int
) -> None:
    """Frames are received, numbers are nanoseconds that pass until the next tick."""
    channel = channels(kind)[0]
    talk = channel.connect(START, takeover=False)
    talk.opened(START)
    now, over = START, False
    for step in steps:
        if isinstance(step, int):
            now = moment(now.monotonic_ns + step)
            actions = talk.tick(now)
            assert kept(actions) == []
            assert over <= (actions == [])
        else:
            actions = talk.received(step, now)
            assert kept(actions) == step
            assert not over or all(isinstance(action, Keep) for action in actions)
            for frame in step:
                hash(channel.identity(frame))
        over = over or any(isinstance(action, HangUp) for action in actions)
        assert not over or talk.wake_ns == NEVER_NS
        if isinstance(step, int):
            assert talk.wake_ns > now.monotonic_ns
        check(actions)
    ending = talk.closed(code, "any", now)
    assert all(isinstance(action, RetryAfter | Alarm) for action in ending)
    check(ending)
    assert talk.wake_ns == NEVER_NS


def check(actions: list[Action]) -> None:
    """Each action is one that can be carried out."""
    for action in actions:
        assert SECRET not in repr(action)
        match action:
            case HangUp(close_code, reason, cause):
                assert close_code in (1000, *range(3000, 5000))  # others may not be sent (RFC 6455, 7.4)
                assert len(reason.encode()) <= 123
                assert cause
            case RetryAfter(wait_s, cause):
                assert 0 <= wait_s <= 86_400
                assert cause
            case Alarm(event, detail):
                assert event.startswith("feed.")
                assert len(detail) <= 1000
                lifecycle.entry(event, detail=detail)
            case Send(text):
                text.encode()


@KINDS
@given(
    status=st.integers(100, 999),
    headers=st.dictionaries(st.sampled_from(["retry-after", "x-any"]), st.text() | st.integers().map(str)),
    body=st.binary(),
)
@settings(max_examples=60, deadline=None)
def test_any_refusal_is_taken(kind: str, status: int, headers: dict[str, str], body: bytes) -> None:
    talk = conversation(kind)
    actions = talk.refused(status, headers, body, START)
    assert all(isinstance(action, RetryAfter | Alarm) for action in actions)
    check(actions)
    assert talk.wake_ns == NEVER_NS


@KINDS
def test_an_upstream_that_says_nothing_is_given_up_without_spinning(kind: str) -> None:
    talk = opened(kind)
    ticks = 0
    while talk.wake_ns < START.monotonic_ns + DAY_NS:
        ticks += 1
        before_ns = talk.wake_ns
        actions = talk.tick(moment(before_ns))
        assert talk.wake_ns > before_ns
        assert ticks < 1000
        if any(isinstance(action, HangUp) for action in actions):
            break
    else:
        pytest.fail("nobody hung up within a day")


@KINDS
def test_a_tick_before_its_time_does_nothing(kind: str) -> None:
    talk = opened(kind)
    wake_ns = talk.wake_ns
    assert talk.tick(moment(wake_ns - 1)) == []
    assert talk.wake_ns == wake_ns


@KINDS
def test_rotation_is_due_in_the_future(kind: str) -> None:
    for channel in channels(kind):
        assert channel.rotate_at(START) > START.monotonic_ns
        code, reason = channel.farewell
        check([HangUp(code, reason, "rotation")])


@KINDS
def test_the_secret_goes_into_headers_and_nowhere_else(kind: str) -> None:
    for channel in channels(kind):
        talk = channel.connect(START, takeover=channel.may_take_over)
        assert SECRET in dict(talk.request.headers).values()
        assert SECRET not in talk.request.url
        for thing in (channel, talk, talk.request, talk.opened(START)):
            assert SECRET not in repr(thing)


@KINDS
def test_header_names_are_lower_case_and_said_once(kind: str) -> None:
    names = [name for name, _ in conversation(kind).request.headers]
    assert names == [name.lower() for name in names]
    assert len(set(names)) == len(names)
