"""Sessions with listeners that only note what they are told; time is real, the recording too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from recorder import lifecycle
from recorder.clock import MS_NS, SECOND_NS, Clock, Moment
from recorder.message import Kind, Mark, Message, Stream
from recorder.replay.encoding import Wanted
from recorder.replay.listener import State
from recorder.replay.playhead import MAX
from recorder.replay.reading import Start, Stretch, Until
from recorder.replay.selection import Selection
from recorder.replay.session import Session
from recorder.replay.timeline import Timeline
from recorder.replay.track import Plan

Record = Callable[..., None]

START_NS = 1_769_860_800 * SECOND_NS
QUOTES = Stream("quotes", "finance_query.quotes")
NEWS = Stream("news", "finlight")
DATA = frozenset({Kind.DATA})


class Ear:
    """A listener. `wait(condition)` returns when what was heard fulfils it."""

    def __init__(self, wanted: Wanted | None = None, takes: Callable[[Ear], int] = lambda _: 0) -> None:
        self.wanted = wanted or Wanted(Selection(kinds=DATA))
        self.takes_json = False
        self.positions: list[int] = []
        self.at_ns: list[int] = []
        self.states: list[State] = []
        self._takes = takes
        self._changed = asyncio.Event()

    @property
    def backlog_bytes(self) -> int:
        return self._takes(self)

    def play(self, stretch: Stretch, now: Moment) -> None:
        heard = stretch.wanted_by(self.wanted)["position"].to_pylist()
        self.positions += heard
        self.at_ns += [now.monotonic_ns] * len(heard)
        self._changed.set()

    def tell(self, state: State) -> None:
        self.states.append(state)
        self._changed.set()

    @property
    def status(self) -> str:
        return self.states[-1].status

    async def wait(self, condition: Callable[[Ear], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def end(self) -> list[int]:
        await self.wait(lambda ear: ear.status == "ended")
        return self.positions


def message(position: int, at_ms: float, stream: Stream = QUOTES, payload: bytes = b"{}", **other: Any) -> Message:
    kind = other.pop("kind", Kind.DATA)
    return Message(position, stream, kind, Mark.NONE, START_NS + int(at_ms * MS_NS), position, 1, payload)


def session(data: Path, start: Start | None = None, **options: Any) -> Session:
    own = {name: options.pop(name) for name in ("name", "buffer_bytes_max", "grace_s", "on_end") if name in options}
    return Session(Timeline(data), Clock(), Plan(start or Start(1), **{"speed": MAX, **options}), **own)


@pytest.fixture
def data(tmp_path: Path, record: Record) -> Path:
    """Two hundred messages 5 ms apart, every third news; half of them sealed."""
    every = [message(n, 5 * n, NEWS if n % 3 == 0 else QUOTES) for n in range(1, 201)]
    record(tmp_path / "data", every, seals=(50, 100))
    return tmp_path / "data"


async def test_at_speed_1_messages_come_as_far_apart_as_they_were(data: Path) -> None:
    ear = Ear()
    playing = session(data, Start(101), speed=1.0)
    playing.attach(ear)
    assert await ear.end() == list(range(101, 201))
    passed_ns = ear.at_ns[-1] - ear.at_ns[0]
    assert passed_ns >= 99 * 5 * MS_NS  # never early; how late, the benchmark says
    late = ear.states[-1].lateness_ms
    assert late is not None
    assert 0 <= late[0] <= late[1]


async def test_silences_longer_than_max_idle_are_cut(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "data", [message(1, 0), message(2, 3_600_000), message(3, 7_200_000)])
    ear = Ear()
    playing = session(tmp_path / "data", speed=1.0, max_idle_ns=20 * MS_NS)
    playing.attach(ear)
    await ear.wait(lambda ear: len(ear.positions) >= 2)
    assert playing.moment_ns is not None
    assert playing.moment_ns >= START_NS + 3600 * SECOND_NS  # the moment is the recording's
    assert await ear.end() == [1, 2, 3]
    assert ear.at_ns[2] - ear.at_ns[0] >= 40 * MS_NS


async def test_a_start_at_a_moment_waits_for_its_first_message_as_it_was_waited_for(data: Path) -> None:
    ear = Ear()
    began_ns = Clock().monotonic_ns()
    session(data, Start(21, START_NS + 50 * MS_NS), until=Until(position=22), speed=1.0).attach(ear)
    assert await ear.end() == [21]
    assert ear.at_ns[0] - began_ns >= 55 * MS_NS


async def test_a_loop_plays_the_same_again_until_it_is_stopped(data: Path) -> None:
    ear = Ear()
    playing = session(data, Start(3), until=Until(position=6), loop=True)
    playing.attach(ear)
    await ear.wait(lambda ear: len(ear.positions) >= 9)
    playing.stop()
    assert (await ear.end())[:9] == [3, 4, 5] * 3
    assert ear.states[-1].loops >= 2


async def test_a_loop_over_nothing_ends(data: Path) -> None:
    ear = Ear(Wanted(Selection(feeds=frozenset({"none"}))))
    session(data, loop=True).attach(ear)
    assert await ear.end() == []


async def test_steps_asked_for_at_once_are_all_played(data: Path) -> None:
    ear = Ear()
    playing = session(data, paused=True)
    playing.attach(ear)
    for _ in range(3):
        playing.step(messages=1)
    await ear.wait(lambda ear: len(ear.positions) == 3)
    for _ in range(2):
        playing.step(duration_ns=10 * MS_NS)
    await ear.wait(lambda ear: len(ear.positions) >= 7)
    playing.stop()
    assert await ear.end() == [1, 2, 3, 4, 5, 6, 7]


async def test_listeners_of_one_session_hear_the_same_playhead(data: Path) -> None:
    first, second = Ear(), Ear()
    playing = session(data, paused=True, name="shared")
    playing.attach(first)
    playing.attach(second)
    playing.step(messages=10)
    await first.wait(lambda ear: len(ear.positions) == 10)
    playing.resume()
    assert await first.end() == await second.end() == list(range(1, 201))
    assert first.states[-1].listeners == 2


async def test_a_late_listener_hears_what_is_played_from_then_on(data: Path) -> None:
    first, late = Ear(), Ear()
    playing = session(data, paused=True, name="shared")
    playing.attach(first)
    playing.step(messages=70)
    await first.wait(lambda ear: len(ear.positions) == 70)
    playing.attach(late)
    assert late.states[0].position == 70
    playing.resume()
    assert await late.end() == list(range(71, 201))
    assert await first.end() == list(range(1, 201))


async def test_a_late_listener_that_wants_more_gets_it_and_nobody_misses_or_doubles_anything(data: Path) -> None:
    news, every = Ear(Wanted(Selection(feeds=frozenset({"news"}), kinds=DATA))), Ear()
    playing = session(data, paused=True, name="shared")
    playing.attach(news)
    playing.step(messages=10)
    await news.wait(lambda ear: len(ear.positions) == 10)
    playing.attach(every)
    playing.resume()
    assert await every.end() == list(range(31, 201))
    assert await news.end() == list(range(3, 201, 3))


async def test_the_wait_for_more_is_not_played_as_silence(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "data", [message(1, 0), message(2, 0, NEWS), message(3, 3_600_000), message(4, 3_600_010, NEWS)])
    first, late = Ear(Wanted(Selection(feeds=frozenset({"quotes"}), kinds=DATA))), Ear()
    playing = session(tmp_path / "data", speed=1.0, max_idle_ns=100 * MS_NS, name="shared", paused=True)
    playing.attach(first)
    playing.step(messages=1)
    await first.wait(lambda ear: ear.positions == [1])
    playing.attach(late)
    playing.resume()
    assert await late.end() == [2, 3, 4]
    assert await first.end() == [1, 3]


async def test_a_session_without_listeners_ends_after_its_grace(data: Path) -> None:
    done: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
    ear = Ear()
    playing = session(data, paused=True, name="shared", grace_s=0.05, on_end=done.set_result)
    playing.attach(ear)
    playing.detach(ear)
    again = Ear()
    playing.attach(again)
    assert not playing.ended
    playing.detach(again)
    assert await asyncio.wait_for(done, 10) is playing
    assert not playing.listeners


async def test_a_nameless_session_ends_with_its_listener(data: Path) -> None:
    ended: list[Session] = []
    playing = session(data, paused=True, on_end=ended.append)
    ear = Ear()
    playing.attach(ear)
    playing.detach(ear)
    assert ended == [playing]


async def test_one_slow_listener_makes_its_session_wait_and_is_told_so(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "data", [message(n, n, payload=b'"%s"' % (b"x" * 200_000)) for n in range(1, 201)], per_group=20)
    backlog = 0
    slow, fast = Ear(takes=lambda _: backlog), Ear()
    playing = session(tmp_path / "data", name="shared", buffer_bytes_max=1000)
    playing.attach(slow)
    playing.attach(fast)
    await fast.wait(lambda ear: len(ear.positions) > 0)
    backlog, told = 1001, len(slow.states)
    await slow.wait(lambda ear: "buffering" in [state.status for state in ear.states[told:]])
    heard = len(fast.positions)
    assert heard < 200
    backlog, told = 501, len(slow.states)  # more than half
    await fast.wait(lambda ear: len(ear.states) > told)
    assert len(fast.positions) == heard
    backlog = 500
    assert await fast.end() == await slow.end() == list(range(1, 201))


async def test_a_listener_that_raises_is_detached_and_the_others_hear_on(data: Path) -> None:
    class Broken(Ear):
        def play(self, stretch: Stretch, now: Moment) -> None:
            raise RuntimeError("no")

    broken, well = Broken(), Ear()
    playing = session(data, name="shared")
    playing.attach(broken)
    playing.attach(well)
    assert await well.end() == list(range(1, 201))


async def test_gaps_reach_only_who_wants_them_and_other_entries_only_who_wants_those(
    tmp_path: Path, record: Record
) -> None:
    opened = lifecycle.entry("gap.opened", since_ns=START_NS, cause="silence")
    dialled = lifecycle.entry("connection.dialled", url="ws://x", purpose="redial")
    every = [message(1, 1), message(2, 2, payload=opened, kind=Kind.LIFECYCLE)]
    every += [message(3, 3, payload=dialled, kind=Kind.LIFECYCLE), message(4, 4)]
    record(tmp_path / "data", every)
    plain, gaps, all_ = Ear(), Ear(Wanted(Selection(kinds=DATA), gaps=True)), Ear(Wanted())
    for ears in ([plain], [gaps], [all_], [plain, gaps], [plain, gaps, all_]):
        for ear in ears:
            ear.positions, ear.states = [], []
        playing = session(tmp_path / "data", name="shared")
        for ear in ears:
            playing.attach(ear)
        for ear in ears:
            assert await ear.end() == {plain: [1, 4], gaps: [1, 2, 4], all_: [1, 2, 3, 4]}[ear]


async def test_seeking_while_it_plays_goes_on_from_there(data: Path) -> None:
    ear = Ear()
    playing = session(data, paused=True)
    playing.attach(ear)
    playing.step(messages=150)
    await ear.wait(lambda ear: len(ear.positions) == 150)
    playing.seek(Start(20))
    playing.step(messages=2)
    await ear.wait(lambda ear: len(ear.positions) == 152)
    playing.seek(Start(199))
    playing.resume()
    assert await ear.end() == [*range(1, 151), 20, 21, 199, 200]


async def test_a_damaged_part_ends_the_session_with_a_sentence(data: Path) -> None:
    part = min((data / "messages" / "hot").glob("*/*1-*50.parquet"))
    part.write_bytes(part.read_bytes()[:-100])
    ear = Ear()
    session(data).attach(ear)
    await ear.end()
    assert "is damaged" in ear.states[-1].cause


@asynccontextmanager
async def no_tasks_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    if left := asyncio.all_tasks() - before:
        _, pending = await asyncio.wait(left, timeout=10)
        assert not pending


async def test_an_ended_session_leaves_no_task_behind(data: Path) -> None:
    async with no_tasks_left():
        for paused in (True, False):
            playing = session(data, paused=paused, speed=1.0)
            ear = Ear()
            playing.attach(ear)
            await ear.wait(lambda ear: len(ear.states) > 1)
            playing.detach(ear)
