from __future__ import annotations

import orjson
import pytest

from recorder.clock import SECOND_NS, Moment
from recorder.replay.port.handshake import Handshake
from recorder.replay.upstreams.as_finance_query import Fetch, FinanceQuery, with_metadata
from recorder.replay.upstreams.imitation import LATER, NEVER_NS, Cut, Later, Output, Send

START = Moment(1_795_289_590_092_000_000, 7 * SECOND_NS)


def after(seconds: float) -> Moment:
    shift_ns = int(seconds * SECOND_NS)
    return Moment(START.utc_ns + shift_ns, START.monotonic_ns + shift_ns)


class Yahoo:
    """A source that says what it was asked for, and can fail."""

    def __init__(self) -> None:
        self.failing = False
        self.fetches = 0

    def fetch(self, wanted: Fetch, now: Moment) -> bytes | None:
        self.fetches += 1
        if self.failing:
            return None
        if wanted.endpoint == "quotes":
            return orjson.dumps([{"symbol": symbol} for symbol in sorted(wanted.symbols)])
        return orjson.dumps({"endpoint": wanted.endpoint, "symbols": sorted(wanted.symbols)})


class Service:
    def __init__(self, **options: float | None) -> None:
        self.yahoo = Yahoo()
        self.server = FinanceQuery(self.yahoo, **options)  # type: ignore[arg-type]

    def open(self, number: int, path: str, text: str | None = None, now: Moment = START) -> list[Output]:
        assert self.server.handshake(number, Handshake(path, client="1.2.3.4"), now) is None
        outputs = self.server.opened(number, now)
        return outputs + (self.server.received(number, text, now) if text is not None else [])


def sent(outputs: list[Output]) -> list[tuple[list[int], str, str]]:
    return [(list(each.to), each.role, each.channel) for each in outputs if isinstance(each, Send)]


def shown(output: Output) -> object:
    assert isinstance(output, Send)
    return orjson.loads(output.payload)


# --- the door -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "", "/quotes/", "/v1/quotes", "/markets", "/profile", "/profile/", "/profile/A/B", "/Hours"]
)
def test_unknown_paths_are_refused_with_403_and_no_body(path: str) -> None:
    answer = Service().server.handshake(1, Handshake(path), START)
    assert answer is not None and (answer.status, answer.body) == (403, b"")


@pytest.mark.parametrize(
    ("path", "status"), [("/hours", 200), ("/v1/health", 200), ("/v1/ping", 200), ("/quotes", 404), ("/market", 404)]
)
def test_a_plain_get_is_answered_as_the_rest_routes_do(path: str, status: int) -> None:
    answer = Service().server.handshake(1, Handshake(path, upgrade=False), START)
    assert answer is not None and answer.status == status
    orjson.loads(answer.body)


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/hours", "hours"),
        ("/market", "market"),
        ("/profile/AAPL", "profile:AAPL"),
        ("/profile/aapl", "profile:aapl"),
        ("/profile/%5EGSPC", "profile:^GSPC"),
    ],
)
def test_three_endpoints_send_at_once_on_the_channel_of_their_name(path: str, channel: str) -> None:
    assert sent(Service().open(1, path)) == [([1], "initial", channel)]


# --- quotes ---------------------------------------------------------------------------------------------------


def test_quotes_wait_for_the_first_text_and_ignore_the_others() -> None:
    service = Service()
    assert service.open(1, "/quotes") == []
    assert service.server.wake_ns == NEVER_NS
    (initial,) = service.server.received(1, "msft,AAPL,aapl", START)
    assert shown(initial) == [{"symbol": "AAPL"}, {"symbol": "MSFT"}]
    assert service.server.received(1, "TSLA", START) == []


def test_symbols_are_not_stripped() -> None:
    (initial,) = Service().open(1, "/quotes", " AAPL,MSFT")
    assert shown(initial) == [{"symbol": " AAPL"}, {"symbol": "MSFT"}]


def test_a_binary_frame_is_the_end() -> None:
    service = Service()
    service.open(1, "/quotes")
    assert service.server.received(1, b"AAPL", START) == [Cut(1)]


def test_the_clients_text_names_the_channel_verbatim() -> None:
    service = Service()
    for number, text in enumerate(("AAPL,MSFT", "MSFT,AAPL", "aapl,msft", "AAPL,MSFT"), 1):
        service.open(number, "/quotes", text)
    assert service.server.channels == {"AAPL,MSFT": (1, 4), "MSFT,AAPL": (2,), "aapl,msft": (3,)}


