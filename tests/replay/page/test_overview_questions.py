from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from recorder import lifecycle
from recorder.clock import SECOND_NS
from recorder.errors import RequestInvalid
from recorder.message import Kind, Mark, Message, Stream
from recorder.replay.page import overview_questions
from recorder.replay.page.overview_questions import GAPS_LISTED_MAX
from recorder.replay.page.questions import Asked
from recorder.replay.timeline import Timeline

HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
MIDNIGHT_NS = 1_795_219_200 * SECOND_NS  # 2026-11-21
NEWS = Stream("news", "finlight")
APPLE, NVIDIA = (Stream("profiles", "finance_query.profile", symbol) for symbol in ("AAPL", "NVDA"))

Record = Callable[..., None]


def made(*of: tuple[int, Stream, Kind, bytes]) -> list[Message]:
    """Messages of (ns since midnight, stream, kind, payload)."""
    return [
        Message(position, stream, kind, Mark.NONE, MIDNIGHT_NS + at_ns, at_ns, 1, payload)
        for position, (at_ns, stream, kind, payload) in enumerate(of, 1)
    ]


def data(at_ns: int, stream: Stream, payload: bytes = b'{"n":1}') -> tuple[int, Stream, Kind, bytes]:
    return at_ns, stream, Kind.DATA, payload


def gap(
    event: str, stream: Stream, since_ns: int, until_ns: int | None = None, cause: str = "silent"
) -> tuple[int, Stream, Kind, bytes]:
    fields: dict[str, Any] = {"since_ns": MIDNIGHT_NS + since_ns, "cause": cause}
    if until_ns is not None:
        fields["until_ns"] = MIDNIGHT_NS + until_ns
    return until_ns or since_ns, stream, Kind.LIFECYCLE, lifecycle.entry(f"gap.{event}", **fields)


def ask(question: Callable[[Asked], object], folder: Path, **parameters: str) -> Any:
    asked = Asked(Timeline(folder), parameters)
    try:
        return orjson.loads(orjson.dumps(question(asked)))
    finally:
        asked.close()


def test_a_gap_over_midnight_is_on_both_days_with_its_cause(tmp_path: Path, record: Record) -> None:
    since_ns, until_ns = 23 * HOUR_NS, DAY_NS + HOUR_NS
    messages = made(
        data(0, NEWS),
        gap("opened", NEWS, since_ns),
        gap("closed", NEWS, since_ns, until_ns),
        data(DAY_NS + 12 * HOUR_NS, NEWS),
    )
    record(tmp_path, messages, per_group=1, seals=(2,))
    told = ask(overview_questions.coverage, tmp_path, weeks="1")
    assert told["days"][0::6] == ["2026-11-16", "2026-11-22"]
    (feed,) = told["feeds"]
    assert (feed["feed"], feed["kind"], feed["channels"], sorted(feed["days"])) == (
        "news", "finlight", 1, ["2026-11-21", "2026-11-22"],
    )  # fmt: skip
    first, second = feed["days"]["2026-11-21"], feed["days"]["2026-11-22"]
    assert (first["seconds"], first["covered_s"], first["gaps"], first["messages"]) == (86_400, 82_800, 1, 1)
    assert (second["seconds"], second["covered_s"], second["gaps"], second["messages"]) == (43_200, 39_600, 1, 1)
    listed = {
        "channel": "",
        "since_ms": (MIDNIGHT_NS + since_ns) // 10**6,
        "until_ms": (MIDNIGHT_NS + until_ns) // 10**6,
        "cause": "silent",
        "repair": None,
    }
    assert first["listed"] == second["listed"] == [listed]


def test_channels_of_a_feed_are_one_row_and_their_gaps_say_whose_they_are(tmp_path: Path, record: Record) -> None:
    messages = made(
        data(0, APPLE),
        data(0, NVIDIA),
        gap("opened", NVIDIA, HOUR_NS, cause="closed"),
        data(2 * HOUR_NS, APPLE),
    )
    record(tmp_path, messages)
    (feed,) = ask(overview_questions.coverage, tmp_path)["feeds"]
    day = feed["days"]["2026-11-21"]
    assert (feed["channels"], day["seconds"], day["covered_s"]) == (2, 4 * 3600, 3 * 3600)
    assert [(each["channel"], each["until_ms"], each["cause"]) for each in day["listed"]] == [("NVDA", None, "closed")]


