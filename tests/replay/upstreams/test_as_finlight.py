from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.clock import SECOND_NS, Moment
from recorder.replay.port.handshake import Answer, Handshake
from recorder.replay.upstreams.as_finlight import Article, Finlight, Recent
from recorder.replay.upstreams.finlight_articles import Wanted
from recorder.replay.upstreams.imitation import LATER, NEVER_NS, Close, Later, Output, Send

START = Moment(1_795_289_590_092_000_000, 7 * SECOND_NS)


def after(seconds: float) -> Moment:
    shift_ns = int(seconds * SECOND_NS)
    return Moment(START.utc_ns + shift_ns, START.monotonic_ns + shift_ns)


def knock(path: str = "/", key: str = "k", takeover: bool = False) -> Handshake:
    headers = (("x-api-key", key),) + ((("x-takeover", "true"),) if takeover else ())
    return Handshake(path, headers=headers)


def article(number: int = 1, **fields: Any) -> Article:
    facts = {"link": f"https://x/{number}", "source": "www.reuters.com", "title": f"Story {number}", "language": "en"}
    return Article.of(orjson.dumps(facts | fields))


class Service:
    """A Finlight with its memory, and connections opened in one word."""

    def __init__(self, **options: Any) -> None:
        self.recent = Recent()
        self.finlight = Finlight(self.recent, **options)

    def open(self, number: int, request: Handshake | None = None, now: Moment = START) -> Answer | None:
        answer = self.finlight.handshake(number, request or knock(), now)
        if answer is None:
            self.finlight.opened(number, now)
        return answer

    def subscribe(self, number: int, path: str = "/", now: Moment = START, **fields: Any) -> list[Output]:
        assert self.open(number, knock(path), now) is None
        return self.finlight.received(number, orjson.dumps(fields).decode(), now)

    def delivered(self, story: Article, now: Moment = START) -> dict[str, list[int]]:
        self.recent.add(story)
        outputs = self.finlight.publish(story, now)
        return {send.channel: list(send.to) for send in outputs if isinstance(send, Send)}


def said(output: Output) -> dict[str, Any]:
    assert isinstance(output, Send)
    message = orjson.loads(output.payload)
    assert isinstance(message, dict)
    return message


# --- the door -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ((("x-api-key", "k"),), {}, None),
        ((), {"apiKey": "k"}, None),
        ((("X-Api-Key", "k"),), {}, 401),
        ((("x-api-key", "wrong"),), {}, 401),
        ((("x-api-key", ""),), {}, 401),
        ((), {}, 401),
    ],
)
def test_the_key_is_read_from_the_lower_case_header_or_the_query(
    headers: tuple[tuple[str, str], ...], query: dict[str, str], status: int | None
) -> None:
    finlight = Finlight(Recent(), keys=frozenset({"k"}))
    answer = finlight.handshake(1, Handshake("/", query, headers), START)
    assert (answer and answer.status) == status


@pytest.mark.parametrize(("path", "channel"), [("/", "enhanced"), ("", "enhanced"), ("/raw", "raw"), ("//raw", "raw")])
def test_each_path_has_its_stream(path: str, channel: str) -> None:
    service = Service()
    service.subscribe(1, path)
    assert service.delivered(article())[channel] == [1]


def test_other_paths_are_forbidden() -> None:
    answer = Service().open(1, knock("/news"))
    assert answer is not None and answer.status == 403


def test_a_key_without_a_free_slot_gets_429_until_one_is_free() -> None:
    service = Service(slots_max=2)
    assert service.open(1) is None
    assert service.open(2, knock("/raw")) is None
    refused = service.open(3)
    assert refused is not None and refused.status == 429
    assert service.open(4, knock(key="other")) is None
    service.finlight.closed(1, START)
    assert service.open(5) is None


