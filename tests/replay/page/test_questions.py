from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from recorder.clock import SECOND_NS
from recorder.errors import RequestInvalid
from recorder.message import Kind, Mark, Message, Stream
from recorder.replay.page import questions as module
from recorder.replay.page.questions import Asked, Question, Questions
from recorder.replay.timeline import Timeline

NOON_NS = 1_795_262_400 * SECOND_NS
Record = Callable[..., None]


def message(position: int) -> Message:
    stream = Stream("quotes", "finance_query.quotes")
    payload = b'[{"symbol":"A","price":"%d.00"}]' % position
    return Message(position, stream, Kind.DATA, Mark.NONE, NOON_NS + position * SECOND_NS, position, 1, payload)


@pytest.fixture
def data(tmp_path: Path, record: Record) -> Path:
    record(tmp_path / "data", [message(n) for n in range(1, 6)], seals=(3,))
    return tmp_path / "data"


def asking(data: Path, answer: Callable[[Asked], object], fresh_s: float = 0.0) -> Questions:
    return Questions(Timeline(data), [Question("it", answer, fresh_s)])


async def ask(questions: Questions, **parameters: str) -> tuple[int, object]:
    answer = await questions.answer("it", parameters)
    return answer.status, orjson.loads(answer.body)


def count(asked: Asked) -> object:
    return asked.connection().execute("SELECT count(*) FROM messages").fetchone()


async def test_an_answer_sees_what_is_sealed_and_what_is_not(data: Path) -> None:
    assert await ask(asking(data, count)) == (200, [5])


async def test_a_connection_can_be_had_with_only_some_tables(data: Path) -> None:
    def tables(asked: Asked) -> object:
        return sorted(name for (name,) in asked.connection(("quotes",)).execute("SHOW TABLES").fetchall())

    assert await ask(asking(data, tables)) == (200, ["_unsealed_quotes", "quotes"])


@pytest.mark.parametrize("given", ["", "x", "0", "8", "1e3", "-1", "9" * 5000, "1; DROP TABLE messages"])
async def test_a_number_that_is_none_or_beyond_its_bounds_is_a_400_that_says_what_can_be(
    data: Path, given: str
) -> None:
    code, told = await ask(asking(data, lambda asked: asked.whole("weeks", 5, 1, 7)), weeks=given)
    assert code == 400
    assert "possible are 1 to 7" in str(told) and len(str(told)) < 200


async def test_what_makes_no_sense_to_a_question_is_a_400(data: Path) -> None:
    def refuse(_: Asked) -> object:
        raise RequestInvalid("from", "2026", "it has to be before `to`")

    assert await ask(asking(data, refuse)) == (
        400,
        {"error": "from is '2026', which is not possible: it has to be before `to`."},
    )


async def test_where_nothing_is_recorded_a_question_is_a_503_that_says_so(tmp_path: Path) -> None:
    code, told = await ask(asking(tmp_path / "none", count))
    assert code == 503
    assert "nothing is recorded there" in str(told)


async def test_a_question_that_takes_too_long_is_interrupted(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(asked: Asked) -> object:
        return asked.connection().execute("SELECT sum(a.i * b.i) FROM range(1e7::BIGINT) a(i), range(1e7::BIGINT) b(i)")

    monkeypatch.setattr(module, "ANSWER_S_MAX", 0.2)
    code, told = await ask(asking(data, endless))
    assert code == 503
    assert "longer than 0.2 s" in str(told)


async def test_a_question_that_wants_too_much_memory_fails_alone_and_spills_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def greedy(asked: Asked) -> object:
        return asked.connection().execute("SELECT list(i) FROM range(1e8::BIGINT) t(i)").fetchone()

    monkeypatch.chdir(tmp_path)

    def files() -> list[Path]:
        return sorted(path for path in tmp_path.rglob("*") if not path.name.startswith("recorder.sqlite"))

    before = files()
    code, told = await ask(asking(data, greedy))
    assert code == 503
    assert "emory" in str(told)
    assert files() == before
    assert await ask(asking(data, count)) == (200, [5])


async def test_only_two_are_answered_at_once_and_of_many_that_wait_the_last_are_sent_away(data: Path) -> None:
    inside, most, go = [0], [0], threading.Event()
    lock = threading.Lock()

    def slow(_: Asked) -> object:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        go.wait(30)
        with lock:
            inside[0] -= 1
        return {}

    questions = asking(data, slow)
    waiting = [asyncio.ensure_future(ask(questions, n=str(n))) for n in range(module.AT_ONCE_MAX + module.WAITING_MAX)]
    async with asyncio.timeout(30):
        while inside[0] < module.AT_ONCE_MAX:  # noqa: ASYNC110 - counted in threads, which nobody announces
            await asyncio.sleep(0.01)
        assert (await ask(questions))[0] == 503
        go.set()
        assert {code for code, _ in await asyncio.gather(*waiting)} == {200}
    assert most[0] == module.AT_ONCE_MAX


async def test_an_answer_is_given_again_until_something_is_recorded(data: Path, record: Record) -> None:
    asked_times = []

    def counted(asked: Asked) -> object:
        asked_times.append(1)
        return count(asked)

    questions = asking(data, counted)
    assert await ask(questions) == await ask(questions) == (200, [5])
    assert len(asked_times) == 1
    assert await ask(questions, other="parameter") == (200, [5])
    assert len(asked_times) == 2
    record(data, [message(6)])
    assert await ask(questions) == (200, [6])


async def test_an_answer_may_be_as_old_as_its_question_allows(data: Path, record: Record) -> None:
    questions = asking(data, count, fresh_s=3600)
    assert await ask(questions) == (200, [5])
    record(data, [message(6)])
    assert await ask(questions) == (200, [5])


async def test_what_is_kept_has_bounds(data: Path) -> None:
    questions = asking(data, lambda asked: asked.parameters["n"] * 1000)
    for n in range(2 * module.ANSWERS_KEPT_MAX):
        assert (await ask(questions, n=str(n)))[0] == 200
    assert len(questions._kept) == module.ANSWERS_KEPT_MAX


async def test_who_waits_too_long_for_a_turn_is_told_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    questions = asking(data, lambda _: go.wait(30))
    holding = [asyncio.ensure_future(ask(questions, n=str(n))) for n in range(module.AT_ONCE_MAX)]
    await asyncio.sleep(0)  # now both have their turn
    monkeypatch.setattr(module, "ANSWER_S_MAX", 0.05)
    code, told = await ask(questions, n="last")
    assert (code, "others" in str(told)) == (503, True)
    go.set()
    assert await asyncio.gather(*holding) == [(200, True)] * module.AT_ONCE_MAX
