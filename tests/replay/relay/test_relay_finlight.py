from __future__ import annotations

import orjson
import pytest

from recorder.replay.relay import relay_finlight
from recorder.replay.relay.relay_finlight import Repeats
from recorder.replay.upstreams.finlight_articles import Article


def article(number: int = 1, **fields: object) -> Article:
    return Article.of(orjson.dumps({"link": f"https://x/{number}", **fields}))


class Told:
    """News or not, as a row of letters: n for news, - for none."""

    def __init__(self) -> None:
        self.repeats = Repeats()

    def __call__(self, *brought: str) -> str:
        """Each is the name of a feed; with a ! it is a snapshot."""
        return "".join(
            "n" if self.repeats.is_new(article(), each.rstrip("!"), snapshot=each.endswith("!")) else "-"
            for each in brought
        )


@pytest.mark.parametrize(
    ("brought", "news"),
    [
        ("a", "n"),
        ("a b", "n-"),
        ("a b a b", "n-n-"),  # the upstream sent it twice: so do we
        ("a a b b", "nn--"),
        ("a a", "nn"),
        ("a! a", "n-"),  # the snapshot's article, and then as a live one
        ("a a!", "n-"),  # dialled anew
        ("a! b!", "n-"),
        ("a! b a b", "n--n"),
        ("b a!", "n-"),
    ],
)
def test_an_article_is_news_as_often_as_one_feed_alone_brought_it(brought: str, news: str) -> None:
    assert Told()(*brought.split()) == news


def test_a_revision_is_an_article_of_its_own() -> None:
    repeats = Repeats()
    versions = [article(), article(isUpdate=True, revisedDate="1"), article(isUpdate=True, revisedDate="2"), article(2)]
    assert [repeats.is_new(each, "a", snapshot=True) for each in versions * 2] == [True] * 4 + [False] * 4


def test_what_was_shown_as_the_newest_is_no_news_when_it_is_brought_as_such() -> None:
    repeats = Repeats()
    repeats.shown(article())
    assert not repeats.is_new(article(), "a", snapshot=True)


def test_what_has_no_link_is_always_news() -> None:
    repeats = Repeats()
    nameless = Article(b"no json")
    repeats.shown(nameless)
    assert [repeats.is_new(nameless, "a", snapshot=True) for _ in range(2)] == [True, True]


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_finlight, "REMEMBERED_MAX", 2)
    repeats = Repeats()
    for number in (1, 2, 3):
        repeats.is_new(article(number), "a", snapshot=False)
    assert not repeats.is_new(article(3), "b", snapshot=False)
    assert repeats.is_new(article(1), "b", snapshot=False)


def test_what_came_unparsed_is_looked_into_when_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_finlight, "ATTENTIVE_AFTER", 2)
    told = Told()
    assert told("a", "a", "b", "a!") == "nn--"
    alone = Told()
    assert alone("a!", "a", "a", "a", "a") == "n-nnn"
    assert alone("a!", "b", "b", "b", "b", "b") == "-----n"


def test_what_is_kept_unparsed_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_finlight, "UNPARSED_BYTES_MAX", 200)
    repeats = Repeats()
    for number in range(100):
        repeats.is_new(article(number), "a", snapshot=False)
    assert not repeats.is_new(article(99), "b", snapshot=False)
    assert repeats.is_new(article(1), "b", snapshot=False)