@pytest.mark.parametrize("by_query", [False, True])
def test_takeover_preempts_the_oldest_connection(by_query: bool) -> None:
    service = Service(slots_max=2)
    service.subscribe(1)
    service.subscribe(2)
    request = Handshake("/", {"apiKey": "k", "takeover": "true"}) if by_query else knock(takeover=True)
    assert service.finlight.handshake(3, request, START) is None
    told, close = service.finlight.opened(3, START)
    assert isinstance(told, Send) and list(told.to) == [1]
    assert said(told)["action"] == "preempted"
    assert close == Close(1, 1000, "Connection Closed Normally")
    admit = said(service.finlight.received(3, "{}", START)[0])
    assert said(told)["newLeaseId"] == admit["leaseId"]
    assert service.delivered(article())["enhanced"] == [2, 3]


def test_takeover_with_a_free_slot_disturbs_nobody() -> None:
    service = Service(slots_max=2)
    service.subscribe(1)
    assert service.finlight.handshake(2, knock(takeover=True), START) is None
    assert service.finlight.opened(2, START) == []


# --- subscription ---------------------------------------------------------------------------------------------

OFFICIAL = """{"query": null, "sources": null, "excludeSources": null, "optInSources": null, "language": null,
 "extended": false, "tickers": null, "includeEntities": false, "excludeEmptyContent": false, "countries": null,
 "categories": null, "includeUpdates": false, "clientNonce": "649e4cc3-b11d-4dd5-9d37-bd0158da3c4d"}"""


@pytest.mark.parametrize(
    ("first", "nonce"),
    [
        (OFFICIAL, "649e4cc3-b11d-4dd5-9d37-bd0158da3c4d"),
        ('{"query":"","language":"en","includeContent":true,"clientNonce":"n"}', "n"),
        ('{"query": null, "sources": null, "excludeSources": null, "language": null}', None),
        ('{"something": [1], "else": {}}', None),
        (b"{}", None),
    ],
)
def test_the_first_frame_is_a_subscription_whatever_its_keys(first: str | bytes, nonce: str | None) -> None:
    service = Service()
    service.open(1)
    (output,) = service.finlight.received(1, first, START)
    admit = said(output)
    assert admit.pop("leaseId")
    assert admit.pop("clientNonce", None) == nonce
    assert admit == {"action": "admit", "serverNow": 1_795_289_590_092}
    assert service.delivered(article())["enhanced"] == [1]


def test_before_its_subscription_a_connection_gets_nothing() -> None:
    service = Service()
    service.open(1)
    assert service.delivered(article()) == {"enhanced": [], "raw": []}


def test_the_enhanced_stream_begins_with_the_newest_matching_article() -> None:
    service = Service()
    for number, language in ((1, "en"), (2, "de"), (3, "fr")):
        service.delivered(article(number, language=language))
    _, newest = service.subscribe(1, language="de")
    assert isinstance(newest, Send) and newest.role == "initial"
    assert said(newest)["data"]["link"] == "https://x/2"
    assert len(service.subscribe(2, language="es")) == 1  # admit alone
    assert len(service.subscribe(3, "/raw")) == 1


def test_an_article_leaves_as_the_bytes_it_came_in() -> None:
    service = Service()
    service.subscribe(1)
    body = b'{"link" : "https://x","confidence":0.50, "title":"caf\xc3\xa9 \\u00e9","odd":1e400}'
    (enhanced, _) = service.finlight.publish(Article.of(body), START)
    assert isinstance(enhanced, Send)
    assert enhanced.payload == b'{"action":"sendArticle","data":' + body + b"}"


def test_the_raw_stream_gets_its_own_bytes() -> None:
    service = Service()
    service.subscribe(1, "/raw")
    _, raw = service.finlight.publish(Article.of(b'{"a":1}', b'{"b":2}'), START)
    assert isinstance(raw, Send)
    assert (raw.to, raw.payload) == ([1], b'{"action":"sendArticle","data":{"b":2}}')


def test_updates_go_only_to_those_who_asked_for_them() -> None:
    service = Service()
    service.subscribe(1)
    service.subscribe(2, includeUpdates=True)
    assert service.delivered(article(1))["enhanced"] == [1, 2]
    assert service.delivered(article(1, isUpdate=True))["enhanced"] == [2]
    assert service.delivered(article(1, isUpdate=False))["enhanced"] == [1, 2]
    assert service.delivered(article(1, title='the word "isUpdate": true'))["enhanced"] == [1, 2]


