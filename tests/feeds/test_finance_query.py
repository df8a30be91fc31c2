"""What is dialled and when it is replaced, and whole feeds of the real server. Times in seconds."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
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
    Action,
    Alive,
    Conversation,
    Frame,
    HangUp,
    Keep,
    RetryAfter,
    Send,
    Subscription,
)
from recorder.feeds.finance_query import subscriptions
from recorder.message import Mark
from recorder.settings import Hours, Market, Profile, Quotes

FRAMES = Path(__file__).parents[1] / "frames" / "finance_query"
KINDS = ["quotes", "profile", "market", "hours"]


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


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_is_no_part_of_a_message_s_identity(kind: str) -> None:
    subscription = one(kind)
    bare = subscription.identity(INITIAL[kind])
    assert isinstance(bare, bytes)
    assert b"metadata" not in bare
    assert subscription.identity(Frame(bare)) == bare
    assert subscription.identity(TICK[kind]) == TICK[kind].payload != bare


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
