"""Backfill against the imitated API, without a socket: a pass takes milliseconds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.backfill import (
    PAGES_MAX,
    TRIES_MAX,
    Backfill,
    ClosedGap,
    Done,
    Fetch,
    Keep,
    Wait,
)
from recorder.feeds.finlight_rest import DAY_S, HOUR_S, Post, Search, Version
from recorder.feeds.redial import ConnectBudget
from recorder.replay.port.handshake import Answer, Handshake
from recorder.replay.upstreams.as_finlight_rest import Archive, FinlightRest
from recorder.replay.upstreams.finlight_articles import Article
from recorder.settings import Finlight

KEY = "sk_this-must-not-be-seen"
HOUR_NS = 3600 * SECOND_NS
GAP = ClosedGap(1_790_000_000 * SECOND_NS, 1_790_000_300 * SECOND_NS)  # five minutes
NOW_NS = GAP.until_ns + 120 * SECOND_NS


def iso(utc_ns: int) -> str:
    return datetime.fromtimestamp(utc_ns / SECOND_NS, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def article(name: str, created_ns: int, published_ns: int | None = None, revised_ns: int | None = None) -> Article:
    facts: dict[str, object] = {
        "link": f"https://example.com/{name}",
        "source": "example.com",
        "title": name,
        "language": "en",
        "publishDate": iso(created_ns if published_ns is None else published_ns),
        "createdAt": iso(created_ns),
    }
    if revised_ns is not None:
        facts |= {"revisedDate": iso(revised_ns), "isUpdate": True}
    return Article.of(orjson.dumps(facts))


def link_of(text: bytes) -> str:
    return str(orjson.loads(text)["link"]).rpartition("/")[2]


class World:
    """The API, and whoever asks it. Every request takes a tenth of a second."""

    def __init__(self, feed: Mapping[str, object] | None = None, per_day_max: int = 100_000) -> None:
        self.archive = Archive()
        self.rest = FinlightRest(self.archive)
        self.feed = Finlight.model_validate({"kind": "finlight", "include_updates": False, **(feed or {})})
        self.budget = ConnectBudget(per_day_max)
        self.now = Moment(NOW_NS, 0)
        self.recorded: set[Version] = set()
        self.asked: list[Post] = []
        self.waits: list[float] = []
        self.kept: list[bytes] = []
        self.meanwhile: Callable[[int], None] = lambda request: None
        self.answer: Callable[[int, Answer], Answer | None] = lambda request, answer: answer

    def publish(self, name: str, at_ns: int, **options: int) -> None:
        self.archive.add(article(name, at_ns, **options), at_ns)

    def pass_(self, *gaps: ClosedGap, settle_s: float = 60.0) -> Done:
        search = Search(self.feed, KEY)
        backfill = Backfill(
            search,
            gaps or (GAP,),
            self.recorded,
            self.budget,
            self.now,
            settle_s=settle_s,
            updates=self.feed.include_updates,
        )
        actions = backfill.begin(self.now)
        while True:
            for action in actions[:-1]:
                assert isinstance(action, Keep)
                self.kept += action.articles
            match actions[-1]:
                case Done() as done:
                    return done
                case Wait(seconds):
                    self.waits.append(seconds)
                    self._pass_time(seconds)
                    actions = backfill.waited(self.now)
                case Fetch(request):
                    self._pass_time(0.1)
                    answer = self._fetch(request)
                    if answer is None:
                        actions = backfill.failed("the connection was lost", self.now)
                    else:
                        actions = backfill.answered(answer.status, {}, answer.body, self.now)

    def _pass_time(self, seconds: float) -> None:
        ns = int(seconds * SECOND_NS)
        self.now = Moment(self.now.utc_ns + ns, self.now.monotonic_ns + ns)

    def _fetch(self, request: Post) -> Answer | None:
        self.asked.append(request)
        assert request.url == "https://api.finlight.me/v2/articles"
        answer = self.rest.answer("POST", Handshake("/v2/articles", {}, request.headers), request.body, self.now)
        self.meanwhile(len(self.asked))
        return self.answer(len(self.asked), answer)

    @property
    def links(self) -> list[str]:
        return [link_of(text) for text in self.kept]


def test_what_was_published_in_the_gap_is_kept_once_and_nothing_else() -> None:
    world = World()
    for number in range(-200, 400):  # two a minute
        world.publish(f"a{number}", GAP.since_ns + number * 30 * SECOND_NS)
    world.recorded = {(f"https://example.com/a{number}", None) for number in range(-200, 0)}
    world.recorded |= {(f"https://example.com/a{number}", None) for number in range(11, 400)}
    done = world.pass_()
    assert sorted(world.links) == sorted(f"a{number}" for number in range(11))
    assert done.refusal is None
    (filling,) = done.fillings
    assert (filling.recovered, filling.already) == (11, 4)  # the margin of a minute on both sides was recorded
    assert (filling.gap, done.pages) == (GAP, len(world.asked))


def test_the_request_is_the_documented_one() -> None:
    world = World({"query": "nvidia", "exclude_sources": ["a.com"], "include_content": True, "include_updates": True})
    world.pass_()
    first, second = world.asked
    assert orjson.loads(first.body) == {
        "query": "nvidia",
        "excludeSources": ["a.com"],
        "includeContent": True,
        "from": iso(GAP.since_ns - 60 * SECOND_NS - 48 * HOUR_NS),
        "orderBy": "createdAt",
        "order": "DESC",
        "pageSize": 100,
        "page": 1,
    }
    assert orjson.loads(second.body)["orderBy"] == "revisedDate"
    assert ("X-API-KEY", KEY) in first.headers
    assert KEY not in repr(first)


def test_a_late_article_is_found_although_its_publish_date_is_old() -> None:
    world = World()
    world.publish("late", GAP.since_ns + SECOND_NS, published_ns=GAP.since_ns - 20 * HOUR_NS)
    world.publish("wrong zone", GAP.since_ns + 2 * SECOND_NS, published_ns=GAP.since_ns + 12 * HOUR_NS)
    world.pass_()
    assert sorted(world.links) == ["late", "wrong zone"]


def test_paging_ends_behind_the_gap() -> None:
    world = World()
    for number in range(1000):
        world.publish(f"a{number}", GAP.until_ns - number * 10 * SECOND_NS)
    world.pass_()
    assert len(world.asked) == 1  # 100 articles reach back 1000 s
    world = World()
    for number in range(1000):
        world.publish(f"a{number}", GAP.until_ns - number * SECOND_NS)
    world.pass_()
    assert len(world.asked) == 4


def test_pages_that_shift_while_paging_neither_lose_nor_double() -> None:
    world = World()
    for number in range(600):
        world.publish(f"a{number}", GAP.since_ns + number * SECOND_NS // 2)

    def meanwhile(request: int) -> None:
        for number in range(37):
            world.publish(f"new{request}-{number}", world.now.utc_ns)

    world.meanwhile = meanwhile
    done = world.pass_()
    assert Counter(world.links) == Counter({f"a{number}": 1 for number in range(600)})
    assert done.pages > 7  # more than without the shift


def test_what_the_stream_may_still_bring_is_left_to_it() -> None:
    world = World()
    world.publish("old enough", GAP.until_ns - SECOND_NS)
    world.publish("too young", GAP.until_ns + SECOND_NS)
    world.pass_(settle_s=120.0)
    assert world.links == ["old enough"]


def test_a_revision_since_the_recording_was_looked_at_is_left_to_the_stream_that_brings_it() -> None:
    for subscribed in (False, True):
        world = World({"include_updates": subscribed})
        world.publish("a", GAP.since_ns, revised_ns=world.now.utc_ns + SECOND_NS)
        world.pass_()
        assert world.links == ([] if subscribed else ["a"])


def test_gaps_that_are_near_share_a_pass() -> None:
    world = World()
    second = ClosedGap(GAP.until_ns + 600 * SECOND_NS, GAP.until_ns + 660 * SECOND_NS)
    world.now = Moment(second.until_ns + 120 * SECOND_NS, 0)
    world.publish("in the first", GAP.since_ns + SECOND_NS)
    world.publish("between", GAP.until_ns + 300 * SECOND_NS)
    world.publish("in the second", second.since_ns + SECOND_NS)
    done = world.pass_(second, GAP)
    assert sorted(world.links) == ["in the first", "in the second"]
    assert [filling.recovered for filling in done.fillings] == [1, 1]
    assert len(world.asked) == 1


def test_a_gap_of_long_ago_is_not_reached_through_all_that_came_since() -> None:
    world = World()
    world.now = Moment(GAP.until_ns + 240 * HOUR_NS, 0)
    world.publish("missed", GAP.since_ns)
    for number in range(2000):
        world.publish(f"later{number}", GAP.until_ns + 50 * HOUR_NS + number * SECOND_NS)
    world.pass_()
    assert world.links == ["missed"]
    assert len(world.asked) == 1


def test_revisions_in_the_gap_are_kept_where_updates_are_subscribed() -> None:
    for subscribed in (False, True):
        world = World({"include_updates": subscribed})
        world.publish("old", GAP.since_ns - 240 * HOUR_NS, revised_ns=GAP.since_ns + SECOND_NS)
        world.publish("known", GAP.since_ns - 240 * HOUR_NS, revised_ns=GAP.since_ns + 2 * SECOND_NS)
        world.publish("both", GAP.since_ns, revised_ns=GAP.since_ns + 3 * SECOND_NS)
        world.publish("later", GAP.since_ns - SECOND_NS, revised_ns=GAP.until_ns + 61 * SECOND_NS)
        world.recorded = {
            ("https://example.com/old", None),
            ("https://example.com/known", (GAP.since_ns + 2 * SECOND_NS) // 1000),
            ("https://example.com/later", None),
        }
        world.pass_()
        assert world.links == (["both", "old"] if subscribed else ["both"])


def test_the_text_kept_is_the_slice_of_the_answer() -> None:
    world = World()
    odd = (
        b'{ "link" : "https://example.com/1", "createdAt":"%s",\n\t"confidence":0.95120000000000000001, '
        b'"title":"caf\\u00e9 \xc3\xa9 \\ud83d", "unknown":[1,{"a":[]}]}' % iso(GAP.since_ns).encode()
    )
    world.answer = lambda request, answer: Answer(200, b' {"status":"ok" , "articles" : [ %s ,\n3]}\n' % odd)
    done = world.pass_()
    assert world.kept == [odd]
    assert done.refusal is None


# --- refusals -------------------------------------------------------------------------------------------------------


def said(status: int, message: object) -> Answer:
    return Answer(status, orjson.dumps({"statusCode": status, "message": message}))


def test_a_burst_limit_is_waited_for() -> None:
    world = World()
    world.rest.burst_max = 2
    for number in range(1000):
        world.publish(f"a{number}", GAP.until_ns - number * SECOND_NS // 4)
    done = world.pass_()
    assert done.refusal is None
    assert len(world.kept) == 1000
    assert world.waits and set(world.waits) == {10.0}


def test_the_quota_of_the_month_ends_the_pass_and_says_so() -> None:
    world = World()
    world.rest.period_max = 2
    for number in range(1000):
        world.publish(f"a{number}", GAP.until_ns - number * SECOND_NS // 4)
    done = world.pass_()
    assert len(world.kept) == 200
    assert world.waits == []
    assert done.refusal is not None
    assert done.refusal.cause == "quota (HTTP 429: Exceeded token limit of 2 for the current period.)"
    assert done.refusal.again_s == DAY_S


@pytest.mark.parametrize(
    ("status", "again_s"),
    [(400, None), (401, DAY_S), (403, DAY_S), (404, DAY_S), (422, None), (418, None), (302, DAY_S)],
)
def test_a_refusal_ends_the_pass_at_once(status: int, again_s: float | None) -> None:
    world = World()
    world.answer = lambda request, answer: said(status, ["pageSize must not be greater than 100", f"key {KEY}"])
    done = world.pass_()
    assert len(world.asked) == 1
    assert done.refusal is not None and done.refusal.again_s == again_s
    assert f"HTTP {status}: pageSize must not" in done.refusal.cause
    assert KEY not in done.refusal.cause


@pytest.mark.parametrize(
    "trouble",
    [
        said(500, "Internal server error"),
        said(503, None),
        None,
        Answer(200, b'{"status":"ok","articles":[{"link":"https://exam'),
        Answer(200, b'{"status":"error","articles":[]}'),
        Answer(200, b"<html>"),
    ],
)
def test_a_passing_trouble_is_tried_again_with_growing_waits(trouble: Answer | None) -> None:
    world = World()
    world.publish("a", GAP.since_ns)
    world.answer = lambda request, answer: trouble if request < 4 else answer
    assert world.pass_().refusal is None
    assert world.links == ["a"]
    assert world.waits == [1.0, 2.0, 4.0]


def test_a_lasting_trouble_ends_the_pass_for_an_hour() -> None:
    world = World()
    world.answer = lambda request, answer: None
    done = world.pass_()
    assert len(world.asked) == TRIES_MAX
    assert done.refusal is not None and done.refusal.again_s == HOUR_S
    assert "the connection was lost" in done.refusal.cause


def test_requests_are_paced_when_the_days_budget_runs_low() -> None:
    world = World(per_day_max=50)
    for number in range(1000):
        world.publish(f"a{number}", GAP.until_ns - number * SECOND_NS // 4)
    assert world.pass_().refusal is None
    assert len(world.kept) == 1000
    assert sum(world.waits) > 4 * 86_400 / 50


# --- answers that are wrong -----------------------------------------------------------------------------------------


def test_a_server_that_turns_no_pages_is_left() -> None:
    world = World()
    for number in range(100):
        world.publish(f"a{number}", GAP.until_ns - number * SECOND_NS)
    same = world.rest.answer(
        "POST", Handshake("/v2/articles", {}, (("x-api-key", "k"),)), b'{"pageSize":100}', world.now
    )
    world.answer = lambda request, answer: same
    done = world.pass_()
    assert len(world.asked) == 3
    assert len(world.kept) == 100
    assert done.refusal is not None and "same articles" in done.refusal.cause


def test_a_server_without_end_is_left_after_so_many_pages() -> None:
    world = World()

    def endless(request: int, answer: Answer) -> Answer:
        rows = [article(f"{request}-{row}", GAP.until_ns).facts for row in range(100)]
        return Answer(200, orjson.dumps({"status": "ok", "articles": rows}))

    world.answer = endless
    done = world.pass_()
    assert len(world.asked) == PAGES_MAX
    assert done.refusal is not None and done.refusal.again_s is None


def test_answers_without_index_dates_place_nothing() -> None:
    world = World()
    world.answer = lambda request, answer: Answer(200, b'{"articles":[{"link":"a"},{"link":"b","createdAt":7}]}')
    done = world.pass_()
    assert world.kept == []
    assert done.refusal is not None and "indexed" in done.refusal.cause


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
odd_articles = st.fixed_dictionaries(
    {},
    optional={
        "link": st.sampled_from(["https://example.com/1", ""]) | values,
        "createdAt": st.sampled_from([iso(GAP.since_ns), "9999-12-31T23:59:59.999999999Z", "0001-01-01", ""]) | values,
        "revisedDate": values,
    },
)


@given(
    st.binary() | st.lists(odd_articles | values, max_size=5).map(lambda rows: json.dumps({"articles": rows}).encode())
)
def test_no_answer_breaks_a_pass(body: bytes) -> None:
    world = World({"include_updates": True})
    world.answer = lambda request, answer: Answer(200, body)
    done = world.pass_()
    assert done.pages <= PAGES_MAX
    for text in world.kept:
        assert text in body


def test_nesting_without_end_does_not_break_a_pass() -> None:
    world = World()
    world.answer = lambda request, answer: Answer(200, b'{"articles":' + b"[" * 200_000)
    assert world.pass_().refusal is not None