RICH: dict[str, Any] = {
    "content": "long",
    "countries": ["US"],
    "categories": ["markets"],
    "companies": [{"ticker": "NVDA", "primaryListing": {"ticker": "NVDA"}, "otherListings": [{"ticker": "NVD"}]}],
}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"sources": ["reuters.com"]}, True),
        ({"sources": ["www.bloomberg.com"]}, False),
        ({"excludeSources": ["www.reuters.com"]}, False),
        ({"excludeSources": ["www.bloomberg.com"]}, True),
        ({"sources": []}, True),
        ({"language": "en"}, True),
        ({"language": "de"}, False),
        ({"tickers": ["nvda", "AAPL"]}, True),
        ({"tickers": ["NVD"]}, True),
        ({"tickers": ["AAPL"]}, False),
        ({"countries": ["us"]}, True),
        ({"countries": ["DE"]}, False),
        ({"categories": ["markets", "energy"]}, True),
        ({"categories": ["energy"]}, False),
        ({"excludeEmptyContent": True}, True),
        ({"query": "ticker:NVDA AND NOT source:www.bloomberg.com"}, True),
        ({"query": "ticker:NVDA", "language": "de"}, False),
        ({"optInSources": ["www.bloomberg.com"]}, True),
        ({"tickers": "NVDA", "sources": {"a": 1}, "language": 7, "query": ["x"]}, True),  # wrong types: unset
    ],
)
def test_every_filter_of_the_subscription_is_obeyed(fields: dict[str, Any], wanted: bool) -> None:
    service = Service()
    service.subscribe(1, **fields)
    assert service.delivered(article(1, **RICH))["enhanced"] == ([1] if wanted else [])


def test_empty_content_can_be_excluded() -> None:
    service = Service()
    service.subscribe(1, excludeEmptyContent=True)
    assert service.delivered(article(content=None))["enhanced"] == []
    assert service.delivered(article(content=""))["enhanced"] == []


def test_the_raw_stream_does_not_filter_by_what_it_does_not_know() -> None:
    service = Service()
    service.subscribe(1, "/raw", tickers=["AAPL"], categories=["energy"], language="en")
    assert service.delivered(article(**RICH))["raw"] == [1]
    (answer,) = service.subscribe(2, "/raw", query="ticker:NVDA")
    assert said(answer)["action"] == "error"


def test_a_query_that_cannot_be_understood_is_answered_with_an_error_and_silence() -> None:
    service = Service()
    (answer,) = service.subscribe(1, query="(nvidia")
    assert said(answer)["action"] == "error"
    assert not {"limit", "blocked"} & set(str(said(answer)["data"]).lower().split())
    assert service.delivered(article())["enhanced"] == []


# --- heartbeat, limits ----------------------------------------------------------------------------------------


def test_a_ping_is_answered_with_its_own_t() -> None:
    service = Service()
    service.open(1)
    assert said(service.finlight.received(1, '{"action": "ping", "t": 1795289590092}', START)[0]) == {
        "action": "pong",
        "t": 1795289590092,
    }
    assert said(service.finlight.received(1, '{"action":"ping"}', START)[0]) == {"action": "pong"}


@pytest.mark.parametrize("nonsense", ["", "hello", "[1]", "1", b"\xff\x00", '{"a":'])
def test_what_is_no_json_object_gets_the_gateways_own_error(nonsense: str | bytes) -> None:
    service = Service()
    service.open(1)
    assert said(service.finlight.received(1, nonsense, START)[0])["message"] == "Internal server error"


def test_at_the_connection_limit_the_gateway_closes_with_going_away() -> None:
    service = Service(limit_s=7200, idle_s=10_000)
    service.subscribe(1)
    assert service.finlight.wake_ns == after(7200).monotonic_ns
    assert service.finlight.tick(after(7199.9)) == []
    assert service.finlight.tick(after(7200)) == [Close(1, 1001, "Going away")]
    assert service.finlight.wake_ns == NEVER_NS
    assert service.finlight.tick(after(7201)) == []


