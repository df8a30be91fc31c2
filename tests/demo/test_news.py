from __future__ import annotations

import re
from collections import Counter
from typing import Any

import orjson
from finlight_client.models import Article as OfficialArticle

from recorder.clock import SECOND_NS
from recorder.demo.news import Newsroom
from recorder.replay.upstreams.as_finlight import Article

START_NS = 1_795_289_590 * SECOND_NS


def newsroom(seed: int = 1, articles_per_s: float = 100.0) -> Newsroom:
    news = Newsroom(seed, articles_per_s)
    news.due(START_NS)
    return news


def sample(count_s: int = 20) -> list[Article]:
    return newsroom().due(START_NS + count_s * SECOND_NS)


def facts(article: Article) -> dict[str, Any]:
    message = orjson.loads(article.frame)
    assert list(message) == ["action", "data"] and message["action"] == "sendArticle"
    return dict(message["data"])


def test_one_seed_gives_one_history_however_often_it_is_asked() -> None:
    at_once, bit_by_bit = newsroom(), newsroom()
    expected = [article.frame for article in at_once.due(START_NS + 5 * SECOND_NS)]
    pieces = [article.frame for step in range(1, 501) for article in bit_by_bit.due(START_NS + step * SECOND_NS // 100)]
    assert pieces == expected
    assert [article.frame for article in newsroom(2).due(START_NS + 5 * SECOND_NS)] != expected


def test_articles_come_in_bursts_at_the_mean_rate_asked_for() -> None:
    news = newsroom(articles_per_s=100.0)
    counts = [len(news.due(START_NS + second * SECOND_NS)) for second in range(1, 201)]
    assert 18_000 < sum(counts) < 22_000
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert variance > 2 * mean  # steady chance alone would make them equal


def test_no_rate_means_no_articles() -> None:
    news = Newsroom(1, 0)
    assert news.due(START_NS) == news.due(START_NS + 1000 * SECOND_NS) == []


def test_articles_have_the_services_keys_and_types() -> None:
    for article in sample():
        data = facts(article)
        keys = [key for key in data if key not in ("revisedDate", "isUpdate")]
        assert keys == [
            *("link", "source", "title", "summary", "publishDate", "createdAt", "language", "sentiment", "confidence"),
            *("images", "content", "categories", "countries", "companies"),
        ]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{3}|\d{9})Z", data["publishDate"])
        assert data["publishDate"] <= data["createdAt"] or len(data["publishDate"]) == 30
        assert data["sentiment"] in ("positive", "neutral", "negative")
        assert 0.5 <= float(data["confidence"]) <= 1
        assert all(isinstance(company["confidence"], str) for company in data["companies"])


def test_the_official_clients_model_accepts_every_article() -> None:
    for article in sample():
        OfficialArticle.model_validate(facts(article))
        OfficialArticle.model_validate(orjson.loads(article.raw_frame)["data"])


def test_the_mix_is_that_of_a_busy_wire() -> None:
    articles = [facts(article) for article in sample(60)]
    sizes = [len(article["content"].encode()) for article in articles]
    assert min(sizes) >= 1_000
    assert 0.001 < sum(size > 32 << 10 for size in sizes) / len(sizes) < 0.1
    assert max(len(article.frame) for article in sample(60)) < 128 << 10
    languages = Counter(article["language"] for article in articles)
    assert languages["en"] > languages["de"] > 0 < languages["fr"]
    assert {type(article["confidence"]) for article in articles} == {str, float}
    assert any(len(article["publishDate"]) == 30 for article in articles)  # nine digits of the second


def test_updates_revise_an_earlier_link_with_the_moment_of_the_revision() -> None:
    seen: set[str] = set()
    updates = 0
    for article in sample(60):
        data = facts(article)
        if article.is_update:
            updates += 1
            assert data["link"] in seen
            assert data["isUpdate"] is True and data["revisedDate"] >= data["createdAt"]
        else:
            assert data["link"] not in seen and "revisedDate" not in data
        seen.add(data["link"])
    assert updates > 50


def test_the_raw_shape_has_the_core_fields_of_the_same_article() -> None:
    for article in sample():
        raw = orjson.loads(article.raw_frame)["data"]
        enhanced = facts(article)
        assert {"sentiment", "confidence", "content", "companies"}.isdisjoint(raw)
        assert raw == {key: enhanced[key] for key in raw}
        assert {"link", "title", "publishDate", "source", "language"} <= set(raw)
