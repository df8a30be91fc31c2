from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recorder.demo import plan
from recorder.demo.upstreams import ORDERS, Upstreams
from recorder.demo.world import World
from recorder.settings import Feed, FinanceQuery, Settings

DURATIONS = [1.0, 2.5, 8.0, 12.0, 29.9, 30.0, 31.0, 60.0, 3600.0]
URLS = ("ws://127.0.0.1:1", "http://127.0.0.1:2", "ws://127.0.0.1:3")


def settings(for_s: float) -> Settings:
    return plan.settings(for_s, Path("data"), *URLS)


@pytest.mark.parametrize("for_s", DURATIONS)
def test_every_duration_has_valid_settings(for_s: float) -> None:
    kinds = [feed.kind for feed in settings(for_s).feeds.values()]
    assert len(set(kinds)) == len(kinds) == 6


@pytest.mark.parametrize("for_s", DURATIONS)
def test_rotations_are_over_before_the_upstream_ends_the_connection(for_s: float) -> None:
    limit_s = plan.upstream_options(for_s)["finlight_limit_s"]
    for name in ("news", "wire"):
        feed: Feed = settings(for_s).feeds[name]
        assert feed.rotate_s + feed.overlap_s < limit_s


@pytest.mark.parametrize("for_s", DURATIONS)
def test_silence_is_several_refreshes(for_s: float) -> None:
    for feed in settings(for_s).feeds.values():
        if isinstance(feed, FinanceQuery):
            assert feed.silence_s >= 3 * plan.upstream_options(for_s)["refresh_s"]


@pytest.mark.parametrize("for_s", DURATIONS)
def test_faults_come_in_order_and_leave_the_end_quiet(for_s: float) -> None:
    times = [fault.at_s for fault in plan.faults(for_s)]
    assert times == sorted(times)
    assert all(0 < at_s < for_s for at_s in times)


def test_eight_seconds_have_room_for_every_fault_and_longer_demos_have_them_again() -> None:
    course = [fault.text for fault in plan.faults(8)]
    assert [fault.text for fault in plan.faults(30)] == course
    assert len(course) >= 10
    assert [fault.text for fault in plan.faults(60)] == course * 2
    assert plan.faults(1) == []


def test_channels_are_those_of_the_settings() -> None:
    feeds = settings(30).feeds
    assert {feed for feed, _ in plan.CHANNELS.values()} == set(feeds)
    assert {channel for feed, channel in plan.CHANNELS.values() if feed == "profiles"} == set(plan.PROFILES)


async def test_every_order_of_every_fault_can_be_followed() -> None:
    orders: list[dict[str, Any]] = [dict(order) for fault in plan.faults(30) for order in fault.orders]
    assert {order["op"] for order in orders} <= ORDERS
    async with Upstreams(World(articles_per_s=0)) as upstreams:
        for order in orders:
            upstreams.order(order)