def test_of_a_day_with_many_gaps_the_longest_are_listed_in_their_order(tmp_path: Path, record: Record) -> None:
    gaps: list[tuple[int, Stream, Kind, bytes]] = []
    for number in range(3 * GAPS_LISTED_MAX):
        since_ns = number * 600 * SECOND_NS
        length_ns = (1 + number % GAPS_LISTED_MAX) * SECOND_NS
        gaps += [gap("opened", NEWS, since_ns), gap("closed", NEWS, since_ns, since_ns + length_ns)]
    record(tmp_path, made(data(0, NEWS), *gaps, data(20 * HOUR_NS, NEWS)))
    (feed,) = ask(overview_questions.coverage, tmp_path)["feeds"]
    day = feed["days"]["2026-11-21"]
    assert day["gaps"] == 3 * GAPS_LISTED_MAX
    assert len(day["listed"]) == GAPS_LISTED_MAX
    lengths = [each["until_ms"] - each["since_ms"] for each in day["listed"]]
    assert min(lengths) == (GAPS_LISTED_MAX - 3) * 1000
    assert [each["since_ms"] for each in day["listed"]] == sorted(each["since_ms"] for each in day["listed"])


def test_days_before_the_window_are_not_told(tmp_path: Path, record: Record) -> None:
    record(tmp_path, made(data(0, NEWS), gap("opened", NEWS, 1), gap("closed", NEWS, 1, 2), data(9 * DAY_NS, NEWS)))
    told = ask(overview_questions.coverage, tmp_path, weeks="1")
    assert sorted(told["feeds"][0]["days"]) == told["days"] == [f"2026-11-{day}" for day in range(24, 31)]
    assert all(day["listed"] == [] for day in told["feeds"][0]["days"].values())


@pytest.mark.parametrize("question", overview_questions.QUESTIONS, ids=lambda question: question.name)
def test_where_nothing_is_recorded_every_question_has_an_empty_answer(question: Any, tmp_path: Path) -> None:
    told = ask(question.answer, tmp_path / "none")
    assert not any(told.values()) if isinstance(told, dict) else told == []


@pytest.mark.parametrize("weeks", ["0", "54", "five"])
def test_weeks_have_bounds(tmp_path: Path, weeks: str) -> None:
    with pytest.raises(RequestInvalid, match="possible are 1 to 53"):
        ask(overview_questions.coverage, tmp_path, weeks=weeks)


def test_lateness_is_that_of_the_last_hours(tmp_path: Path, record: Record) -> None:
    def article(at_ns: int, late_s: int) -> tuple[int, Stream, Kind, bytes]:
        created_s = (MIDNIGHT_NS + at_ns) // SECOND_NS - late_s
        hour, rest = divmod(created_s % 86_400, 3600)
        created = f"2026-11-21T{hour:02}:{rest // 60:02}:{rest % 60:02}Z"
        sent = {"action": "sendArticle", "data": {"link": str(at_ns), "createdAt": created}}
        return data(at_ns, NEWS, orjson.dumps(sent))

    record(tmp_path, made(article(HOUR_NS, 100), article(10 * HOUR_NS, 2), article(11 * HOUR_NS, 4)))
    told = ask(overview_questions.lateness, tmp_path, hours="2")
    assert told == [
        {"feed": "news", "moment": "indexed", "messages": 2, "p50_s": 3.0, "p99_s": pytest.approx(3.98), "max_s": 4.0}
    ]


def test_sizes_are_those_of_registered_files(tmp_path: Path, record: Record) -> None:
    record(tmp_path, made(*[data(n * SECOND_NS, NEWS) for n in range(10)]), per_group=2, seals=(4, 6))
    told = ask(overview_questions.recording, tmp_path)
    sizes = {table["table"]: (table["parts"], table["rows"], table["bytes"]) for table in told["tables"]}
    files = [path.stat().st_size for path in (tmp_path / "messages").rglob("*.parquet")]
    assert sizes["messages"] == (2, 6, sum(files))
    assert (told["unsealed"], told["lost"], told["last_sealed_ms"]) == (4, 0, None)  # it was registered in 1970
