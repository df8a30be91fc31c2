"""The dead-man's switch against a real HTTP server, and a recorder whose switch nobody answers."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import orjson
import pytest

from recorder import heartbeat
from recorder.clock import Clock
from recorder.configuration import heartbeat_url
from recorder.daemon import Daemon
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.errors import ConfigInvalid
from recorder.heartbeat import Heartbeat
from recorder.replay.port.handshake import Answer
from recorder.replay.upstreams.rest_server import RestServer
from recorder.settings import Settings

PATH = "/ping/5f0c-this-must-not-be-seen"
PATIENCE_S = 60


def server() -> RestServer:
    return RestServer(lambda method, asked, body, now: Answer(200, method.encode()), Clock())


async def test_it_gets_the_whole_url_and_counts() -> None:
    async with server() as service:
        beating = Heartbeat(f"{service.url}{PATH}?status=up", lambda: True)
        await beating.beat()
        await beating.beat()
    assert [(asked.path, asked.query) for asked in service.requests] == [(PATH, {"status": "up"})] * 2
    assert beating.status() == {"sent": 2, "failed": 0, "withheld": 0, "trouble": ""}


async def test_while_recording_is_failed_nothing_is_sent() -> None:
    async with server() as service:
        beating = Heartbeat(service.url, lambda: False)
        await beating.beat()
    assert not service.requests
    assert beating.status() == {"sent": 0, "failed": 0, "withheld": 1, "trouble": ""}


async def test_what_goes_wrong_is_counted_said_once_and_over_with_the_next_that_arrives(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "TIMEOUT_S", 0.2)
    async with server() as service:
        beating = Heartbeat(service.url + PATH, lambda: True)
        with caplog.at_level(logging.INFO):
            service.faults.refuse(404)
            service.faults.ignore()
            service.faults.truncate()
            await beating.beat()
            assert beating.trouble == "It was answered with HTTP 404. Check the secret of health.heartbeat."
            await beating.beat()
            assert "No whole answer from" in beating.trouble
            await beating.beat()
            await beating.beat()
    assert beating.status() == {"sent": 1, "failed": 3, "withheld": 0, "trouble": ""}
    assert [record.message for record in caplog.records] == ["heartbeat.failed", "heartbeat.arrives"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid", "https://127.0.0.1:1"])
async def test_no_sentence_shows_the_url(url: str, caplog: pytest.LogCaptureFixture) -> None:
    beating = Heartbeat(url + PATH, lambda: True)
    await beating.beat()
    assert beating.failed == 1
    told = str(beating.status()) + repr(beating) + caplog.text + str([vars(record) for record in caplog.records])
    assert "must-not-be-seen" not in told


SETTINGS = Settings.model_validate({"health": {"heartbeat": "watch"}})


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({}, "nowhere: set RECORDER_SECRET_WATCH"),
        ({"RECORDER_SECRET_WATCH": "hc-ping.com/seen"}, "should be http://… or https://…"),
        ({"RECORDER_SECRET_WATCH": "https://seen:port/"}, "should be http://… or https://…"),
        ({"RECORDER_SECRET_WATCH": "https://a b/seen"}, "should be http://… or https://…"),
        ({"RECORDER_SECRET_WATCH": "https://user:seen@host/"}, "should be http://… or https://…"),
        ({"RECORDER_SECRET_WATCH": "https://host/seen\nx"}, "one line"),
    ],
)
def test_an_url_that_cannot_be_used_is_said_without_showing_it(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigInvalid, match=problem) as refused:
        heartbeat_url(SETTINGS, environ)
    assert "seen" not in str(refused.value)


def test_the_url_is_a_secret_and_none_is_needed() -> None:
    assert heartbeat_url(Settings(), {}) is None
    assert heartbeat_url(SETTINGS, {"RECORDER_SECRET_WATCH": " https://host/x?y=1\n"}) == "https://host/x?y=1"


async def test_a_service_that_never_answers_touches_no_recording(tmp_path: Path) -> None:
    settings = {"data": tmp_path, "health": {"heartbeat": "watch", "heartbeat_s": 1}, "seal": {"interval_s": 0.5}}
    async with server() as service, Upstreams(World(1, articles_per_s=50), refresh_s=0.1) as upstreams:
        feeds = {"news": {"kind": "finlight", "url": upstreams.finlight_url}}
        service.faults.ignore(1000)
        daemon = Daemon(Settings.model_validate(settings | {"feeds": feeds}), {"news": "k"}, None, service.url + PATH)
        running = asyncio.create_task(daemon.run())
        async with asyncio.timeout(PATIENCE_S):
            while not (service.requests and (status := daemon.status())["sealed_position"] > 100):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert status["health"] == {"state": "ok", "reasons": []}
        assert PATH not in orjson.dumps(status).decode()
        daemon.stop()
        await running
    assert daemon.journal.durable == daemon.sealed.sealed_position
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"must-not-be-seen" not in file.read_bytes(), file