def test_an_idle_connection_is_closed_after_ten_minutes_and_traffic_either_way_keeps_it() -> None:
    service = Service()
    service.subscribe(1)
    service.subscribe(2, language="de")
    service.finlight.received(1, '{"action":"ping"}', after(500))
    service.delivered(article(), after(900))
    assert service.finlight.tick(after(600)) == [Close(2, 1001, "Going away")]
    assert service.finlight.tick(after(1499)) == []
    assert service.finlight.tick(after(1500)) == [Close(1, 1001, "Going away")]


def test_a_connection_that_is_gone_is_forgotten() -> None:
    service = Service()
    service.subscribe(1)
    service.finlight.closed(1, START)
    assert service.finlight.received(1, "{}", START) == []
    assert service.finlight.wake_ns == NEVER_NS
    assert service.delivered(article())["enhanced"] == []


# --- clients that come back -----------------------------------------------------------------------------------


def missed(outputs: list[Output]) -> list[str]:
    """Links of the articles that follow the admission."""
    assert said(outputs[0])["action"] == "admit"
    return [said(output)["data"]["link"] for output in outputs[1:]]


@pytest.mark.parametrize("code", [1001, 4000])
@pytest.mark.parametrize("path", ["/", "/raw"])
def test_what_was_published_while_a_client_was_away_is_kept_for_it(code: int, path: str) -> None:
    service = Service(keep_s=30)
    service.subscribe(1, path)
    service.delivered(article(1))
    service.finlight.closed(1, after(1), code)
    service.delivered(article(2), after(1.1))
    assert service.open(2, knock(path), after(1.5)) is None
    service.delivered(article(3), after(1.6))  # connected, not subscribed yet
    back = service.finlight.received(2, "{}", after(1.7))
    assert missed(back) == ["https://x/2", "https://x/3"]
    assert sum(map(len, service.delivered(article(4), after(2)).values())) == 1
    assert service.finlight.kept_bytes == 0


def test_a_client_that_missed_nothing_gets_nothing_twice() -> None:
    service = Service(keep_s=30)
    service.subscribe(1)
    service.delivered(article(1))
    service.finlight.closed(1, after(1), 1001)
    assert missed(service.subscribe(2, now=after(1.5))) == []


def test_what_is_kept_has_passed_the_filters_of_before_and_of_now() -> None:
    service = Service(keep_s=30)
    service.subscribe(1, language="en")
    service.finlight.closed(1, after(1), 1001)
    for number, fields in enumerate(({"language": "de"}, {"title": "apples"}, {"title": "pears"})):
        service.delivered(article(number, **fields), after(2))
    assert missed(service.subscribe(2, now=after(3), query="pears")) == ["https://x/2"]


@pytest.mark.parametrize(
    ("code", "request_", "seconds"),
    [
        (1000, knock(), 1),
        (1006, knock(), 1),
        (1001, knock("/raw"), 1),
        (1001, knock(key="other"), 1),
        (1001, knock(), 31),
    ],
)
def test_nobody_else_gets_it(code: int, request_: Handshake, seconds: float) -> None:
    service = Service(keep_s=30)
    service.subscribe(1)
    service.finlight.closed(1, START, code)
    service.delivered(article(1))
    service.finlight.tick(after(seconds))
    service.recent = Recent()
    service.finlight.source = service.recent
    assert service.open(2, request_, after(seconds)) is None
    assert missed(service.finlight.received(2, "{}", after(seconds))) == []


def test_what_nobody_came_for_is_let_go_in_time() -> None:
    service = Service(keep_s=30, limit_s=None, idle_s=None)
    service.subscribe(1)
    assert service.finlight.wake_ns == NEVER_NS
    service.finlight.closed(1, START, 4000)
    service.delivered(article(1))
    assert service.finlight.kept_bytes > 0
    assert service.finlight.wake_ns == after(30).monotonic_ns
    service.finlight.tick(after(30))
    assert (service.finlight.kept_bytes, service.finlight.wake_ns) == (0, NEVER_NS)


