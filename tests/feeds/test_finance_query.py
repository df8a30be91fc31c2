"""What the protocol page says of a client, claim by claim; times in seconds, and a year is soon over."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.feed import (
    NEVER_NS,
    Action,
    Alarm,
    Alive,
    Conversation,
    Frame,
    HangUp,
    Keep,
    RetryAfter,
    Send,
    Subscription,
    Suspect,
)
from recorder.feeds.finance_query import subscriptions
from recorder.message import Kind, Mark
from recorder.settings import Hours, Market, Profile, Quotes

FRAMES = Path(__file__).parents[1] / "frames" / "finance_query"
KINDS = ["quotes", "profile", "market", "hours"]
HANG_UP = HangUp(1000, "", "silent")
POLLED = HangUp(1000, "", "polling")


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
NO_QUOTE = sample("profile.4.all-failed.real")
FOREIGN = Frame(b'{"injected":true}')


def at(seconds: float, start: datetime = datetime(2026, 11, 21, tzinfo=UTC)) -> Moment:
    passed_ns = int(seconds * SECOND_NS)
    return Moment(int(start.timestamp()) * SECOND_NS + passed_ns, 5 * SECOND_NS + passed_ns)


def feed(kind: str, secret: str | None = None, salt: int = 0, **keys: object) -> list[Subscription]:
    table: dict[str, object] = {"kind": f"finance_query.{kind}", "url": "ws://fq.test", **SYMBOLS.get(kind, {}), **keys}
    return subscriptions("mine", FEED.validate_python(table), secret, salt)


def one(kind: str, secret: str | None = None, salt: int = 0, **keys: object) -> Subscription:
    [subscription] = feed(kind, secret, salt, **keys)
    return subscription


def open_one(subscription: Subscription, seconds: float = 0.0) -> Conversation:
    conversation = subscription.connect(at(seconds), takeover=False)
    conversation.opened(at(seconds))
    return conversation


def marks(actions: Sequence[Action]) -> list[Mark]:
    return [action.mark for action in actions if isinstance(action, Keep) for _ in action.frames]


def kept(actions: Sequence[Action]) -> list[Frame]:
    return [frame for action in actions if isinstance(action, Keep) for frame in action.frames]


def die_after_initial(subscription: Subscription, kind: str, seconds: float) -> list[Action]:
    """One connection that gets the initial frame and nothing more, until it ends; what it answers to its end."""
    conversation = open_one(subscription, seconds)
    conversation.received([INITIAL[kind]], at(seconds + 1))
    [*_, last] = conversation.tick(Moment(at(seconds).utc_ns, conversation.wake_ns))
    assert isinstance(last, HangUp)
    return conversation.closed(1000, "", at(seconds + 200))


# --- dialling: facts 1, 2, 6; section 2.4, 2.5 ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "path"), [("quotes", "/quotes"), ("profile", "/profile/AAPL"), ("market", "/market"), ("hours", "/hours")]
)
@pytest.mark.parametrize("base", ["ws://fq.test", "ws://fq.test/", "wss://fq.test:444/a/prefix/"])
def test_paths_are_at_the_root_of_the_url_without_doubled_slashes(kind: str, path: str, base: str) -> None:
    assert one(kind, url=base).connect(at(0), takeover=False).request.url == base.rstrip("/") + path


def test_symbol_in_a_path_is_percent_encoded() -> None:
    urls = [s.connect(at(0), takeover=False).request.url for s in feed("profile", symbols=["^GSPC", "EURUSD=X"])]
    assert urls == ["ws://fq.test/profile/%5EGSPC", "ws://fq.test/profile/EURUSD%3DX"]


@pytest.mark.parametrize("kind", KINDS)
def test_key_goes_into_one_header_and_nowhere_else(kind: str) -> None:
    subscription = one(kind, "sesame")
    request = subscription.connect(at(0), takeover=False).request
    assert request.headers == (("x-api-key", "sesame"),)
    assert "sesame" not in request.url
    assert "sesame" not in repr(request)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_key_there_is_no_header(kind: str, secret: str | None) -> None:
    assert one(kind, secret).connect(at(0), takeover=False).request.headers == ()


def test_every_profile_symbol_has_its_own_connection_named_as_the_user_wrote_it() -> None:
    channels = [(s.stream.feed, s.stream.feed_kind, s.stream.channel) for s in feed("profile", symbols=["aapl", "F"])]
    assert channels == [("mine", "finance_query.profile", "aapl"), ("mine", "finance_query.profile", "F")]


def test_symbols_are_sent_once_as_one_text_and_nothing_after_that() -> None:
    conversation = one("quotes").connect(at(0), takeover=False)
    assert conversation.opened(at(0)) == [Send("AAPL,MSFT")]
    later: list[Action] = []
    for second in range(1, 200):
        later += conversation.received([TICK["quotes"], FOREIGN], at(second)) + conversation.tick(at(second))
    later += conversation.tick(at(500)) + conversation.closed(1000, "", at(501))
    assert not [action for action in later if isinstance(action, Send)]


@pytest.mark.parametrize("kind", ["profile", "market", "hours"])
def test_the_other_endpoints_are_sent_nothing(kind: str) -> None:
    assert one(kind).connect(at(0), takeover=False).opened(at(0)) == []


# --- channels of one's own: facts 8, Q2, Q3, Q5 -------------------------------------------------------------


def quotes_channels(subscription: Subscription, count: int) -> list[str]:
    sent = []
    for _ in range(count):
        [send] = subscription.connect(at(0), takeover=False).opened(at(0))
        assert isinstance(send, Send)
        sent.append(send.text)
    return sent


def test_every_quotes_connection_is_on_another_channel() -> None:
    sent = quotes_channels(one("quotes", symbols=["F"]), 50)
    assert len(set(sent)) == 50
    assert {frozenset(text.upper().split(",")) for text in sent} == {frozenset({"F"})}


def test_two_recorders_of_the_same_symbols_start_on_different_channels() -> None:
    settings = Quotes(kind="finance_query.quotes", symbols=["AAPL", "MSFT", "NVDA", "GOOGL", "AMZN", "META"])
    first = {quotes_channels(subscriptions("q", settings, None)[0], 1)[0] for _ in range(20)}
    assert len(first) > 15  # 2**26 spellings; twenty equal draws of an unsalted one would be 1


def test_every_profile_connection_is_on_another_channel_by_letter_case() -> None:
    subscription = one("profile", symbols=["BRK-B"])
    paths = [urlsplit(subscription.connect(at(0), takeover=False).request.url).path for _ in range(16)]
    assert len(set(paths)) == 16
    assert {unquote(path).upper() for path in paths} == {"/PROFILE/BRK-B"}


@pytest.mark.parametrize(
    ("kind", "symbols", "break_first"),
    [
        ("quotes", ["0700"], False),
        ("profile", ["AAPL"], False),
        ("profile", ["F"], False),
        ("profile", ["0700"], True),
        ("market", None, True),
        ("hours", None, True),
    ],
)
def test_only_a_channel_without_a_second_name_is_left_before_the_new_connection(
    kind: str, symbols: list[str] | None, break_first: bool
) -> None:
    [subscription] = feed(kind, **({"symbols": symbols} if symbols else {}))  # type: ignore[arg-type]
    assert subscription.break_first is break_first


# --- the first frames: facts 3, 5; Q11 ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_initial_and_double_are_marked_and_ticks_are_not(kind: str) -> None:
    conversation = open_one(one(kind))
    assert marks(conversation.received([INITIAL[kind]], at(0.3))) == [Mark.INITIAL]
    assert marks(conversation.received([TICK[kind]], at(0.42))) == [Mark.DOUBLE]
    assert marks(conversation.received([TICK[kind]], at(5.4))) == [Mark.NONE]


@pytest.mark.parametrize("kind", KINDS)
def test_first_frames_that_arrive_together_are_told_apart(kind: str) -> None:
    actions = open_one(one(kind)).received([INITIAL[kind], TICK[kind], TICK[kind], TICK[kind]], at(0.3))
    assert marks(actions) == [Mark.INITIAL, Mark.DOUBLE, Mark.NONE, Mark.NONE]
    assert [len(action.frames) for action in actions if isinstance(action, Keep)] == [1, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_second_frame_seconds_later_is_a_tick_of_a_running_channel(kind: str) -> None:
    conversation = open_one(one(kind))
    conversation.received([INITIAL[kind]], at(0.3))
    assert marks(conversation.received([TICK[kind]], at(3.0))) == [Mark.NONE]


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_frame_is_kept_verbatim_as_the_initial_data(kind: str) -> None:
    [keep] = open_one(one(kind)).received([INITIAL[kind]], at(0.3))
    assert keep == Keep([INITIAL[kind]], Kind.DATA, Mark.INITIAL)


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_is_no_part_of_a_message_s_identity(kind: str) -> None:
    subscription = one(kind)
    bare = subscription.identity(INITIAL[kind])
    assert isinstance(bare, bytes)
    assert b"metadata" not in bare
    assert subscription.identity(Frame(bare)) == bare
    assert subscription.identity(TICK[kind]) == TICK[kind].payload != bare


# --- proof of life: facts 7, 8 ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_initial_frame_alone_proves_nothing(kind: str) -> None:
    conversation = open_one(one(kind))
    assert Alive() not in conversation.opened(at(0))
    assert Alive() not in conversation.received([INITIAL[kind]], at(0.3))
    assert Alive() not in conversation.tick(at(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second", [0.31, 4.0])
def test_second_frame_of_the_right_shape_is_proof_and_so_is_every_later_one(kind: str, second: float) -> None:
    conversation = open_one(one(kind))
    conversation.received([INITIAL[kind]], at(0.3))
    assert conversation.received([TICK[kind]], at(second))[-1] == Alive(data=True)
    assert conversation.received([TICK[kind]] * 3, at(9)) == [Keep([TICK[kind]] * 3), Alive(data=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_odd_frames_after_the_initial_one_prove_nothing(kind: str) -> None:
    conversation = open_one(one(kind))
    conversation.received([INITIAL[kind]], at(0.3))
    assert Alive() not in conversation.received([FOREIGN, Frame(b"oops")], at(5))


def test_empty_quotes_and_an_empty_profile_are_data_and_proof_of_life() -> None:
    for kind, frame in [("quotes", Frame(b"[]")), ("profile", NO_QUOTE)]:
        conversation = open_one(one(kind))
        assert marks(conversation.received([frame], at(0.3))) == [Mark.INITIAL]
        for second in (5, 10, 15):
            assert conversation.received([frame], at(second)) == [Keep([frame]), Alive(data=True)]


# --- silence: fact 7, Q1 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "silence_s"), [("quotes", 30), ("profile", 120), ("market", 60), ("hours", 30)])
def test_silence_of_data_for_the_endpoint_s_time_hangs_up(kind: str, silence_s: float) -> None:
    conversation = open_one(one(kind))
    conversation.received([INITIAL[kind], TICK[kind]], at(0))
    conversation.received([TICK[kind]], at(5))
    assert conversation.wake_ns == at(5 + silence_s).monotonic_ns
    assert conversation.tick(at(5 + silence_s - 0.001)) == []
    assert conversation.tick(at(5 + silence_s)) == [HANG_UP]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_at_all_after_the_handshake_hangs_up(kind: str) -> None:
    conversation = open_one(one(kind, silence_s=20))
    assert conversation.tick(at(19.9)) == []
    assert conversation.tick(at(20)) == [HANG_UP]


@pytest.mark.parametrize("kind", KINDS)
def test_a_day_of_frames_each_5_seconds_is_never_silent(kind: str) -> None:
    conversation = open_one(one(kind))
    conversation.received([INITIAL[kind], TICK[kind]], at(0))
    for second in range(5, 86400, 5):
        now = at(second)
        assert conversation.tick(now) == []
        conversation.received([TICK[kind]], now)


@pytest.mark.parametrize("kind", KINDS)
def test_watchdog_sleeps_before_the_handshake_and_after_the_end(kind: str) -> None:
    subscription = one(kind)
    conversation = subscription.connect(at(0), takeover=False)
    assert conversation.wake_ns == NEVER_NS
    conversation.opened(at(1))
    assert conversation.wake_ns < NEVER_NS
    conversation.tick(at(1000))
    assert conversation.wake_ns == NEVER_NS
    assert conversation.tick(at(2000)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_odd_frames_do_not_keep_a_dead_channel_alive(kind: str) -> None:
    conversation = open_one(one(kind, silence_s=30))
    conversation.received([INITIAL[kind], TICK[kind]], at(0))
    for second in range(1, 30):
        assert marks(conversation.received([FOREIGN], at(second))) == [Mark.ODD]
    assert conversation.tick(at(30)) == [HANG_UP]


@pytest.mark.parametrize("kind", KINDS)
def test_frames_after_hanging_up_are_kept_and_mean_nothing_more(kind: str) -> None:
    conversation = open_one(one(kind))
    conversation.received([INITIAL[kind], TICK[kind]], at(0))
    conversation.tick(at(200))
    actions = conversation.received([TICK[kind], FOREIGN, TICK[kind]], at(201))
    assert kept(actions) == [TICK[kind], FOREIGN, TICK[kind]]
    assert all(isinstance(action, Keep) for action in actions)
    assert conversation.wake_ns == NEVER_NS


# --- odd frames: Q5, Q6 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_the_other_endpoints_are_kept_and_flagged(kind: str) -> None:
    conversation = open_one(one(kind))
    conversation.received([INITIAL[kind], TICK[kind]], at(0))
    strange = [TICK[other] for other in KINDS if other != kind]
    actions = conversation.received([strange[0], TICK[kind], strange[1], strange[2]], at(5))
    assert marks(actions) == [Mark.ODD, Mark.NONE, Mark.ODD, Mark.ODD]
    assert kept(actions) == [strange[0], TICK[kind], strange[1], strange[2]]
    assert Alive(data=True) in actions


@pytest.mark.parametrize("kind", KINDS)
def test_binary_frame_is_kept_and_flagged(kind: str) -> None:
    binary = Frame(TICK[kind].payload, is_text=False)
    assert marks(open_one(one(kind)).received([binary], at(0))) == [Mark.ODD | Mark.BINARY]


@pytest.mark.parametrize("kind", KINDS)
def test_a_person_hears_of_odd_frames_once_a_connection(kind: str) -> None:
    conversation = open_one(one(kind))
    conversation.received([INITIAL[kind], TICK[kind]], at(0))
    actions = [action for second in range(1, 9) for action in conversation.received([FOREIGN, FOREIGN], at(second))]
    [alarm] = [action for action in actions if isinstance(action, Alarm)]
    assert alarm.event == "feed.odd"
    assert "17 bytes" in alarm.detail


# --- zombie channels and polling: fact 8, Q2 ------------------------------------------------------------------


def test_dead_quotes_channel_is_left_for_another_without_polling() -> None:
    subscription = one("quotes")
    for turn in range(20):
        assert die_after_initial(subscription, "quotes", turn * 1000.0) == []
    assert len(set(quotes_channels(subscription, 2))) == 2


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
    assert conversation.closed(1000, "", at(second + 61)) == []


@pytest.mark.parametrize("kind", ["market", "hours"])
def test_channel_that_dies_after_ticking_is_dialled_again_at_once(kind: str) -> None:
    subscription = one(kind)
    conversation = open_one(subscription)
    conversation.received([INITIAL[kind], TICK[kind]], at(0))
    assert conversation.tick(at(100)) == [HANG_UP]
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
@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 1012, 4999])
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


# --- stale credentials: Q3 ------------------------------------------------------------------------------------


def profile_for(frames: Iterator[tuple[float, Frame]]) -> list[Action]:
    conversation = open_one(one("profile", silence_s=120))
    return [action for second, frame in frames for action in conversation.received([frame], at(second))]


def test_profile_that_lost_its_quote_for_long_is_suspected_once() -> None:
    def frames() -> Iterator[tuple[float, Frame]]:
        yield 0, INITIAL["profile"]
        for second in range(5, 1000, 5):
            yield second, NO_QUOTE

    actions = profile_for(frames())
    assert actions.count(Suspect("profile without a quote")) == 1
    assert kept(actions[: actions.index(Suspect("profile without a quote"))])[1:] == [NO_QUOTE] * 24  # 5 to 120 s
    assert actions.count(Alive(data=True)) == 199


def test_profile_that_gets_its_quote_back_in_time_is_not_suspected() -> None:
    def frames() -> Iterator[tuple[float, Frame]]:
        for second in range(0, 2000, 5):
            yield second, TICK["profile"] if second % 100 == 0 else NO_QUOTE

    assert not [action for action in profile_for(frames()) if isinstance(action, Suspect)]


def test_profile_of_an_unknown_symbol_is_not_rotated_for_ever() -> None:
    actions = profile_for((second, NO_QUOTE) for second in range(0, 2000, 5))
    assert not [action for action in actions if isinstance(action, Suspect)]


# --- rotation: Q3, Q10 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_connection_is_rotated_after_rotate_s(kind: str) -> None:
    assert one(kind, rotate_s=1000).rotate_at(at(7)) == at(1007).monotonic_ns


def test_no_hours_connection_of_a_year_reports_in_the_next_one() -> None:
    subscription = one("hours", rotate_s=10 * 366 * 86400.0)
    start = datetime(2026, 11, 21, 19, 19, 57, tzinfo=UTC)
    opened = at(0, start)
    for year in range(2027, 2060):
        dropped_ns = subscription.rotate_at(opened)
        opened = Moment(opened.utc_ns + dropped_ns - opened.monotonic_ns, dropped_ns)
        dropped = datetime.fromtimestamp(opened.utc_ns / SECOND_NS, UTC)
        # After midnight UTC even on a server whose clock is minutes behind, before New York's midnight.
        assert dropped - datetime(year, 1, 1, tzinfo=UTC) == timedelta(minutes=5)


def test_usual_rotations_of_a_year_never_carry_hours_across_new_year() -> None:
    subscription = one("hours")
    now = at(0, datetime(2027, 1, 3, tzinfo=UTC))
    new_year = datetime(2028, 1, 1, 0, 5, tzinfo=UTC)
    connections = 0
    while datetime.fromtimestamp(now.utc_ns / SECOND_NS, UTC) < new_year:
        until_ns = subscription.rotate_at(now)
        assert 0 < until_ns - now.monotonic_ns <= 6600 * SECOND_NS
        now = Moment(now.utc_ns + until_ns - now.monotonic_ns, until_ns)
        connections += 1
    assert datetime.fromtimestamp(now.utc_ns / SECOND_NS, UTC) == new_year
    assert connections == pytest.approx(363 * 86400 / 6600, rel=0.001)


def test_hours_connection_opened_in_the_first_minutes_of_a_year_is_not_trusted_with_it() -> None:
    opened = at(0, datetime(2027, 1, 1, 0, 2, tzinfo=UTC))  # a server three minutes behind is still in 2026
    assert one("hours").rotate_at(opened) == at(180).monotonic_ns


@pytest.mark.parametrize("kind", ["quotes", "profile", "market"])
def test_new_year_is_nothing_to_the_other_endpoints(kind: str) -> None:
    opened = at(0, datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
    assert one(kind, rotate_s=7000).rotate_at(opened) == at(7000).monotonic_ns


# --- everything at once ---------------------------------------------------------------------------------------


def test_ten_minutes_of_the_real_server_are_kept_whole_and_all_of_the_right_shape() -> None:
    raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO((FRAMES / "recording.ndjson.zst").read_bytes()))
    conversations: dict[str, Conversation] = {}
    actions: dict[str, list[Action]] = defaultdict(list)
    told: dict[str, list[Frame]] = defaultdict(list)
    for line in io.TextIOWrapper(raw, "utf-8"):
        row = orjson.loads(line)
        path, now = row["path"], Moment(row["received_ns"], row["received_ns"])
        if path not in conversations:
            conversations[path] = one(path.split("/")[1]).connect(now, takeover=False)
            conversations[path].opened(now)
        told[path].append(Frame(row["text"].encode()))
        actions[path] += conversations[path].tick(now) + conversations[path].received(told[path][-1:], now)
    assert len(told) == 5
    for path, frames in told.items():
        assert kept(actions[path]) == frames
        assert marks(actions[path]) == [Mark.INITIAL, Mark.DOUBLE] + [Mark.NONE] * (len(frames) - 2)
        assert actions[path].count(Alive(data=True)) == len(frames) - 1
        assert not [action for action in actions[path] if not isinstance(action, Keep | Alive)]


PAYLOADS = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([frame.payload for kind in KINDS if kind != "market" for frame in (INITIAL[kind], TICK[kind])]),
    st.sampled_from([NO_QUOTE.payload, b"[]", b'{"metadata":{"remaining_requests":0,"reset":99},"status":1}', b"NaN"]),
)
BATCHES = st.lists(st.lists(st.builds(Frame, PAYLOADS, st.booleans()), min_size=1, max_size=6), max_size=8)
STEPS = st.lists(st.floats(0, 100), min_size=8, max_size=8)


@given(st.sampled_from(KINDS), BATCHES, STEPS)
def test_whatever_arrives_is_kept_once_and_in_order(kind: str, batches: list[list[Frame]], steps: list[float]) -> None:
    subscription = one(kind)
    second, hung_up = 0.0, False
    conversation = open_one(subscription)
    for batch, step in zip(batches, steps, strict=False):
        second += step
        actions = conversation.tick(at(second))
        hung_up = hung_up or any(isinstance(action, HangUp) for action in actions)
        actions = conversation.received(batch, at(second))
        assert kept(actions) == batch
        assert not any(isinstance(action, HangUp | Send | RetryAfter) for action in actions)
        if hung_up:
            assert all(isinstance(action, Keep) for action in actions)
        runs = [action.mark for action in actions if isinstance(action, Keep)]
        assert all(mark != following for mark, following in pairwise(runs))
    assert all(isinstance(action, RetryAfter) for action in conversation.closed(1006, "", at(second)))


@given(st.sampled_from(KINDS), st.integers(100, 599), st.dictionaries(st.sampled_from(["retry-after"]), st.text()))
def test_no_refusal_raises(kind: str, status: int, headers: dict[str, str]) -> None:
    for action in one(kind).connect(at(0), takeover=False).refused(status, headers, b"\xff", at(1)):
        assert isinstance(action, RetryAfter)
        assert 0 <= action.seconds <= 86400