# --- cadence --------------------------------------------------------------------------------------------------


def test_whoever_opens_a_channel_gets_a_second_frame_milliseconds_later_and_then_one_each_refresh() -> None:
    service = Service(refresh_s=5.0)
    service.open(1, "/hours")
    assert service.server.tick(after(0.001)) == []
    assert 0.001 <= (service.server.wake_ns - START.monotonic_ns) / SECOND_NS <= 0.120
    assert sent(service.server.tick(after(0.01))) == [([1], "data", "hours")]
    assert service.server.tick(after(5.0)) == []
    assert sent(service.server.tick(after(5.01))) == [([1], "data", "hours")]


def test_a_late_tick_shifts_the_ones_after_it() -> None:
    service = Service(refresh_s=5.0)
    service.open(1, "/hours")
    service.server.tick(after(0.01))
    service.server.tick(after(6))
    assert service.server.wake_ns == after(11).monotonic_ns


def test_a_joiner_gets_its_initial_frame_and_then_the_next_broadcast() -> None:
    service = Service(refresh_s=5.0)
    service.open(1, "/hours")
    service.server.tick(after(0.01))
    assert sent(service.open(2, "/hours", now=after(3))) == [([2], "initial", "hours")]
    assert service.server.tick(after(3.1)) == []
    assert sent(service.server.tick(after(5.01))) == [([1, 2], "data", "hours")]


def test_one_fetch_serves_all_clients_of_a_channel() -> None:
    service = Service(refresh_s=5.0)
    for number in range(1, 11):
        service.open(number, "/market")
    before = service.yahoo.fetches
    service.server.tick(after(0.01))
    assert service.yahoo.fetches == before + 1


def test_the_last_to_leave_ends_the_channel() -> None:
    service = Service()
    service.open(1, "/hours")
    service.open(2, "/hours")
    service.server.closed(1, START)
    assert service.server.channels == {"hours": (2,)}
    service.server.closed(2, START)
    assert service.server.channels == {}
    assert service.server.wake_ns == NEVER_NS


# --- what kills it --------------------------------------------------------------------------------------------


def test_a_failed_first_fetch_cuts_the_connection() -> None:
    service = Service()
    service.yahoo.failing = True
    assert service.open(1, "/market") == [Cut(1)]


def test_a_failed_fetch_kills_the_channel_for_all_who_join_it_until_everyone_has_left() -> None:
    service = Service()
    service.open(1, "/quotes", "AAPL")
    service.yahoo.failing = True
    assert service.server.tick(after(1)) == []
    service.yahoo.failing = False
    assert service.server.tick(after(100)) == []
    assert sent(service.open(2, "/quotes", "AAPL", after(101))) == [([2], "initial", "AAPL")]
    assert service.server.tick(after(200)) == []
    assert sent(service.open(3, "/quotes", "aapl", after(201))) == [([3], "initial", "aapl")]
    assert sent(service.server.tick(after(202))) == [([3], "data", "aapl")]  # another name, another channel
    service.server.closed(1, after(203))
    service.server.closed(2, after(203))
    service.open(4, "/quotes", "AAPL", after(204))
    assert ([4], "data", "AAPL") in sent(service.server.tick(after(205)))


def test_a_channel_can_be_killed_to_order() -> None:
    service = Service()
    service.open(1, "/market")
    service.server.kill("market")
    assert service.server.wake_ns == NEVER_NS
    with pytest.raises(KeyError):
        service.server.kill("hours")


def test_all_channels_of_an_endpoint_can_be_killed_whatever_they_are_called() -> None:
    service = Service()
    service.open(1, "/quotes", "AAPL")
    service.open(2, "/quotes", "aapl")
    service.open(3, "/hours")
    service.server.kill_endpoint("quotes")
    assert sent(service.server.tick(after(1))) == [([3], "data", "hours")]


def test_colliding_channel_names_send_both_what_the_first_one_asked_for() -> None:
    service = Service()
    service.open(1, "/hours")
    (initial,) = service.open(2, "/quotes", "hours")
    assert shown(initial) == [{"symbol": "HOURS"}]
    (broadcast,) = service.server.tick(after(1))
    assert isinstance(broadcast, Send) and list(broadcast.to) == [1, 2]
    assert shown(broadcast) == {"endpoint": "hours", "symbols": []}


