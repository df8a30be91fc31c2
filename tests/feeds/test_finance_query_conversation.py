"""One connection: what each frame means, and what silence means. Times in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
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
    Subscription,
    Suspect,
)
from recorder.feeds.finance_query import subscriptions
from recorder.message import Kind, Mark
from recorder.settings import Hours, Market, Profile, Quotes

FRAMES = Path(__file__).parents[1] / "frames" / "finance_query"
KINDS = ["quotes", "profile", "market", "hours"]
HANG_UP = HangUp(1000, "", "silent")


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


def marks(actions: Sequence[Action]) -> list[Mark]:
    return [action.mark for action in actions if isinstance(action, Keep) for _ in action.frames]


def kept(actions: Sequence[Action]) -> list[Frame]:
    return [frame for action in actions if isinstance(action, Keep) for frame in action.frames]


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
    assert conversation.received([TICK[kind]], at(202)) == [Keep([TICK[kind]])]
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
