from __future__ import annotations

import logging
from typing import Any

import pytest

from recorder.clock import SECOND_NS, Clock, Moment
from recorder.demo.story import LINES_MAX, Story, sentence


class Hand(Clock):
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 5.0

    def now(self) -> Moment:
        return Moment(int(self.seconds * SECOND_NS), int(self.seconds * SECOND_NS))


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def story(clock: Hand) -> Story:
    return Story(clock)


def texts(story: Story) -> list[str]:
    return [str(line) for line in story.lines]


def log(story: Story, event: str, level: int = logging.INFO, **fields: Any) -> None:
    record = logging.LogRecord("recorder.daemon", level, "", 0, event, None, None)
    record.fields = fields
    story.handle(record)


def test_lines_carry_the_seconds_since_the_start(story: Story, clock: Hand) -> None:
    clock.seconds = 6.25
    story.add("the plug is pulled", is_fault=True)
    story.restart()
    clock.seconds = 7.25
    story.add("and in again")
    assert texts(story) == ["  1.2 s  ✗ the plug is pulled", "  1.0 s    and in again"]


def test_what_happens_to_several_feeds_at_once_is_one_line(story: Story, clock: Hand) -> None:
    for feed in ("news", "wire"):
        log(story, "gap.closed", feed=feed, since_ns=0, until_ns=SECOND_NS, cause="silent")
    clock.seconds += 0.6
    log(story, "gap.closed", feed="quotes", since_ns=0, until_ns=SECOND_NS, cause="silent")
    assert texts(story) == ["  0.0 s    gap on record, silent: news 1.00 s, wire 1.00 s", *texts(story)[1:]]
    assert len(story.lines) == 2


def test_a_line_that_was_shown_is_not_added_to(story: Story) -> None:
    log(story, "feed.odd", feed="news")
    story.lines[0].was_shown = True
    log(story, "feed.odd", feed="wire")
    assert [line.whom for line in story.lines] == [["news"], ["wire"]]


def test_memory_is_bounded(story: Story) -> None:
    for number in range(LINES_MAX + 5):
        story.add(str(number))
    assert len(story.lines) == LINES_MAX
    assert story.lines[0].text == "5"


@pytest.mark.parametrize(
    ("event", "fields", "told"),
    [
        ("rotation.done", {"feed": "news", "proof": "overlap", "both": 3, "only_new": 1}, "3 seen on both, 1 only on"),
        ("rotation.done", {"feed": "quotes", "proof": "data", "both": 0}, "quotes (the new one delivers)"),
        ("rotation.done", {"feed": "wire", "proof": "admitted", "both": 0}, "wire (the new one is admitted)"),
        ("rotation.failed", {"feed": "news", "cause": "refused with HTTP 429"}, "tried again, refused with HTTP 429"),
        ("connection.refused", {"feed": "news", "cause": "refused with HTTP 503", "retry_s": 0.25}, "news in 0.25 s"),
        ("connection.failed", {"feed": "profiles", "channel": "JPM", "error": "No route."}, "No route.: profiles/JPM"),
        ("gap.repaired", {"feed": "news", "recovered": 4}, "news 4 articles"),
        ("feed.error", {"feed": "news", "detail": "x" * 500}, "feed.error: xxx"),
        ("journal.pressure", {"reading": False}, "journal.pressure: reading False"),
        ("job.failed", {"job": "seal", "error": "OSError"}, "job.failed: job seal, error OSError"),
    ],
)
def test_events_worth_telling_are_told(story: Story, event: str, fields: dict[str, Any], told: str) -> None:
    log(story, event, **fields)
    (text,) = texts(story)
    assert told in text
    assert len(text) < 150


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("connection.dialled", {"feed": "news"}),
        ("gap.opened", {"feed": "news", "cause": "silent"}),
        ("gap.closed", {"feed": "news", "since_ns": 0, "until_ns": 1, "cause": "start"}),
        ("gap.repaired", {"feed": "news", "recovered": 0}),
    ],
)
def test_daily_bread_is_not_told(event: str, fields: dict[str, Any]) -> None:
    assert sentence(event, fields) is None


def test_warnings_of_others_are_told_and_their_chatter_is_not(story: Story) -> None:
    for level in (logging.INFO, logging.ERROR):
        story.handle(logging.LogRecord("apscheduler", level, "", 0, "Error running job %s", ("seal",), None))
    assert [line.text for line in story.lines] == ["apscheduler: Error running job seal"]