# --- fed by somebody who knows when something changes ---------------------------------------------------------


class Recorded:
    """A source that does not know everything at once."""

    def __init__(self) -> None:
        self.frames: dict[str, bytes | Later | None] = {}

    def fetch(self, wanted: Fetch, now: Moment) -> bytes | Later | None:
        return self.frames.get(wanted.endpoint, LATER)


def unpaced() -> tuple[Service, Recorded]:
    service, source = Service(refresh_s=None), Recorded()
    service.server.source = source
    return service, source


def test_without_a_pace_of_its_own_nothing_comes_but_what_is_broadcast() -> None:
    service, source = unpaced()
    source.frames = {"hours": b"1", "market": b"2"}
    assert sent(service.open(1, "/hours") + service.open(2, "/market")) == [
        ([1], "initial", "hours"),
        ([2], "initial", "market"),
    ]
    assert service.server.wake_ns == NEVER_NS
    assert service.server.tick(after(100)) == []
    assert sent(service.server.broadcast(lambda fetch: fetch.endpoint == "market", after(5))) == [
        ([2], "data", "market")
    ]


def test_who_joins_before_there_is_a_frame_gets_the_first_one_as_initial() -> None:
    service, source = unpaced()
    assert service.open(1, "/hours") == []
    assert service.server.answer(START) == []
    source.frames["hours"] = b"1"
    assert sent(service.server.answer(START)) == [([1], "initial", "hours")]
    assert service.server.answer(START) == []
    source.frames["hours"] = LATER
    assert service.open(2, "/hours") == []
    source.frames["hours"] = b"2"
    assert sent(service.server.broadcast(lambda _: True, START)) == [([2], "initial", "hours"), ([1], "data", "hours")]


def test_who_leaves_before_there_is_a_frame_is_not_waited_for() -> None:
    service, source = unpaced()
    for number in (1, 2):
        service.open(number, "/hours")
    service.server.closed(1, START)
    source.frames["hours"] = b"1"
    assert sent(service.server.answer(START)) == [([2], "initial", "hours")]


def test_a_first_fetch_that_fails_later_cuts_all_the_same() -> None:
    service, source = unpaced()
    service.open(1, "/hours")
    source.frames["hours"] = None
    assert service.server.answer(START) == [Cut(1)]


def test_after_a_new_beginning_everybody_gets_an_initial_frame() -> None:
    service, source = unpaced()
    source.frames["hours"] = b"1"
    service.open(1, "/hours")
    service.server.begin_anew()
    assert sent(service.server.answer(START)) == [([1], "initial", "hours")]
    assert sent(service.server.broadcast(lambda _: True, START)) == [([1], "data", "hours")]


# --- security -------------------------------------------------------------------------------------------------


def test_with_security_on_connects_are_counted_told_and_then_refused_until_the_day_is_over() -> None:
    service = Service(connects_per_day_max=2)
    (first,) = service.open(1, "/hours")
    assert isinstance(first, Send)
    assert first.payload.startswith(b'{"metadata":{"rate_limit":2,"remaining_requests":1,"reset":86400},"endpoint":')
    (second,) = service.open(2, "/quotes", "AAPL", after(10))
    assert shown(second) == [
        {"metadata": {"rate_limit": 2, "remaining_requests": 0, "reset": 86390}},
        {"symbol": "AAPL"},
    ]
    refused = service.server.handshake(3, Handshake("/hours", client="1.2.3.4"), after(20))
    assert refused is not None and (refused.status, refused.body) == (403, b"")
    assert service.server.handshake(4, Handshake("/hours", client="5.6.7.8"), after(20)) is None
    assert service.server.handshake(5, Handshake("/hours", client="1.2.3.4"), after(86_400)) is None


def test_broadcasts_carry_no_metadata() -> None:
    service = Service(connects_per_day_max=2)
    service.open(1, "/hours")
    (broadcast,) = service.server.tick(after(1))
    assert isinstance(broadcast, Send) and b"metadata" not in broadcast.payload


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'{"a":1}', b'{"metadata":{},"a":1}'),
        (b"{}", b'{"metadata":{}}'),
        (b'[{"a":1}]', b'[{"metadata":{}},{"a":1}]'),
        (b"[]", b'[{"metadata":{}}]'),
    ],
)
def test_metadata_is_the_first_key_or_element_and_the_rest_stays_as_it_was(frame: bytes, expected: bytes) -> None:
    assert with_metadata(frame, b"{}") == expected
