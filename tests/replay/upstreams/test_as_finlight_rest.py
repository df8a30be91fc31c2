from __future__ import annotations

from typing import Any

import orjson
import pytest

from recorder.clock import SECOND_NS, Moment
from recorder.replay.port.handshake import Answer, Handshake
from recorder.replay.upstreams.as_finlight_rest import Archive, FinlightRest
from recorder.replay.upstreams.finlight_articles import Article

HEADERS = (("x-api-key", "K"),)


def now(seconds: float) -> Moment:
    return Moment(int(seconds * SECOND_NS), int(seconds * SECOND_NS))


def article(number: int, **fields: Any) -> Article:
    """Published and indexed at that second of 1970."""
    stamp = f"1970-01-01T00:{number // 60:02d}:{number % 60:02d}Z"
    facts = {"link": f"https://x/{number}", "title": "t", "source": "x.com", "language": "en", "publishDate": stamp}
    return Article.of(orjson.dumps({**facts, "createdAt": stamp, **fields}))


def service(count: int = 0, **options: Any) -> FinlightRest:
    archive = Archive()
    for number in range(count):
        archive.add(article(number), 0)
    return FinlightRest(archive, **options)


def ask(rest: FinlightRest, at_s: float = 3600, **fields: Any) -> Answer:
    return rest.answer("POST", Handshake("/v2/articles", {}, HEADERS), orjson.dumps(fields), now(at_s))


def numbers(answer: Answer) -> list[int]:
    assert answer.status == 200, answer.body
    return [int(each["link"].rpartition("/")[2]) for each in orjson.loads(answer.body)["articles"]]


def test_pages_follow_each_other_to_a_short_one() -> None:
    rest = service(7)
    pages = [numbers(ask(rest, pageSize=3, page=page, orderBy="createdAt", order="ASC")) for page in (1, 2, 3, 4)]
    assert pages == [[0, 1, 2], [3, 4, 5], [6], []]
    assert orjson.loads(ask(rest, pageSize=3, page=2).body) | {"articles": 0} == {
        "status": "ok",
        "page": 2,
        "pageSize": 3,
        "articles": 0,
    }


def test_from_and_to_are_about_the_publish_date_whatever_the_order() -> None:
    rest = service(5)
    rest.archive.add(article(9, publishDate="1970-01-01T00:00:02Z"), 0)
    span: dict[str, Any] = {"from": "1970-01-01T00:00:02Z", "to": "1970-01-01T00:00:03Z"}
    assert numbers(ask(rest, **span, orderBy="createdAt", order="DESC")) == [9, 3, 2]


def test_a_revision_replaces_the_article_and_is_no_update_to_anybody() -> None:
    rest = service(3)
    rest.archive.add(article(1, revisedDate="1970-01-01T00:00:30Z", isUpdate=True, title="new"), 0)
    answer = ask(rest, orderBy="revisedDate", order="DESC")
    assert numbers(answer)[0] == 1
    first = orjson.loads(answer.body)["articles"][0]
    assert (first["title"], first["revisedDate"]) == ("new", "1970-01-01T00:00:30Z")
    assert "isUpdate" not in first


def test_only_english_without_a_language() -> None:
    rest = service(2)
    rest.archive.add(article(5, language="de"), 0)
    assert 5 not in numbers(ask(rest))
    assert numbers(ask(rest, language="de")) == [5]


def test_filters_are_those_of_the_stream() -> None:
    rest = service(2)
    rest.archive.add(article(5, source="y.com", title="Nvidia"), 0)
    assert numbers(ask(rest, query="nvidia")) == numbers(ask(rest, excludeSources=["x.com"])) == [5]


def test_what_is_not_indexed_yet_is_not_found() -> None:
    rest = service()
    rest.archive.add(article(1), 10 * SECOND_NS, lag_s=5)
    assert numbers(ask(rest, at_s=14)) == []
    assert numbers(ask(rest, at_s=15)) == [1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pageSize": 101}, "pageSize must not be greater than 100"),
        ({"pageSize": "a"}, "pageSize must not be less than 1"),
        ({"page": 0}, "page must not be less than 1"),
        ({"orderBy": "title"}, "orderBy must be one of publishDate, createdAt, revisedDate"),
        ({"query": "(a"}, ""),
    ],
)
def test_a_wrong_question_is_a_400_that_says_why(fields: dict[str, Any], message: str) -> None:
    answer = ask(service(), **fields)
    told = orjson.loads(answer.body)
    assert (answer.status, told["statusCode"], told["error"]) == (400, 400, "Bad Request")
    assert message in told["message"][0]


def test_no_json_is_a_400() -> None:
    answer = service().answer("POST", Handshake("/v2/articles", {}, HEADERS), b"{", now(0))
    assert answer.status == 400


def test_a_key_is_wanted_in_any_letter_case() -> None:
    rest = service(keys=frozenset({"K"}))
    for headers, status in ((), 401), ((("X-API-KEY", "other"),), 401), ((("X-API-KEY", "K"),), 200):
        assert rest.answer("POST", Handshake("/v2/articles", {}, headers), b"{}", now(0)).status == status


def test_a_burst_is_limited_for_ten_seconds_and_a_month_for_good() -> None:
    rest = service(burst_max=2, period_max=4)
    statuses = [ask(rest, at_s=at).status for at in (0, 1, 2, 10.5, 11.5, 30)]
    assert statuses == [200, 200, 429, 200, 200, 429]
    assert b"Exceeded token limit of 4 for the current period." in ask(rest, at_s=40).body


def test_one_article_and_the_sources_can_be_asked_for() -> None:
    rest = service(2)
    found = rest.answer("GET", Handshake("/v2/articles/by-link", {"link": "https://x/1"}, HEADERS), b"", now(9))
    assert orjson.loads(found.body)["article"]["link"] == "https://x/1"
    gone = rest.answer("GET", Handshake("/v2/articles/by-link", {"link": "https://x/7"}, HEADERS), b"", now(9))
    assert gone.status == 404
    sources = rest.answer("GET", Handshake("/v2/sources", {}, HEADERS), b"", now(9))
    assert orjson.loads(sources.body) == [{"domain": "x.com", "isDefaultSource": True}]
    assert rest.answer("GET", Handshake("/v2/other", {}, HEADERS), b"", now(9)).status == 404


def test_the_archive_is_bounded() -> None:
    archive = Archive(count_max=3)
    for number in range(5):
        archive.add(article(number), 0)
    archive.add(Article.of(b'{"title":"no link"}'), 0)
    assert sorted(numbers(ask(FinlightRest(archive)))) == [2, 3, 4]
