"""Questions of the page to the recording: few at once, each bounded in time and memory, asked off the event loop.

In: the name of a question and its parameters, text from strangers. Out: JSON; what is wrong with a question as
`{"error": …}` with 400, what cannot be answered now with 503. An answer is given again as long as nothing was recorded
since, or it is younger than its question wants. Nothing here must survive.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import duckdb
import orjson

from recorder.errors import RecorderError, RequestInvalid
from recorder.journal.store import Store
from recorder.partitions import catalog
from recorder.replay.port.handshake import Answer
from recorder.replay.timeline import Timeline

log = logging.getLogger(__name__)

AT_ONCE_MAX = 2  # as many as a small VPS has cores
WAITING_MAX = 16  # behind them
ANSWER_S_MAX = 8.0  # below the 10 s of a handshake, so that whoever asked learns why there is no answer
MEMORY_MB_MAX = 256  # of DuckDB, for each question
ANSWERS_KEPT_MAX = 32
ANSWERS_KEPT_BYTES_MAX = 16 << 20


@dataclass(slots=True)
class Asked:
    """One question under way, in a thread of its own. `parameters` are as they were sent."""

    timeline: Timeline
    parameters: Mapping[str, str]
    _connections: list[duckdb.DuckDBPyConnection] = field(default_factory=list)
    _interrupted: bool = False

    def whole(self, name: str, default: int, lowest: int, highest: int) -> int:
        """A parameter that is a whole number. Raises RequestInvalid."""
        given = self.parameters.get(name, str(default))
        try:
            number = int(given) if len(given) < 20 else None
        except ValueError:
            number = None
        if number is None or not lowest <= number <= highest:
            raise RequestInvalid(name, given, f"possible are {lowest} to {highest}")
        return number

    @property
    def recorded(self) -> bool:
        """Whether anything is: without a first message there is nothing to ask."""
        try:
            return self.timeline.bounds() is not None
        except RecorderError:
            return False

    def connection(
        self, only: Collection[str] = (), within_ns: tuple[int, int] | None = None
    ) -> duckdb.DuckDBPyConnection:
        """The recording as of now, with every table and view, or `only` some; closed when the question is answered.

        `within_ns`: no more than what was received between these moments has to be there.

        What strangers sent goes into statements as bound parameters, or through `partitions.views.quoted`. Raises
        RecorderError where nothing is recorded.
        """
        return self.bounded(catalog.connect(self.timeline.data, only, within_ns))

    def bounded(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """The connection with this question's limits: it spills nowhere, and ends with the question or at once."""
        self._connections.append(connection)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{MEMORY_MB_MAX}MB'")
        connection.execute("SET temp_directory = ''")
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET python_enable_replacements = false")
        if self._interrupted:
            raise duckdb.InterruptException("too late")
        return connection

    def interrupt(self) -> None:
        """From another thread: whatever is being asked ends now."""
        self._interrupted = True
        for connection in self._connections:
            connection.interrupt()

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@dataclass(frozen=True, slots=True)
class Question:
    """`answer` runs in a thread, returns plain values. `fresh_s`: so old may it be while recording goes on."""

    name: str
    answer: Callable[[Asked], object]
    fresh_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Kept:
    body: bytes
    generation: object
    given_s: float


class Questions:
    """All questions of the page by their names, and the limits they share."""

    def __init__(self, timeline: Timeline, asked: Iterable[Question]) -> None:
        self.asked = {question.name: question for question in asked}
        self._timeline = timeline
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)
        self._waiting = 0
        self._kept: OrderedDict[object, _Kept] = OrderedDict()

    async def answer(self, name: str, parameters: Mapping[str, str]) -> Answer:
        """Never raises but for cancelling. Waiting for its turn is a part of the time an answer may take."""
        if self._waiting >= AT_ONCE_MAX + WAITING_MAX:
            return _error(503, f"{self._waiting} questions are being answered; ask again in a moment")
        self._waiting += 1
        deadline_s = asyncio.get_running_loop().time() + ANSWER_S_MAX
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._turns.acquire()
        except TimeoutError:
            return _error(503, "others' questions took too long; ask again in a moment")
        else:
            try:
                return await self._answer(self.asked[name], parameters, deadline_s)
            finally:
                self._turns.release()
        finally:
            self._waiting -= 1

    async def _answer(self, question: Question, parameters: Mapping[str, str], deadline_s: float) -> Answer:
        key, now_s = (question.name, *sorted(parameters.items())), asyncio.get_running_loop().time()
        generation = await asyncio.to_thread(self._generation)
        kept = self._kept.get(key)
        if kept and (now_s - kept.given_s < question.fresh_s or (generation and generation == kept.generation)):
            self._kept.move_to_end(key)
            return Answer(200, kept.body)
        asked = Asked(self._timeline, parameters)
        answering = asyncio.create_task(asyncio.to_thread(_answered, question, asked))
        try:
            done, _ = await asyncio.wait([answering], timeout=deadline_s - now_s)
            if not done:
                asked.interrupt()
            answer = await answering
        except asyncio.CancelledError:
            asked.interrupt()
            raise
        if answer.status == 200:
            self._keep(key, _Kept(answer.body, generation, now_s))
        return answer

    def _generation(self) -> object:
        """Changes with all that could change an answer; None where that cannot be told."""
        try:
            with closing(Store.open_readonly(self._timeline.data)) as store, store.transaction():
                told = store.sealed_position(), store.durable_position(), store.hot_since(), store.let_go_position()
        except (RecorderError, OSError, sqlite3.Error):  # the question itself will say what is wrong
            return None
        return told

    def _keep(self, key: object, kept: _Kept) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while (
            len(self._kept) > ANSWERS_KEPT_MAX
            or sum(len(each.body) for each in self._kept.values()) > ANSWERS_KEPT_BYTES_MAX
        ):
            self._kept.popitem(last=False)


def _answered(question: Question, asked: Asked) -> Answer:
    try:
        with closing(asked):
            return Answer(200, orjson.dumps(question.answer(asked), default=_plain))
    except RequestInvalid as wrong:
        return _error(400, str(wrong))
    except duckdb.InterruptException:
        return _error(503, f"this took longer than {ANSWER_S_MAX:g} s; ask for less")
    except (RecorderError, duckdb.Error, OSError) as error:
        log.warning("page.question_failed", extra={"fields": {"question": question.name, "error": str(error)}})
        return _error(503, str(error))


def _plain(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is no plain value")


def _error(status: int, sentence: str) -> Answer:
    return Answer(status, orjson.dumps({"error": sentence}))
