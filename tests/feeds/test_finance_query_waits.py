"""Dead channels, polling, limits and refusals: how long the next dial waits. Times in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.feed import (
    Action,
    Alarm,
    Alive,
    Conversation,
    Frame,
    HangUp,
    Keep,
    RetryAfter,
    Subscription,
)
from recorder.feeds.finance_query import subscriptions
from recorder.message import Kind, Mark
from recorder.settings import Hours, Market, Profile, Quotes

FRAMES = Path(__file__).parents[1] / "frames" / "finance_query"
KINDS = ["quotes", "profile", "market", "hours"]
HANG_UP = HangUp(1000, "", "silent")
POLLED = HangUp(1000, "", "polling")
LEFT = RetryAfter(0.5, "leaving the channel before joining it again")


def sample(name: str) -> Frame:
    return Frame((FRAMES / f"{name}.json").read_bytes())


FEED: TypeAdapter[Quotes | Profile | Market | Hours] = TypeAdapter(Quotes | Profile | Market | Hours)
SYMBOLS = {"quotes": {"symbols": ["AAPL", "MSFT"]}, "profile": {"symbols": ["AAPL"]}}
INITIAL = {kind: sample(f"{kind}.1.initial-with-security.real") for kind in KINDS}
TICK = {
    "quotes": sample("quotes.2.update.real"),
    "profile": sample("profile.2.update.real"),
    "market": sample("market.3.values-from-docs"),
    "hours": sample("hours.2.update.real"),
}


def at(seconds: float) -> Moment:
    passed_ns = int(seconds * SECOND_NS)
    return Moment(1_795_291_738_397_469_555 + passed_ns, 5 * SECOND_NS + passed_ns)


def feed(kind: str, **keys: object) -> list[Subscription]:
    table: dict[str, object] = {"kind": f"finance_query.{kind}", **SYMBOLS.get(kind, {}), **keys}
    return subscriptions("mine", FEED.validate_python(table), None)


def one(kind: str, **keys: object) -> Subscription:
    [subscription] = feed(kind, **keys)
    return subscription


def open_one(subscription: Subscription, seconds: float = 0.0) -> Conversation:
    conversation = subscription.connect(at(seconds), takeover=False)
    conversation.opened(at(seconds))
    return conversation


def die_after_initial(subscription: Subscription, kind: str, seconds: float) -> list[Action]:
    """One connection that gets the initial frame and nothing more, until it ends; what it answers to its end."""
    conversation = open_one(subscription, seconds)
    conversation.received([INITIAL[kind]], at(seconds + 1))
    [*_, last] = conversation.tick(Moment(at(seconds).utc_ns, conversation.wake_ns))
    assert isinstance(last, HangUp)
    return conversation.closed(1000, "", at(seconds + 200))


# --- zombie channels and polling: fact 8, Q2 ------------------------------------------------------------------


def test_dead_quotes_channel_is_left_for_another_without_polling() -> None:
    subscription = one("quotes")
    for turn in range(20):
        assert die_after_initial(subscription, "quotes", turn * 1000.0) == []
    sent = [subscription.connect(at(0), takeover=False).opened(at(0)) for _ in range(20)]
    assert len({str(actions) for actions in sent}) == 20


@pytest.mark.parametrize("kind", ["market", "hours"])
def test_dead_channel_without_another_name_is_polled_at_its_pace(kind: str) -> None:
    subscription = one(kind, poll_s=45)
    polling = RetryAfter(45, "polling a dead channel")
    assert die_after_initial(subscription, kind, 0) == [polling]
    for poll in range(1, 100):
        conversation = open_one(subscription, poll * 1000)
        assert conversation.received([INITIAL[kind]], at(poll * 1000 + 1)) == [
            Keep([INITIAL[kind]], Kind.DATA, Mark.INITIAL)
        ]
        assert at(poll * 1000 + 1 + 5).monotonic_ns < conversation.wake_ns <= at(poll * 1000 + 1 + 15).monotonic_ns
        assert conversation.tick(Moment(0, conversation.wake_ns)) == [POLLED]
        assert conversation.closed(1000, "", at(poll * 1000 + 20)) == [polling]


@pytest.mark.parametrize("kind", ["market", "hours"])
def test_a_person_hears_once_that_polling_begins(kind: str) -> None:
    subscription = one(kind)
    alarms = []
    for poll in range(5):
        conversation = open_one(subscription, poll * 1000)
        conversation.received([INITIAL[kind]], at(poll * 1000))
        actions = conversation.tick(Moment(0, conversation.wake_ns))
        alarms += [action.event for action in actions if isinstance(action, Alarm)]
    assert alarms == ["feed.polling"]


@pytest.mark.parametrize("kind", ["market", "hours"])
@pytest.mark.parametrize("second", [1001.05, 1006.0])
def test_second_frame_while_polling_ends_the_polling(kind: str, second: float) -> None:
    subscription = one(kind)
    die_after_initial(subscription, kind, 0)
    conversation = open_one(subscription, 1000)
    conversation.received([INITIAL[kind]], at(1001))
    assert conversation.received([TICK[kind]], at(second))[-1] == Alive(data=True)
    assert conversation.tick(at(second + 20)) == []
    assert conversation.tick(at(second + 60)) == [HANG_UP]
    assert conversation.closed(1000, "", at(second + 61)) == [LEFT]


@pytest.mark.parametrize("kind", ["market", "hours"])
def test_channel_without_another_name_is_left_for_good_before_it_is_joined_again(kind: str) -> None:
    """Else the next connection finds the last one still on the channel, and its dead task with it."""
    subscription = one(kind)
    conversation = open_one(subscription)
    conversation.received([INITIAL[kind], TICK[kind]], at(0))
    assert conversation.tick(at(100)) == [HANG_UP]
    assert conversation.closed(1000, "", at(100)) == [LEFT]


def test_channel_with_other_names_is_dialled_again_at_once() -> None:
    for kind in ("quotes", "profile"):
        conversation = open_one(one(kind))
        conversation.received([INITIAL[kind], TICK[kind]], at(0))
        assert conversation.closed(1000, "", at(100)) == []


def test_poll_that_gets_no_initial_frame_waits_as_long_as_any_connection() -> None:
    subscription = one("hours", silence_s=30)
    die_after_initial(subscription, "hours", 0)
    conversation = open_one(subscription, 1000)
    assert conversation.tick(at(1029)) == []
    assert conversation.tick(at(1030)) == [HANG_UP]


def test_profile_is_polled_once_every_letter_case_is_dead() -> None:
    subscription = one("profile", symbols=["IBM"])
    answers = [die_after_initial(subscription, "profile", turn * 1000.0) for turn in range(8)]
    assert answers[:7] == [[]] * 7
    assert answers[7] == [RetryAfter(30, "polling a dead channel")]


def test_one_living_letter_case_among_dead_ones_starts_the_count_anew() -> None:
    subscription = one("profile", symbols=["F"])
    for turn in range(0, 20, 2):
        assert die_after_initial(subscription, "profile", turn * 1000.0) == []
        open_one(subscription, turn * 1000 + 500).received([INITIAL["profile"], TICK["profile"]], at(turn * 1000 + 501))


def test_old_connection_that_ticks_keeps_its_channel_from_polling() -> None:
    subscription = one("profile", symbols=["0700"])
    old = open_one(subscription)
    old.received([INITIAL["profile"], TICK["profile"]], at(0))
    die_after_initial(subscription, "profile", 100)
    old.received([TICK["profile"]], at(301))
    assert old.closed(1006, "", at(302)) == []


def test_polling_channels_of_a_feed_share_out_the_connects_of_the_day() -> None:
    budget = 1000  # one connect in 86.4 s
    channels = feed("profile", symbols=["0700", "9988", "7203"], poll_s=90, connects_per_day_max=budget)
    waits = []
    for channel in channels:
        [wait] = die_after_initial(channel, "profile", 0)
        assert isinstance(wait, RetryAfter)
        waits.append(wait.seconds)
    assert waits == pytest.approx([90, 172.8, 259.2])


# --- the daily limit, refusals, restarts: fact 9, section 2.5, Q16 --------------------------------------------


def limited(kind: str, remaining: int, reset_s: int) -> Frame:
    limit = b'{"metadata":{"rate_limit":4,"remaining_requests":%d,"reset":%d}' % (remaining, reset_s)
    if kind == "quotes":
        return Frame(b"[" + limit + b"}," + TICK[kind].payload[1:])
    return Frame(limit + b"," + TICK[kind].payload[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_last_connect_of_the_day_is_followed_by_the_wait_the_server_named(kind: str) -> None:
    conversation = open_one(one(kind))
    conversation.received([limited(kind, 0, 600), TICK[kind]], at(0))
    [wait] = conversation.closed(1006, "", at(100))
    assert wait == RetryAfter(500.0, "the upstream's daily connect limit is used up")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("remaining", "seconds", "code"), [(1, 100, 1006), (0, 700, 1006), (0, 100, 1012)])
def test_connects_left_or_reset_passed_or_server_restarted_is_no_limit(
    kind: str, remaining: int, seconds: float, code: int
) -> None:
    conversation = open_one(one(kind))
    conversation.received([limited(kind, remaining, 600), TICK[kind]], at(0))
    assert conversation.closed(code, "", at(seconds)) == []


def test_wait_for_the_limit_is_capped_because_a_restart_clears_it() -> None:
    conversation = open_one(one("quotes"))
    conversation.received([limited("quotes", 0, 86399), TICK["quotes"]], at(0))
    [wait] = conversation.closed(1006, "", at(100))
    assert isinstance(wait, RetryAfter)
    assert wait.seconds == 900


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [1001, 1005, 1006, 1011, 1012, 4999])
def test_no_close_code_says_more_than_the_usual_backoff(kind: str, code: int) -> None:
    conversation = open_one(one(kind))
    conversation.received([INITIAL[kind], TICK[kind]], at(0))
    assert conversation.closed(code, "keepalive ping timeout", at(40)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_first_403_is_loud_because_the_url_may_be_wrong(kind: str) -> None:
    [wait] = one(kind).connect(at(0), takeover=False).refused(403, {}, b"", at(1))
    assert isinstance(wait, RetryAfter)
    assert wait.loud
    assert wait.seconds >= 300
    assert "url" in wait.cause


@pytest.mark.parametrize("kind", KINDS)
def test_403_after_a_handshake_that_worked_is_the_limit_and_passes(kind: str) -> None:
    subscription = one(kind)
    open_one(subscription).closed(1006, "", at(10))
    [wait] = subscription.connect(at(20), takeover=False).refused(403, {}, b"", at(21))
    assert isinstance(wait, RetryAfter)
    assert (wait.loud, wait.seconds) == (False, 300)


def test_403_waits_for_the_end_of_a_limit_that_the_server_named() -> None:
    subscription = one("quotes")
    open_one(subscription).received([limited("quotes", 0, 700)], at(0))
    [wait] = subscription.connect(at(20), takeover=False).refused(403, {}, b"", at(100))
    assert isinstance(wait, RetryAfter)
    assert wait.seconds == 600


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("0", 0), ("999999", 86400), ("", 60), ("soon", 60), ("-5", 60), ("9" * 5000, 60), ("²", 60)],
)
def test_429_waits_as_long_as_it_says(header: str, seconds: float) -> None:
    [wait] = one("quotes").connect(at(0), takeover=False).refused(429, {"retry-after": header}, b"", at(1))
    assert isinstance(wait, RetryAfter)
    assert wait.seconds == seconds


@pytest.mark.parametrize("status", [500, 502, 503, 404])
def test_other_refusals_are_for_the_usual_backoff(status: int) -> None:
    conversation = one("quotes").connect(at(0), takeover=False)
    assert conversation.refused(status, {}, b"Internal Server Error", at(1)) == []