def test_a_client_that_breaks_off_while_coming_back_is_still_expected() -> None:
    service = Service(keep_s=30)
    service.subscribe(1)
    service.finlight.closed(1, START, 1001)
    service.delivered(article(1))
    service.open(2, now=after(1))
    assert not service.finlight.expects("k", "enhanced")
    service.finlight.closed(2, after(2), 1006)
    assert service.finlight.expects("k", "enhanced")
    assert missed(service.subscribe(3, now=after(31))) == ["https://x/1"]


def test_without_it_a_reconnect_loses_what_was_published_in_between() -> None:
    service = Service()
    service.subscribe(1)
    service.finlight.closed(1, START, 1001)
    for number in (1, 2):
        service.delivered(article(number))
    assert missed(service.subscribe(2)) == ["https://x/2"]  # the newest only


# --- sources that look first ----------------------------------------------------------------------------------


class Archive:
    """A source that has to look first."""

    def newest(self, wanted: Wanted) -> Later:
        self.asked = wanted
        return LATER


def test_a_newest_article_that_has_to_be_looked_for_comes_when_it_is_found() -> None:
    archive = Archive()
    finlight = Finlight(archive)
    for number in (1, 2):
        finlight.handshake(number, knock(), START)
        (admit,) = finlight.received(number, "{}", START)
        assert said(admit)["action"] == "admit"
    (found,) = finlight.answer(archive.asked, article(7))
    assert isinstance(found, Send)
    assert (list(found.to), found.role, found.payload) == ([2], "initial", article(7).frame)
    assert finlight.answer(archive.asked, None) == []
    finlight.received(2, '{"language":"de"}', START)
    before = archive.asked
    finlight.received(2, "{}", START)
    assert finlight.answer(before, article(8)) == []  # that subscription is not there any more


def test_one_stream_can_be_published_to_alone() -> None:
    service = Service()
    service.subscribe(1)
    service.subscribe(2, "/raw")
    (only,) = service.finlight.publish(article(), START, ["raw"])
    assert isinstance(only, Send) and (only.channel, list(only.to)) == ("raw", [2])


@pytest.mark.parametrize("field", ["countries", "categories", "companies", "source", "language", "content"])
@pytest.mark.parametrize("odd", [5, "text", None, {"a": 1}, [None], [5], [[]]])
def test_articles_with_odd_fields_upset_no_filter(field: str, odd: object) -> None:
    service = Service()
    service.subscribe(
        1,
        countries=["US"],
        categories=["crypto"],
        tickers=["AAPL"],
        sources=["x"],
        query="country:US isin:1 company:x a",
    )
    service.delivered(article(1, **{field: odd}))
    for at, query in enumerate(("country:US", "category:crypto", "isin:1", "company:x", "ticker:A", "content:a"), 2):
        service.subscribe(at, query=query)
    service.subscribe(9, countries=["US"])
    service.subscribe(10, categories=["US"])
    service.delivered(article(2, **{field: odd}))


FIELDS = ("query", "sources", "excludeSources", "language", "tickers", "countries", "categories", "includeUpdates")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(
    st.dictionaries(st.sampled_from((*FIELDS, "excludeEmptyContent", "clientNonce", "action", "t")), ANYTHING),
    st.dictionaries(
        st.sampled_from(("link", "source", "title", "summary", "content", "language", "companies", "isUpdate")),
        ANYTHING,
    ),
)
def test_whatever_is_subscribed_to_and_published_nothing_raises(fields: dict[str, Any], facts: dict[str, Any]) -> None:
    service = Service(keep_s=30)
    service.subscribe(1, **fields)
    service.delivered(article(1, **facts))
    service.finlight.closed(1, START, 1001)
    service.delivered(article(2, **facts))
    service.subscribe(2, **fields)
